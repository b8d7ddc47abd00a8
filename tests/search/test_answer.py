"""One request, one answer: hits, timings and generation; for a text, a vector, and a document like others."""

from pathlib import Path

import numpy as np
import pytest

from debater_search.errors import InvalidError, MissingError
from debater_search.indexing import add, build, delete, facets
from debater_search.search import MODES, Like, Mode, SearchEngine
from debater_search.search.request import as_vectors
from debater_search.types import Document
from tests.fakes import FakeEncoder, tiny_corpus

QUERY = "number 7 unique7. title"
VECTOR = FakeEncoder().encode_queries([QUERY])[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("indexes") / "tiny"
    build(tiny_corpus(), FakeEncoder(), folder, shard_size=10, all_steps=True)
    return folder


@pytest.fixture
def engine(folder: Path) -> SearchEngine:
    return SearchEngine.open(folder, encoder=FakeEncoder())


@pytest.fixture
def modelless(folder: Path) -> SearchEngine:
    """Its own model is called "fake" and cannot be loaded."""
    return SearchEngine.open(folder)


@pytest.mark.parametrize("mode", MODES)
def test_search_and_more_like_give_the_hits_of_the_answer(engine: SearchEngine, mode: Mode) -> None:
    for explain in (False, True):
        answer = engine.answer(QUERY, 5, mode=mode, explain=explain)
        assert len(answer.hits) == 5
        assert engine.search(QUERY, 5, mode=mode, explain=explain) == answer.hits
        like = engine.answer(Like("d7"), 5, mode=mode, explain=explain)
        assert len(like.hits) == 5
        assert engine.more_like("d7", 5, mode=mode, explain=explain) == like.hits
    batch = engine.answer_batch([QUERY], 5, mode=mode)
    assert list(batch.run["0"]) == [hit.id for hit in answer.hits]
    assert engine.search_batch([QUERY], 5, mode=mode) == batch.run


@pytest.mark.parametrize("mode", MODES)
def test_a_query_that_is_an_id_is_said_to_be_one(engine: SearchEngine, mode: Mode) -> None:
    note = "The query is the id of a document: 'd7'. Searches do not look at ids: get the document by its id."
    assert engine.answer(" d7 ", mode=mode).notes == (note,)
    never, second = engine.answer("d7", mode=mode, where="year = 'soon'").notes
    assert never.endswith("is never true.")
    assert second == note
    for other in ("d", "d77", "D7", "number d7", Like("d7")):
        assert engine.answer(other, mode=mode).notes == ()
    assert engine.answer_batch(["d7"], mode=mode).notes == ()


def test_nothing_is_said_of_an_id_that_finds_its_document(tmp_path: Path) -> None:
    build([Document("heat", "Heat flows."), Document("wings", "A wing.")], None, tmp_path / "i")
    engine = SearchEngine.open(tmp_path / "i")
    assert engine.answer("heat", mode="lexical").notes == ()
    assert engine.answer("wings", 1, mode="lexical", where="id = 'heat'").notes != ()


@pytest.mark.parametrize("mode", MODES)
def test_timings_are_seconds_of_this_answer(engine: SearchEngine, mode: Mode) -> None:
    for answer in (engine.answer(QUERY, mode=mode), engine.answer_batch([QUERY], mode=mode)):
        assert list(answer.timings) == ["encode", "retrieve", "fetch"]
        assert all(0 < answer.timings[stage] < 10 for stage in ("retrieve", "fetch"))
        assert (answer.timings["encode"] > 0) == (mode != "lexical")


@pytest.mark.parametrize("where", [None, "year < 12", "tags has 't1'"])
def test_facets_of_an_answer_are_those_of_the_command(tmp_path: Path, where: str | None) -> None:
    days = ["2020-01-05", "2020-02-06", None]
    documents = [
        Document(f"d{n}", "wing", "", {"year": n, "price": n % 4, "tags": [f"t{n % 2}", "x"], "day": days[n % 3]})
        for n in range(30)
    ]
    build(documents, FakeEncoder(), tmp_path / "i")
    fields = ["year", "price", "tags", "day"]
    engine = SearchEngine.open(tmp_path / "i", encoder=FakeEncoder())
    found = engine.answer("wing", 1, where=where, facets=fields).facets
    assert found is not None
    counted = facets(tmp_path / "i", fields, where=where)
    assert found.documents == counted["documents"]
    for field in counted["fields"]:
        facet = found.fields[field["name"]]
        assert (facet.of, facet.values, facet.ranges) == (
            field["documents"], field.get("values", []), field.get("ranges", [])
        )  # fmt: skip
    assert len(found.fields["year"].ranges) > 1


def test_the_generation_counts_changes(tmp_path: Path) -> None:
    build(tiny_corpus(), FakeEncoder(), tmp_path / "i")
    engine = SearchEngine.open(tmp_path / "i", encoder=FakeEncoder())
    seen = [engine.answer(QUERY).generation]
    add(tmp_path / "i", [Document("new", "A wing.")], encoder=FakeEncoder())
    seen.append(engine.answer(QUERY).generation)
    delete(tmp_path / "i", ["new"])
    seen.append(engine.answer_batch([QUERY]).generation)
    assert seen == [0, 1, 2]


def test_a_vector_finds_what_its_text_finds_without_a_model(modelless: SearchEngine, engine: SearchEngine) -> None:
    expected = engine.search(QUERY, 25)
    for vector in (VECTOR, VECTOR.astype(np.float64), VECTOR[::-1].copy()[::-1]):
        hits = modelless.answer(vector, 25).hits
        assert [hit.id for hit in hits] == [hit.id for hit in expected]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], abs=1e-6)
    assert modelless.search(VECTOR, 25) == hits
    assert modelless.search_batch([QUERY], 25, vectors=VECTOR[None])["0"] == {hit.id: hit.score for hit in hits}
    assert {hit.id for hit in modelless.search(VECTOR, where="year < 3")} == {"d0", "d1", "d2"}


