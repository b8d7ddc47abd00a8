"""What search does with stored thinking steps and stored vectors: rescoring, explanations, documents like another."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from debater_search.errors import DebaterError
from debater_search.indexing import add, build, delete
from debater_search.search import MODES, Mode, Rescore, SearchEngine
from debater_search.search.reorder.steps import rescore as rescored_by_steps
from debater_search.types import Document, Explanation, Query, RankedScore
from tests.fakes import FakeEncoder, tiny_corpus

CORPUS = tiny_corpus()
QUERY = "number 7 unique7. title of the wing"
LATER = [Document("new", "A wing of number 7, unique7. new"), Document("d3", "Nothing of the kind.")]


class Thinker(FakeEncoder):
    """A document's first step knows only its last three words, the later ones more and more of it."""

    def deliberate(self, texts, *, progress=False):  # type: ignore[no-untyped-def]
        contents = [text.content if isinstance(text, Document) else text for text in texts]
        self.encoded += len(contents)
        steps = [self._bags([" ".join(c.split()[-last:]) for c in contents]) for last in (3, 6, 0)]
        bags = np.stack(steps, axis=1)
        return (bags / np.linalg.norm(bags, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with every step, in several shards, changed since it was built."""
    folder = tmp_path_factory.mktemp("indexes") / "thinking"
    build(CORPUS, Thinker(), folder, shard_size=10, all_steps=True)
    add(folder, LATER, encoder=Thinker())
    delete(folder, ["d5"])
    return folder


@pytest.fixture(scope="module")
def documents() -> dict[str, Document]:
    kept = {document.id: document for document in [*CORPUS, *LATER]}
    del kept["d5"]
    return kept


@pytest.fixture
def engine(folder: Path) -> SearchEngine:
    return SearchEngine.open(folder, encoder=Thinker())


def steps_of(query: str, documents: dict[str, Document]) -> dict[str, np.ndarray]:
    """The cosine of every document's every thinking step."""
    cosines = Thinker().deliberate(list(documents.values())) @ Thinker().encode_queries([query])[0]
    return dict(zip(documents, cosines, strict=True))


@pytest.mark.parametrize(("rescore", "reduce"), [("max", np.max), ("mean", np.mean)])
def test_rescoring_orders_by_the_stored_steps(
    engine: SearchEngine, documents: dict[str, Document], rescore: Rescore, reduce: Callable[[np.ndarray], float]
) -> None:
    hits = engine.search(QUERY, 100, rescore=rescore)
    expected = {id: reduce(steps) for id, steps in steps_of(QUERY, documents).items()}
    assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, abs=1e-6)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert [hit.id for hit in hits] != [hit.id for hit in engine.search(QUERY, 100)]
    assert engine.search(QUERY, 3, rescore=rescore) == hits[:3]
    run = engine.search_batch([Query("a", "flies"), Query("b", QUERY)], 5, rescore=rescore)
    assert list(run["b"]) == [hit.id for hit in hits[:5]]
    assert run["b"] == pytest.approx({hit.id: hit.score for hit in hits[:5]}, abs=1e-6)


def test_beyond_the_depth_of_rescoring_the_order_stays() -> None:
    class Store:
        manifest = type("Manifest", (), {"thinking_steps": 1})

        def around(self, positions: np.ndarray, *, steps: bool) -> list[tuple[int, np.ndarray]]:
            return [(0, np.array([[[0.1]], [[0.2]], [[0.3]], [[0.4]]], np.float32))]

    ranking = [(0, 4.0), (1, 3.0), (2, 2.0), (3, 1.0)]
    (found,) = rescored_by_steps([ranking], np.ones((1, 1), np.float32), Store(), "max", 3)  # type: ignore[arg-type]
    assert [position for position, _ in found] == [2, 1, 0, 3]


def test_hybrid_fuses_the_rescored_ranking(engine: SearchEngine) -> None:
    rescored = {hit.id: hit.score for hit in engine.search(QUERY, 100, rescore="max")}
    lexical = {hit.id: hit.score for hit in engine.search(QUERY, 100, mode="lexical")}
    low, high, best = min(rescored.values()), max(rescored.values()), max(lexical.values())
    for hit in engine.search(QUERY, 100, mode="hybrid", rescore="max", weights=(1, 1)):
        scaled = (rescored[hit.id] - low) / (high - low), lexical.get(hit.id, 0) / best
        assert hit.score == pytest.approx(sum(scaled) / 2, abs=1e-6)


def test_rescoring_needs_steps_and_says_so_before_a_model_is_loaded(tmp_path: Path) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "last")
    build(CORPUS, None, tmp_path / "words")
    for name, message in [("last", "only the last thinking step.*--all-steps"), ("words", "holds words only")]:
        engine = SearchEngine.open(tmp_path / name)
        with pytest.raises(DebaterError, match=message):
            engine.search("wing", rescore="max")
        with pytest.raises(DebaterError, match=message):
            engine.check(rescore="max")


