"""The engine as people write Python: called, awaited, changed, many queries at once."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from debater_search.errors import InvalidError, MissingError
from debater_search.indexing import add, build, delete, encode_to, facets, update
from debater_search.search import MODES, Mode, SearchEngine
from debater_search.types import Answer, Hits, Query
from tests.fakes import FakeEncoder, FakeScorer, tiny_corpus

CORPUS = tiny_corpus()


@pytest.fixture
def engine(tmp_path: Path) -> SearchEngine:
    build(CORPUS, FakeEncoder(), tmp_path / "tiny", all_steps=True)
    return SearchEngine.open(tmp_path / "tiny", encoder=FakeEncoder())


def test_an_engine_is_called_and_awaited_as_it_is_asked(engine: SearchEngine) -> None:
    hits = engine.search("unique7.", 3)
    assert hits == engine("unique7.", 3) == engine(Query("q", "unique7."), k=3)
    assert isinstance(hits, list)

    async def several() -> list[Hits]:
        return await asyncio.gather(*(engine.asearch(f"unique{n}.", 3, mode="lexical") for n in (7, 8, 9)))

    assert [found[0].id for found in asyncio.run(several())] == ["d7", "d8", "d9"]


@pytest.mark.parametrize("mode", MODES)
def test_many_queries_have_the_hits_of_each(engine: SearchEngine, mode: Mode) -> None:
    queries = ["unique3.", "title 9", "unique3."]
    many = engine.search_many(queries, 4, mode=mode, where="year >= 3")
    assert len(many) == 3
    for found, query in zip(many, queries, strict=True):
        alone = engine.search(query, 4, mode=mode, where="year >= 3")
        assert [(hit.id, hit.rank, hit.snippet) for hit in found] == [(hit.id, hit.rank, hit.snippet) for hit in alone]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in alone], abs=1e-6)


def test_many_queries_are_encoded_in_one_call_and_come_in_every_form(engine: SearchEngine) -> None:
    encoder = FakeEncoder()
    engine = SearchEngine.open(engine.folder, encoder=encoder)
    by_id = engine.search_many({"a": "unique3.", "b": "unique4."}, 1)
    assert len(encoder.instructions) == 1
    assert [hits[0].id for hits in by_id] == ["d3", "d4"]
    assert engine.search_many("unique3.", 1) == by_id[:1]
    assert engine.search_many([("a", "unique3."), Query("a", "unique4.")], 1) == by_id  # ids do not matter here
    assert engine.search_many([], 1) == []
    reranked = engine.search_many(["unique3."], 1, rerank=FakeScorer())
    assert reranked == [engine.search("unique3.", 1, rerank=FakeScorer())]


def test_several_queries_for_one_are_told_where_to_go(engine: SearchEngine) -> None:
    for given in (["a", "b"], ("1", "a"), [0.1, 0.2]):
        with pytest.raises(InvalidError, match=r"`search_many`, and a vector as a numpy array"):
            engine.search(given)  # type: ignore[arg-type]


def test_a_search_sees_a_change_of_its_engine_at_once(engine: SearchEngine) -> None:
    engine = SearchEngine.open(engine.folder, encoder=FakeEncoder(), follow=False)
    change = engine.add(["gnu eats grass", ("d3", "gnu drinks water")])
    assert (change.added, change.updated, change.documents) == (1, 1, 26)
    assert engine.manifest.corpus.documents == 26
    assert {hit.text for hit in engine("gnu", 2)} == {"gnu eats grass", "gnu drinks water"}
    assert engine.delete("d3").deleted == engine.delete(where="id = 'd4'").deleted == 1
    assert [hit.text for hit in engine("gnu", 3, mode="lexical")] == ["gnu eats grass"]
    assert engine.update([{"id": "only", "text": "gnu"}]).documents == 1
    assert [hit.id for hit in engine("anything")] == ["only"]


def test_a_change_takes_the_model_that_the_engine_has(engine: SearchEngine) -> None:
    encoder = FakeEncoder()
    engine = SearchEngine.open(engine.folder, encoder=encoder)
    assert engine.add(["gnu", "emu"]).encoded == encoder.encoded == 2


def test_changes_of_threads_wait_for_each_other(engine: SearchEngine) -> None:
    with ThreadPoolExecutor(4) as pool:
        changes = list(pool.map(lambda n: engine.add([f"gnu number {n}"]), range(8)))
    assert sorted(change.documents for change in changes) == list(range(26, 34))
    assert len(engine("gnu", 100, mode="lexical")) == 8


def test_an_index_of_words_is_changed_without_a_model(tmp_path: Path) -> None:
    with SearchEngine.open(build(["gnu"], None, tmp_path / "words").folder) as engine:
        engine.add(["emu"])
        assert [hit.text for hit in engine("emu", mode="lexical")] == ["emu"]
        assert repr(engine) == f"SearchEngine({str(engine.folder)!r}, 2 documents, words only)"


def test_what_a_prompt_shows_is_short(engine: SearchEngine) -> None:
    assert repr(engine).endswith("tiny', 25 documents, model 'fake')")
    answer = engine.answer("unique7.", 2)
    first, second, below = repr(answer).split("\n")
    assert first.startswith("  1  0.")
    assert first.endswith("  Title 7 [d7]")
    assert second.startswith("  2  ")
    assert below.endswith("generation 0")
    assert repr(answer.hits) == f"{first}\n{second}"
    assert repr(answer.hits[0]).startswith("Hit(rank=1, id='d7', score=0.")
    assert repr(engine.answer_batch(["a", "b"], 25)) == "BatchAnswer(2 queries, generation 0)"
    assert repr(Hits()) == "No hits."
    assert isinstance(answer, Answer)


def test_a_slice_of_hits_is_shown_as_hits_are(engine: SearchEngine) -> None:
    hits = engine("unique7.", 5)
    assert isinstance(hits[:2], Hits)
    assert hits[:2] == [hits[0], hits[1]]


def test_of_many_queries_each_finds_its_own_passage(tmp_path: Path) -> None:
    text = "gnu grass " * 10 + "emu sand " * 10
    folder = build([("both", text)], FakeEncoder(), tmp_path / "passages", passages=20, overlap=0).folder
    engine = SearchEngine.open(folder, encoder=FakeEncoder())
    (first,), (second,) = engine.search_many(["gnu grass", "emu sand"], 1)
    assert first.snippet == engine.search("gnu grass", 1)[0].snippet
    assert second.snippet == engine.search("emu sand", 1)[0].snippet
    assert "emu" not in first.snippet
    assert "emu" in second.snippet


def test_a_closed_engine_says_so_and_does_nothing_more(engine: SearchEngine) -> None:
    documents = engine.documents
    engine("unique7.")
    engine.close()
    calls = [
        lambda: engine("unique7."),
        lambda: engine.search_many(["unique7."], mode="lexical"),
        engine.refresh,
        lambda: engine.add(["gnu"]),
        lambda: engine.delete("d3"),
        lambda: engine.documents,
    ]
    for call in calls:
        with pytest.raises(InvalidError, match=r"^This engine is closed\. Open it again"):
            call()
    with pytest.raises(InvalidError, match=r"documents\.sqlite is closed"):  # what was taken from it before
        documents.read([0])
    engine.close()
    assert repr(engine).startswith("SearchEngine(")
    with SearchEngine.open(engine.folder, encoder=FakeEncoder()) as again:
        assert len(again.documents) == 25
        add(engine.folder, ["gnu"], encoder=FakeEncoder())
    with pytest.raises(InvalidError, match="This engine is closed"):  # a later change does not open it
        again("gnu")


@pytest.mark.parametrize("k", ["3", 2.0, None, float("nan"), True, [3]])
def test_k_is_a_whole_number(engine: SearchEngine, k: Any) -> None:
    for call in (engine.search, engine.search_many, engine.search_batch):
        with pytest.raises(InvalidError, match=r"`k` is .*, not a whole number"):
            call("unique7.", k)


def test_whole_numbers_of_numpy_are_taken(engine: SearchEngine) -> None:
    for mode in MODES:
        assert len(engine("unique7. wing", np.int64(3), mode=mode)) == 3  # type: ignore[arg-type]
    depth: Any = np.int8(2)
    assert len(engine("unique7.", 3, rerank=FakeScorer(), rerank_depth=depth)) == 3


@pytest.mark.parametrize("where", [3, {"year": 3}, ["year = 3"]])
def test_a_filter_is_a_text(engine: SearchEngine, where: Any) -> None:
    for call in (lambda: engine("unique7.", where=where), lambda: engine.delete(where=where)):
        with pytest.raises(InvalidError, match=r"`where` is of type \w+, not a text\. An example: year >= 2020"):
            call()


@pytest.mark.parametrize("weights", [3, (1, "2"), (1, None), "ab"])
def test_weights_are_two_numbers(engine: SearchEngine, weights: Any) -> None:
    with pytest.raises(InvalidError, match="are not weights for two rankings"):
        engine("unique7.", mode="hybrid", weights=weights)


@pytest.mark.parametrize("depth", ["3", 2.5, True])
def test_rerank_depth_is_a_whole_number(engine: SearchEngine, depth: Any) -> None:
    with pytest.raises(InvalidError, match=r"`rerank_depth` is .*, not a whole number"):
        engine("unique7.", rerank=FakeScorer(), rerank_depth=depth)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"facets": "year"}, "`facets` is 'year', not a list of fields. Give a list, such as [\"year\"]."),
        ({"facets": 3}, "`facets` is 3, not a list of fields."),
        ({"rerank": "my/reranker"}, "`rerank` is the name 'my/reranker', not a model. Give Reranker.load("),
    ],
)
def test_options_of_a_wrong_type_are_refused_in_a_sentence(engine: SearchEngine, wrong: Any, said: str) -> None:
    with pytest.raises(InvalidError) as raised:
        engine.answer("unique7.", **wrong)
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize("method", ["search", "__call__", "more_like", "search_many", "search_batch", "answer_batch"])
def test_facets_are_refused_where_only_hits_are_returned(engine: SearchEngine, method: str) -> None:
    with pytest.raises(InvalidError, match=r"returns no facets\. Use `engine\.answer\(query, facets=\[…\]\)`"):
        getattr(engine, method)("d7", facets=["year"])


def test_an_unknown_option_is_refused_with_the_one_that_was_meant(engine: SearchEngine) -> None:
    for name, meant in (("top_k", "k"), ("filter", "where"), ("mod", "mode"), ("reranker", "rerank")):
        for method in ("search", "search_many", "search_batch"):
            with pytest.raises(InvalidError) as raised:
                getattr(engine, method)("unique7.", **{name: 3})
            assert str(raised.value) == f"`{method}` has no option `{name}`. Did you mean `{meant}`?"
    with pytest.raises(InvalidError, match=r"^`search` has no option `colour`\. Options: k, mode, instruction, "):
        engine("unique7.", colour="red")  # type: ignore[call-arg]
    with pytest.raises(InvalidError, match=r"`search_batch` has no option `explain`"):
        engine.search_batch(["unique7."], explain=True)  # type: ignore[call-arg]
    assert engine.search_many(["unique7."], 1, explain=True)[0][0].explanation is not None


def test_an_engine_reads_its_documents_and_counts_them(engine: SearchEngine) -> None:
    assert len(engine) == 25
    assert engine.get("d7") == next(document for document in CORPUS if document.id == "d7")
    engine.add([{"id": 8, "text": "gnu"}])
    assert engine.get(8).text == engine.get("8").text == "gnu"
    assert len(engine) == 26
    with pytest.raises(MissingError, match=r"^There is no document 'nope' in .*tiny\. Hits show the ids"):
        engine.get("nope")
    wrong: Any = None
    with pytest.raises(InvalidError, match="is no id"):
        engine.get(wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"shard_size": "x"}, "`shard_size` is 'x', not a whole number."),
        ({"workers": 1.5}, "`workers` is 1.5, not a whole number."),
        ({"memory": "1GB"}, "`memory` is '1GB', not a whole number."),
        ({"memory": 0}, "`memory` must be 1 or more, not 0."),
        ({"recall": "high"}, "The target recall must be above 0 and at most 1, not 'high'."),
    ],
)
def test_settings_of_a_build_of_a_wrong_type_are_refused_in_a_sentence(tmp_path: Path, wrong: Any, said: str) -> None:
    with pytest.raises(InvalidError) as raised:
        build(CORPUS, FakeEncoder(), tmp_path / "z", **wrong)
    assert str(raised.value).startswith(said)
    assert not (tmp_path / "z").exists()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda folder: facets(folder, "year"), "`fields` is 'year', not a list of fields."),
        (lambda folder: facets(folder, ["year"], values="x"), "`values` is 'x', not a whole number."),
        (lambda folder: facets(folder, ["year"], values=0), "`values` must be 1 or more, not 0."),
        (lambda folder: delete(folder, ["d1"], wait=-1), "`wait` must be seconds, 0 or more, not -1."),
        (lambda folder: delete(folder, ["d1"], wait="x"), "`wait` must be seconds, 0 or more, not 'x'."),
        (lambda folder: SearchEngine.open(folder).warm_up(queries=0), "`queries` must be 1 or more, not 0."),
    ],
    ids=["fields", "values", "no values", "wait below 0", "wait", "queries"],
)
def test_arguments_of_an_index_of_a_wrong_type_are_refused_in_a_sentence(
    engine: SearchEngine, call: Any, said: str
) -> None:
    with pytest.raises(InvalidError) as raised:
        call(engine.folder)
    assert str(raised.value).startswith(said)


def test_the_name_of_a_model_in_the_place_of_a_model_has_a_cure(engine: SearchEngine, tmp_path: Path) -> None:
    name: Any = "debater-small"
    for call in (
        lambda: build(["a"], name, tmp_path / "z"),
        lambda: add(engine.folder, ["a"], encoder=name),
        lambda: update(engine.folder, ["a"], encoder=name),
        lambda: SearchEngine.open(engine.folder, encoder=name),
        lambda: encode_to(["a"], name, str(tmp_path / "shards")),
    ):
        with pytest.raises(InvalidError, match="'debater-small', not a model") as raised:
            call()
        assert raised.value.hint == 'Give Encoder.load("debater-small").'
    assert not (tmp_path / "z").exists()


def test_documents_are_browsed_without_a_query_or_a_model(engine: SearchEngine) -> None:
    page = SearchEngine.open(engine.folder).browse("year >= 3", 2, offset=1)
    assert ([document.id for document in page.documents], page.total, page.generation) == (["d4", "d5"], 22, 0)
    assert page.documents[0] == engine.get("d4")
    assert repr(page) == "DocumentPage(2 of 22 documents, generation 0)"
    engine.delete(["d0", "d4"])
    assert [document.id for document in engine.browse(k=4).documents] == ["d1", "d2", "d3", "d5"]
    assert (engine.browse().total, engine.browse(offset=23).documents) == (23, [])


def test_documents_cut_into_passages_are_browsed_whole(tmp_path: Path) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "cut", passages=30, overlap=0)
    page = SearchEngine.open(tmp_path / "cut").browse("year >= 3", 3)
    assert (page.documents, page.total) == (CORPUS[3:6], 22)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"k": 0}, InvalidError), ({"offset": -1}, InvalidError), ({"offset": "1"}, InvalidError),
        ({"where": "year >"}, InvalidError), ({"where": "yeer = 1"}, MissingError),
    ],
)  # fmt: skip
def test_browsing_refuses_what_makes_no_sense(engine: SearchEngine, arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        engine.browse(**arguments)


def test_values_are_counted_without_a_query(engine: SearchEngine) -> None:
    assert engine.facets(["year"], "year >= 3") == facets(engine.folder, ["year"], where="year >= 3")


def test_the_name_of_a_column_that_became_the_title_is_told(tmp_path: Path) -> None:
    build([{"sku": "1", "name": "Alta", "description": "A tent"}], None, tmp_path / "shop")
    with pytest.raises(MissingError) as error:
        SearchEngine.open(tmp_path / "shop").browse("name contains 'Al'")
    assert error.value.hint == "The column name is the title of the documents: write title."
