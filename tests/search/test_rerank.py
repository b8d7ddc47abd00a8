"""Reranking in the engine: order, scores, explanations, what is read; against reranking by hand."""

from pathlib import Path

import numpy as np
import pytest

from debater_search.errors import InvalidError
from debater_search.indexing import build
from debater_search.search import MODES, Like, Mode, SearchEngine
from debater_search.types import Document
from tests.fakes import FakeEncoder, FakeScorer, tiny_corpus

QUERY = "number 7 unique7. title"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> SearchEngine:
    folder = tmp_path_factory.mktemp("indexes") / "tiny"
    build(tiny_corpus(), FakeEncoder(), folder, all_steps=True)
    return SearchEngine.open(folder, encoder=FakeEncoder())


@pytest.mark.parametrize("mode", MODES)
def test_the_best_candidates_are_in_the_rerankers_order_and_the_others_behind_them(
    engine: SearchEngine, mode: Mode
) -> None:
    plain = engine.search(QUERY, 25, mode=mode)
    hits = engine.search(QUERY, 25, mode=mode, rerank=FakeScorer(), rerank_depth=6)
    by_hand = sorted(plain[:6], key=lambda hit: -FakeScorer.of(QUERY, f"{hit.title} {hit.text}"))
    assert [hit.id for hit in hits] == [hit.id for hit in [*by_hand, *plain[6:]]]
    assert [hit.score for hit in hits[:6]] == pytest.approx(
        [FakeScorer.of(QUERY, f"{hit.title} {hit.text}") for hit in by_hand]
    )
    scores = np.array([hit.score for hit in hits], np.float32)  # as trec_eval compares them
    assert (np.diff(scores[5:]) < 0).all()


def test_a_batch_is_reranked_as_each_query_is(engine: SearchEngine) -> None:
    queries = [QUERY, "wing of aircraft unique3.", "series"]
    run = engine.search_batch(queries, 4, mode="hybrid", rerank=FakeScorer(), rerank_depth=9)
    for number, query in enumerate(queries):
        hits = engine.search(query, 4, mode="hybrid", rerank=FakeScorer(), rerank_depth=9)
        assert list(run[str(number)].items()) == [(hit.id, hit.score) for hit in hits]


def test_candidates_beyond_k_are_read_and_never_more_than_the_depth(engine: SearchEngine) -> None:
    best = engine.search(QUERY, 25, rerank=FakeScorer(), rerank_depth=25)[0].id
    assert [hit.id for hit in engine.search(QUERY, 1, rerank=FakeScorer(), rerank_depth=25)] == [best]
    for device, depth in (("cpu", 20), ("cuda:0", 25)):  # 100, but the index holds 25
        scorer = FakeScorer(device=device)
        engine.search(QUERY, 1, rerank=scorer)
        assert len(scorer.asked) == depth


def test_reranking_comes_after_rescoring_and_is_timed_and_explained(engine: SearchEngine) -> None:
    answer = engine.answer(QUERY, 5, rescore="max", rerank=FakeScorer(), rerank_depth=3, explain=True)
    assert list(answer.timings) == ["encode", "retrieve", "fetch", "rerank"]
    places = [hit.explanation.rerank for hit in answer.hits if hit.explanation]
    assert [place and place.rank for place in places] == [1, 2, 3, None, None]
    assert [place.score for place in places if place] == [hit.score for hit in answer.hits[:3]]
    dense = [hit.explanation.dense.rank for hit in answer.hits if hit.explanation and hit.explanation.dense]
    assert sorted(dense) == [1, 2, 3, 4, 5]
    assert all(hit.explanation.rerank is None for hit in engine.search(QUERY, explain=True) if hit.explanation)


def test_a_document_like_others_is_reranked_by_its_text_and_a_bare_vector_is_refused(engine: SearchEngine) -> None:
    scorer = FakeScorer()
    assert engine.search(Like("d7"), 5, rerank=scorer, rerank_depth=5)
    (content,) = {query for query, _ in scorer.asked}
    assert content.startswith("Title 7 The wing")
    with pytest.raises(InvalidError, match="a reranker reads them"):
        engine.search(FakeEncoder().encode_queries([QUERY])[0], rerank=FakeScorer())


def test_impossible_depths_are_refused(engine: SearchEngine) -> None:
    with pytest.raises(InvalidError, match="1 or more"):
        engine.search(QUERY, rerank=FakeScorer(), rerank_depth=0)
    with pytest.raises(InvalidError, match="no effect without `rerank`"):
        engine.search(QUERY, rerank_depth=20)


def test_a_query_without_hits_is_no_fault(engine: SearchEngine) -> None:
    assert engine.search("zzz", mode="lexical", rerank=FakeScorer()) == []


@pytest.mark.parametrize("mode", MODES)
def test_of_long_documents_the_best_passage_is_read(tmp_path: Path, mode: Mode) -> None:
    parts = ["dull words about nothing at all", "the famous zebra crossing of Abbey Road", "more dull words again"]
    corpus = [Document("long", " . ".join(" ".join([part] * 4) for part in parts)), Document("other", "a zebra")]
    build(corpus, FakeEncoder(), tmp_path / "i", passages=30, overlap=0)
    scorer = FakeScorer()
    engine = SearchEngine.open(tmp_path / "i", encoder=FakeEncoder())
    engine.search("famous zebra crossing", 2, mode=mode, rerank=scorer)
    read = {text for _, text in scorer.asked}
    assert "a zebra" in read
    (passage,) = read - {"a zebra"}
    assert "famous zebra" in passage
    assert len(passage) < len(corpus[0].text) / 2