def test_an_explanation_has_both_places_and_every_step(engine: SearchEngine, documents: dict[str, Document]) -> None:
    dense = {hit.id: RankedScore(hit.rank, hit.score) for hit in engine.search(QUERY, 100)}
    lexical = {hit.id: RankedScore(hit.rank, hit.score) for hit in engine.search(QUERY, 100, mode="lexical")}
    steps = steps_of(QUERY, documents)
    for mode in ("dense", "hybrid"):
        hits = engine.search(QUERY, 100, mode=mode, explain=True)
        assert [replace(hit, explanation=None) for hit in hits] == engine.search(QUERY, 100, mode=mode)
        for hit in hits:
            assert hit.explanation is not None
            assert (hit.explanation.dense, hit.explanation.lexical) == (dense.get(hit.id), lexical.get(hit.id))
            assert hit.explanation.steps == pytest.approx(steps[hit.id], abs=1e-6)
    assert "d3" not in lexical  # so that a missing place was among them


def test_lexical_hits_are_explained_without_a_model(folder: Path) -> None:
    engine = SearchEngine.open(folder)  # whose model, "fake", cannot be loaded
    (hit,) = engine.search("unique9", mode="lexical", explain=True)
    assert hit.explanation == Explanation(None, RankedScore(1, hit.score), None)


def test_the_explanation_under_a_filter_has_the_places_under_it(engine: SearchEngine) -> None:
    (hit,) = engine.search("wing", explain=True, where="id = 'd24'")
    assert hit.explanation is not None
    assert (hit.explanation.dense, hit.explanation.lexical) == (RankedScore(1, hit.score), hit.explanation.lexical)
    assert hit.explanation.lexical is not None
    assert hit.explanation.lexical.rank == 1


@pytest.mark.parametrize("id", ["d7", "d24", "new"])
def test_what_is_like_a_document_is_nearest_to_its_vector_and_is_not_itself(
    folder: Path, documents: dict[str, Document], id: str
) -> None:
    engine = SearchEngine.open(folder)  # whose model, "fake", cannot be loaded
    hits = engine.more_like(id, 10_000)
    vectors = dict(zip(documents, Thinker().encode_documents(list(documents.values())), strict=True))
    others = {other: float(vectors[other] @ vectors[id]) for other in documents if other != id}
    assert {hit.id: hit.score for hit in hits} == pytest.approx(others, abs=1e-6)
    assert engine.more_like(id, 3) == hits[:3]


@pytest.mark.parametrize("mode", MODES)
def test_documents_like_another_come_in_every_mode_and_under_filters(engine: SearchEngine, mode: Mode) -> None:
    hits = engine.more_like("new", 100, mode=mode, explain=True)
    assert mode != "lexical" or hits[0].id == "d7"
    assert "new" not in {hit.id for hit in hits}
    for by in ("dense", "lexical"):  # its own place is not kept free in either ranking
        places = [getattr(hit.explanation, by) for hit in hits]
        ranks = sorted(place.rank for place in places if place)
        assert ranks == list(range(1, len(ranks) + 1))
        assert ranks or (mode, by) == ("lexical", "dense")
    few = engine.more_like("new", 100, mode=mode, where="year < 3")
    assert {hit.id for hit in few} == {"d0", "d1", "d2"}
    assert [hit.rank for hit in few] == [1, 2, 3]


def test_rescoring_and_likeness_go_together(engine: SearchEngine) -> None:
    best = {hit.id: hit.score for hit in engine.more_like("d7", 100, rescore="max")}
    assert all(best[hit.id] >= hit.score - 1e-6 for hit in engine.more_like("d7", 100))


@pytest.mark.parametrize("id", ["d5", "nobody", "", "\0", "\udcff"])
def test_nothing_is_like_a_document_that_is_not_there(engine: SearchEngine, id: str) -> None:
    with pytest.raises(DebaterError, match="There is no document"):
        engine.more_like(id)
