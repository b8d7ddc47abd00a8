"""Search in every mode, with and without filters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from debater_search.errors import DebaterError
from debater_search.indexing import add, build
from debater_search.search import MODES, Mode, SearchEngine
from debater_search.search.candidates import convex_combination
from debater_search.search.marks import QueryMarks
from debater_search.search.snippet import MAX_SNIPPET, best_snippet, without_heading
from debater_search.store.lexical import ENGLISH
from debater_search.types import Document, Query
from tests.fakes import FakeEncoder, tiny_corpus

CORPUS = tiny_corpus()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("indexes") / "tiny"
    build(CORPUS, FakeEncoder(), folder, shard_size=10)
    return folder


@pytest.fixture
def engine(folder: Path) -> SearchEngine:
    return SearchEngine.open(folder, encoder=FakeEncoder())


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_finds_the_document_asked_for(engine: SearchEngine, mode: Mode) -> None:
    hits = engine.search("number 7 unique7. title", 3, mode=mode)
    assert hits[0].id == "d7"
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert (hits[0].title, hits[0].text, hits[0].metadata) == ("Title 7", CORPUS[7].text, {"year": 7})
    assert sorted((hit.score for hit in hits), reverse=True) == [hit.score for hit in hits]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [25, 26, 10_000, 10**20])
def test_k_beyond_the_corpus_returns_every_document(engine: SearchEngine, mode: Mode, k: int) -> None:
    assert sorted(hit.id for hit in engine.search("wing", k, mode=mode)) == sorted(d.id for d in CORPUS)


def test_a_batch_answers_as_single_queries_do(engine: SearchEngine) -> None:
    texts = {"q1": "unique3. number", "q2": "title 9"}
    for mode in MODES:
        run = engine.search_batch([Query(id, text) for id, text in texts.items()], 5, mode=mode)
        for id, text in texts.items():
            alone = engine.search(text, 5, mode=mode)
            assert list(run[id]) == [hit.id for hit in alone]
            assert list(run[id].values()) == pytest.approx([hit.score for hit in alone], abs=1e-6)


def test_plain_strings_are_counted_and_a_miss_has_an_empty_entry(engine: SearchEngine) -> None:
    run = engine.search_batch(["unique3", "zebra"], 5, mode="lexical")
    assert list(run) == ["0", "1"]
    assert next(iter(run["0"])) == "d3"
    assert run["1"] == {}
    assert engine.search_batch([], 5) == {}


def test_the_instruction_reaches_the_encoder(folder: Path) -> None:
    encoder = FakeEncoder()
    engine = SearchEngine.open(folder, encoder=encoder)
    engine.search("wing")
    engine.search("wing", instruction="")
    engine.search_batch(["wing"], instruction="Find wings:")
    assert encoder.instructions == [None, "", "Find wings:"]


@pytest.mark.parametrize(
    ("query", "k", "mode", "message"),
    [
        ("", 10, "dense", "query is empty"),
        (" \t\n", 10, "lexical", "query is empty"),
        ("wing", 0, "dense", "0 hits"),
        ("wing", -1, "lexical", "-1 hits"),
        ("wing", 10, "sparse", "no search mode 'sparse'. Modes: dense, lexical, hybrid"),
    ],
)
def test_bad_requests_are_sentences(engine: SearchEngine, query: str, k: int, mode: Mode, message: str) -> None:
    with pytest.raises(DebaterError, match=message):
        engine.search(query, k, mode=mode)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rescore": "best"}, "rescored by 'best'. By: max, mean"),
        ({"rescore": "max", "mode": "lexical"}, "no thinking steps"),
        ({"weights": (1, 0)}, "not weights"),
        ({"weights": (-1, 1)}, "not weights"),
        ({"weights": (float("nan"), 1)}, "not weights"),
        ({"weights": (1, float("inf"))}, "not weights"),
        ({"weights": (1, 1, 1)}, "not weights"),
    ],
)
def test_settings_that_make_no_sense_are_sentences(engine: SearchEngine, settings: dict, message: str) -> None:
    with pytest.raises(DebaterError, match=message):
        engine.search("wing", **settings)
    with pytest.raises(DebaterError, match=message):
        engine.search_batch(["wing"], **settings)
    with pytest.raises(DebaterError, match=message):
        engine.more_like("d7", **settings)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_named_and_finds_nothing(folder: Path, bad: float) -> None:
    class Broken(FakeEncoder):
        def encode_queries(self, texts, **settings):  # type: ignore[no-untyped-def]
            vectors = super().encode_queries(texts, **settings)
            vectors[-1, 3] = bad
            return vectors

    engine = SearchEngine.open(folder, encoder=Broken())
    for mode in ("dense", "hybrid"):
        with pytest.raises(DebaterError, match="query 1 of 1 holds numbers that are not finite"):
            engine.search("wing", mode=mode)
        with pytest.raises(DebaterError, match="query 2 of 2 holds numbers that are not finite"):
            engine.search_batch(["wing", "flow"], mode=mode)


@pytest.mark.parametrize("shape", [(2, 64), (1, 63), (64,)])
def test_vectors_of_another_shape_are_refused(engine: SearchEngine, shape: tuple[int, ...]) -> None:
    with pytest.raises(DebaterError, match=r"have the shape .*not \(1, 64\)"):
        engine.search_batch(["wing"], vectors=np.ones(shape, np.float32))


@pytest.mark.parametrize("mode", MODES)
def test_a_query_of_100000_words_is_answered(engine: SearchEngine, mode: Mode) -> None:
    query = " ".join(["unique7 number 7 wing", *(f"word{i}" for i in range(100_000))])
    assert len(engine.search(query, 3, mode=mode, explain=True)) == 3
    if mode != "dense":  # the fake model drowns in so many words
        assert engine.search(query, 1, mode=mode)[0].id == "d7"


def test_what_a_filter_allows_is_looked_up_once_until_the_index_changes(tmp_path: Path) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "i")
    engine = SearchEngine.open(tmp_path / "i", encoder=FakeEncoder())
    asked: list[str] = []
    with engine.documents.reading() as connection:
        connection.sqlite.set_trace_callback(asked.append)
    for _ in range(3):
        assert len(engine.search("wing", 100, where="year < 3")) == 3
    assert len([sql for sql in asked if sql.startswith("SELECT position FROM fields") and "'number'" in sql]) == 1
    assert len(engine.search("wing", 100, where="year < 4")) == 4
    add(tmp_path / "i", [Document("new", "A wing.", "", {"year": 1})], encoder=FakeEncoder())
    assert len(engine.search("wing", 100, where="year < 4")) == 5


def test_an_empty_query_in_a_batch_is_numbered(engine: SearchEngine) -> None:
    with pytest.raises(DebaterError, match="Query 2 of 3 is empty"):
        engine.search_batch(["wing", " ", "flow"])


def test_a_lexical_index_says_so_when_asked_for_meaning(tmp_path: Path) -> None:
    build(CORPUS, None, tmp_path / "i")
    engine = SearchEngine.open(tmp_path / "i")
    assert engine.search("unique7", mode="lexical")[0].id == "d7"
    for mode in ("dense", "hybrid"):
        with pytest.raises(DebaterError, match=r"words only.*mode 'lexical'"):
            engine.search("wing", mode=mode)


def test_ties_are_broken_by_position(tmp_path: Path) -> None:
    build([Document(f"d{9 - i}", "the very same") for i in range(10)], FakeEncoder(), tmp_path / "i")
    engine = SearchEngine.open(tmp_path / "i", encoder=FakeEncoder())
    for mode in MODES:
        assert [hit.id for hit in engine.search("same", 4, mode=mode)] == ["d9", "d8", "d7", "d6"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("k", [3, 10**6])
def test_a_filter_gives_the_ranking_of_the_whole_without_the_others(engine: SearchEngine, mode: Mode, k: int) -> None:
    query, where = "number 7 unique7. title", "year < 5 or year >= 20 and not id = 'd22'"
    chosen = {"d0", "d1", "d2", "d3", "d4", "d20", "d21", "d23", "d24"}
    whole = [hit for hit in engine.search(query, 25, mode=mode) if hit.id in chosen]
    hits = engine.search(query, k, mode=mode, where=where)
    assert [hit.id for hit in hits] == [hit.id for hit in whole[:k]]
    assert len(hits) == min(k, 9)
    if mode != "hybrid":  # where ranks among the allowed decide
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in whole[:k]], abs=1e-6)
    assert list(engine.search_batch([query], k, mode=mode, where=where)["0"]) == [hit.id for hit in hits]


@pytest.mark.parametrize("mode", MODES)
def test_a_filter_that_allows_nothing_finds_nothing(engine: SearchEngine, mode: Mode) -> None:
    assert engine.search("wing", mode=mode, where="year > 1000") == []
    assert engine.search_batch(["wing"], mode=mode, where="year > 1000") == {"0": {}}


def test_a_wrong_filter_is_refused_before_the_model_is_loaded(folder: Path) -> None:
    engine = SearchEngine.open(folder)  # whose model, "fake", cannot be loaded
    for where, message in [("", "empty"), ("year >", "wrong at character 7"), ("yaer = 1", r"Did you mean year")]:
        with pytest.raises(DebaterError, match=message):
            engine.search("wing", where=where)
        with pytest.raises(DebaterError, match=message):
            engine.check(where=where)


def test_scores_are_scaled_and_weighted_by_hand() -> None:
    dense, lexical = [(4, 0.9), (2, 0.8), (7, 0.5)], [(2, 8.0), (1, 2.0)]
    fused = convex_combination(dense, lexical, 10, weights=(3, 1))
    assert [position for position, _ in fused] == [2, 4, 1, 7]
    assert [score for _, score in fused] == pytest.approx([0.75 * 0.75 + 0.25, 0.75, 0.25 * 0.25, 0])
    assert convex_combination(dense, lexical, 1, weights=(3, 1)) == fused[:1]
    assert convex_combination([(5, 0.3)], [(3, 1.0)], 2, weights=(1, 1)) == [(3, 0.5), (5, 0.5)]
    assert convex_combination(dense, [], 2, weights=(1, 1)) == [(4, 0.5), (2, pytest.approx(0.375))]
    assert convex_combination([], [], 2) == []


def test_fusion_keeps_the_order_of_candidates_that_were_reordered() -> None:
    reordered = [(1, 0.5), (2, 0.4), (3, 0.9), (4, 0.1)]  # the last two stay behind, with scores of another kind
    assert [position for position, _ in convex_combination(reordered, [], 4)] == [1, 2, 3, 4]


def test_a_document_far_ahead_by_vectors_stays_ahead_of_one_whose_words_match() -> None:
    far = [(0, 0.9), *((n, 0.5 - n / 1000) for n in range(1, 9))]
    near = [(0, 0.4995), *far[1:]]
    words = [(1, 3.0), (2, 2.9)]
    assert [convex_combination(dense, words, 1)[0][0] for dense in (far, near)] == [0, 1]


def test_weights_move_hybrid_search_towards_one_of_its_rankings(engine: SearchEngine) -> None:
    query = "unique3 unique8 unique9 number number number 7"
    scores = {mode: engine.search_batch([query], 25, mode=mode)["0"] for mode in ("dense", "lexical")}
    assert list(scores["dense"]) != list(scores["lexical"])
    for mode, weights in (("dense", (1e6, 1)), ("lexical", (1, 1e6))):
        hits = engine.search(query, 25, mode="hybrid", weights=weights)
        found = [scores[mode].get(hit.id, 0.0) for hit in hits]
        assert found == pytest.approx(sorted(found, reverse=True), abs=1e-4)  # equal but for rounding: by the other one
        assert list(engine.search_batch([query], 25, mode="hybrid", weights=weights)["0"]) == [hit.id for hit in hits]


def test_the_snippet_is_the_sentence_that_shares_most_words() -> None:
    text = "Wings are old. The heated layers of a wing flutter at speed! Nothing else."
    assert (
        best_snippet(QueryMarks("heating layer flutter", ENGLISH), text)
        == "The heated layers of a wing flutter at speed!"
    )
    assert best_snippet(QueryMarks("zebra", ENGLISH), text) == "Wings are old."
    assert best_snippet(QueryMarks("zebra", ENGLISH), " \n ") == ""


@pytest.mark.parametrize(
    ("text", "title", "left"),
    [
        ("# Cake\n\nApples.", "Cake", "\nApples."),
        ("\n## Cake ##\r\nApples.", "Cake", "Apples."),
        ("# Cake", "Cake", ""),
        ("# Cakes\nApples.", "Cake", "# Cakes\nApples."),
        ("Cake\nApples.", "Cake", "Cake\nApples."),
        ("#\nApples.", "", "#\nApples."),
    ],
)
def test_a_heading_that_repeats_the_title_is_no_part_of_a_snippet(text: str, title: str, left: str) -> None:
    assert without_heading(text, title) == left


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# Autovacuum\n\nIt removes dead rows. More.", "It removes dead rows."),
        ("# Tables\n\nRows.\n\n## Autovacuum\nIt removes dead rows. More.", "It removes dead rows."),
        ("Rows lie in pages.\n\n## Autovacuum", "Rows lie in pages."),
        ("# Autovacuum\n\n## Tables", "# Autovacuum"),
        ("#autovacuum is a tag.", "#autovacuum is a tag."),
    ],
)
def test_a_heading_stands_for_the_sentence_below_it(text: str, shown: str) -> None:
    assert best_snippet(QueryMarks("autovacuum", ENGLISH), text) == shown


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("---\ntitle: Broken: yaml: [\n---\n# Cake\nApples.", "Apples."),
        ("---\r\ntitle: [\r\n---\r\nApples.", "Apples."),
        ("---\nA sentence.\n---\nApples.", "---\nA sentence.\n---\nApples."),
        ("---\ntitle: never ends", "---\ntitle: never ends"),
    ],
)
def test_front_matter_that_stayed_in_a_text_is_no_part_of_a_snippet(text: str, left: str) -> None:
    assert without_heading(text, "Cake") == left


@pytest.mark.parametrize("cut", [{}, {"passages": 24, "overlap": 4}], ids=["whole", "passages"])
def test_hits_do_not_show_a_title_twice(tmp_path: Path, cut: dict[str, Any]) -> None:
    text = "# Cake\n\nApples and flour."
    build([Document("a", text, "Cake")], FakeEncoder(), tmp_path / "i", **cut)
    with SearchEngine.open(tmp_path / "i", encoder=FakeEncoder()) as engine:
        (hit,) = engine.search("cake", 1)
    assert (hit.snippet, hit.text) == ("Apples and flour.", text)


def test_a_long_sentence_is_cut_around_the_matches() -> None:
    text = "a lone wing " + "filler words " * 100 + "the flutter of heated wings " + "more filler " * 100
    snippet = best_snippet(QueryMarks("flutter wings", ENGLISH), text)
    assert "flutter of heated wings" in snippet
    assert len(snippet) <= MAX_SNIPPET + 4
    assert snippet.startswith("…")
    assert snippet.endswith("…")


@given(st.text(min_size=1), st.text())
def test_any_text_has_a_snippet(query: str, text: str) -> None:
    assert len(best_snippet(QueryMarks(query, ENGLISH), text)) <= MAX_SNIPPET + 4


@pytest.mark.parametrize(
    "text", [" " * 10**6, "\n" * 10**6, "wing " * 10**6, "a" * 10**6, ". " * 10**6, "飛行" * 10**6, "# a\n\n" * 10**6]
)
def test_snippets_of_huge_texts_are_quick(text: str) -> None:
    import time

    start = time.perf_counter()
    best_snippet(QueryMarks("wing flutter 飛行機", ENGLISH), text)
    assert time.perf_counter() - start < 5  # linear: a fraction of a second; quadratic: minutes


def test_an_index_of_cut_vectors_cuts_queries_alike(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    from debater_search.encoder import Encoder

    build(tiny_corpus(), Encoder.load(tiny_model("llama"), dim=8, device="cpu"), tmp_path / "i")
    engine = SearchEngine.open(tmp_path / "i")
    assert engine.store.manifest.dim == engine.encoder.dim == 8
    scores = {hit.id: hit.score for hit in engine.search("wing", 25)}
    assert scores["d7"] == pytest.approx(
        engine.encoder.encode_queries(["wing"])[0] @ engine.store.vectors()[7], abs=1e-6
    )
    with pytest.raises(DebaterError, match="was made by"):
        SearchEngine.open(tmp_path / "i", encoder=Encoder.load(tiny_model("llama"), device="cpu"))