def test_a_vector_can_be_rescored_and_explained_but_has_no_words(modelless: SearchEngine, engine: SearchEngine) -> None:
    hits = modelless.search(VECTOR, 5, rescore="max", explain=True)
    assert [hit.id for hit in hits] == [hit.id for hit in engine.search(QUERY, 5, rescore="max")]
    assert hits[0].snippet
    assert hits[0].explanation is not None
    assert hits[0].explanation.dense is not None
    assert hits[0].explanation.dense.rank == 1
    assert hits[0].explanation.lexical is None
    assert hits[0].explanation.steps is not None


@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
def test_a_vector_alone_is_refused_where_words_are_searched(modelless: SearchEngine, mode: Mode) -> None:
    with pytest.raises(InvalidError, match=f"A vector has no words, and mode '{mode}'"):
        modelless.answer(VECTOR, mode=mode)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (VECTOR[:-1], r"shape \(1, 63\)"),
        (VECTOR[None], r"shape \(1, 1, 64\)"),
        (np.array(1.0), r"shape \(1,\)"),
        (np.full(64, np.nan), "not finite"),
        (np.full(64, 1e300), "not finite"),
        (np.array(["wing"] * 64), "not arrays of numbers"),
        (np.array([{}] * 64), "not arrays of numbers"),
    ],
)
def test_a_vector_that_is_none_of_the_index_is_refused(modelless: SearchEngine, vector: object, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        modelless.answer(vector)  # type: ignore[arg-type]


def test_a_vector_needs_an_index_with_vectors(tmp_path: Path) -> None:
    build(tiny_corpus(), None, tmp_path / "i")
    with pytest.raises(InvalidError, match="words only"):
        SearchEngine.open(tmp_path / "i").answer(VECTOR)


def test_a_missing_document_or_field_is_of_that_kind(engine: SearchEngine) -> None:
    with pytest.raises(MissingError, match="no document 'nobody'"):
        engine.answer(Like("nobody"))
    with pytest.raises(MissingError, match="field 'yaer'"):
        engine.answer(QUERY, where="yaer = 1")


def test_exact_reaches_the_vectors_of_every_way_to_search(
    engine: SearchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    real = engine.vectors.search

    def search(*arguments: object, exact: bool = False) -> object:
        seen.append(exact)
        return real(*arguments, exact=exact)

    monkeypatch.setattr(engine.vectors, "search", search)
    for exact in (False, True):
        seen.clear()
        engine.search(QUERY, exact=exact)
        engine.search(VECTOR, exact=exact)
        engine.search(QUERY, exact=exact, mode="hybrid")
        engine.more_like("d7", exact=exact)
        engine.search_batch([QUERY], exact=exact)
        assert seen == [exact] * 5


def test_exact_finds_what_an_approximate_index_misses(tmp_path: Path) -> None:
    corpus = tiny_corpus(300)
    build(corpus, FakeEncoder(), tmp_path / "i", type="ivf")
    engine = SearchEngine.open(tmp_path / "i", encoder=FakeEncoder())
    engine.vectors.configure(breadth=1)  # type: ignore[attr-defined]
    cosines = FakeEncoder().encode_documents(corpus) @ VECTOR
    nearest = [f"d{i}" for i in np.lexsort((np.arange(300), -cosines))[:10]]
    assert [hit.id for hit in engine.search(VECTOR)] != nearest
    assert [hit.id for hit in engine.search(VECTOR, exact=True)] == nearest


@pytest.mark.parametrize("factor", [10, 0.5, 1e-25, 1e30])
def test_a_vector_of_another_length_is_normalised(modelless: SearchEngine, factor: float) -> None:
    expected = modelless.answer(VECTOR, 5).hits
    long = VECTOR.astype(np.float64) * factor
    hits = modelless.answer(long, 5).hits
    assert [hit.id for hit in hits] == [hit.id for hit in expected]
    assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], abs=1e-6)
    batch = modelless.search_batch(["a", "b"], 5, vectors=np.stack([VECTOR, long]))
    assert batch["0"] == pytest.approx({hit.id: hit.score for hit in expected}, abs=1e-6)
    assert batch["1"] == pytest.approx(batch["0"], abs=1e-6)


def test_a_vector_that_was_rounded_stays_as_it_is() -> None:
    for vector in (VECTOR, VECTOR.astype(np.float16).astype(np.float32)):
        assert np.array_equal(as_vectors([vector], 1, len(vector))[0], vector)


def test_a_zero_vector_is_refused(modelless: SearchEngine) -> None:
    with pytest.raises(InvalidError, match=r"^The vector of query 1 of 1 is zero\."):
        modelless.answer(np.zeros_like(VECTOR))
    with pytest.raises(InvalidError, match=r"^The vector of query 2 of 2 is zero\."):
        modelless.search_batch(["a", "b"], vectors=np.stack([VECTOR, 0 * VECTOR]))
    assert modelless.search_batch([], vectors=np.zeros((0, len(VECTOR)))) == {}
