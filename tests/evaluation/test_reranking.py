"""Reranked evaluations: equal to reranking a run by hand, beside the run without, with cached scores."""

from pathlib import Path

import numpy as np
import pytest

from debater_search.data import read_run
from debater_search.errors import InvalidError
from debater_search.evaluation import Campaign, FolderTask, evaluate, score_run
from debater_search.evaluation.metrics import recall_at
from debater_search.evaluation.reranking import KeptScores
from debater_search.types import Run
from tests.evaluation.flight import CORPUS, QUERIES, model, saved
from tests.fakes import FakeScorer

TEXTS = {str(row["_id"]): f"{row['title']} {row['text']}".strip() for row in CORPUS}


def reranked_by_hand(run: Run, depth: int) -> Run:
    """Scores of the first `depth`; those behind them far below."""
    queries, found = {row["_id"]: row["text"] for row in QUERIES}, {}
    for query_id, documents in run.items():
        ids = sorted(documents, key=lambda id: -documents[id])
        found[query_id] = {id: FakeScorer.of(queries[query_id], TEXTS[id]) for id in ids[:depth]}
        found[query_id] |= {id: -1000.0 - place for place, id in enumerate(ids[depth:])}
    return found


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_reranked_evaluation_is_a_run_that_was_reranked_by_hand(task: Path, depth: int) -> None:
    plain = evaluate(task, model())
    reranked = evaluate(task, model(), rerank=FakeScorer(), rerank_depth=depth)
    by_hand = score_run(reranked_by_hand(plain.run, depth), FolderTask(task).qrels())
    assert (reranked.metrics, reranked.per_query) == (by_hand.metrics, by_hand.per_query)
    assert reranked.ceiling == {f"recall@{depth}": recall_at(depth, plain.run, FolderTask(task).qrels())}
    assert reranked.model == "m + fake-scorer"


def test_recall_at_a_depth_is_trec_evals() -> None:
    qrels = {"q": {"a": 1, "b": 2, "c": 0}, "no": {"a": 0}, "lost": {"a": 1}}
    run = {"q": {f"x{n}": float(n) for n in range(20)} | {"a": 10.5, "b": 9.5}}
    for depth in (10, 100):
        assert recall_at(depth, run, qrels) == score_run(run, qrels).metrics[f"recall@{depth}"]


def test_a_campaign_scores_the_search_without_the_reranker_too_and_resumes(task: Path, tmp_path: Path) -> None:
    def run(scorer: FakeScorer, depth: int | None = None) -> list[str]:
        campaign = Campaign(
            [task], model(), mode="hybrid", baselines=["bm25"], output=tmp_path / "out",
            rerank=scorer, rerank_depth=depth,
        )  # fmt: skip
        (flight,) = campaign
        assert [(entry["system"], entry["baseline"]) for entry in flight.comparisons] == [
            (flight.results[0].model, other.model) for other in flight.results[1:]
        ]
        return [result.model for result in flight.results]

    names = ["m + bm25 + fake-scorer", "m + bm25", "bm25"]
    assert run(first := FakeScorer()) == names
    assert len(first.asked) == 6
    provenance = saved(tmp_path / "out")["results"][0]["provenance"]
    assert (provenance["reranker"], provenance["rerank_depth"]) == (first.fingerprint, 20)
    assert saved(tmp_path / "out")["results"][0]["ceiling"] == {"recall@20": 1.0}
    before = (tmp_path / "out" / "results.json").read_bytes()
    assert run(again := FakeScorer()) == names
    assert (again.asked, (tmp_path / "out" / "results.json").read_bytes()) == ([], before)
    with pytest.raises(InvalidError, match="holds a run already"):
        run(FakeScorer(), depth=2)
    assert len(read_run(tmp_path / "out" / "flight" / "run.trec")["q1"]) == 3


def test_a_reranked_bm25_has_bm25_as_its_baseline_once(task: Path) -> None:
    (flight,) = Campaign([task], mode="lexical", baselines=["bm25"], rerank=FakeScorer("a/folder/scorer"))
    assert [result.model for result in flight.results] == ["bm25 + scorer", "bm25"]


def test_what_does_not_go_with_a_reranker_is_refused(task: Path) -> None:
    with pytest.raises(InvalidError, match="Leave `rerank` out"):
        Campaign([task], model(), all_steps=True, rerank=FakeScorer())
    with pytest.raises(InvalidError, match="no effect without `rerank`"):
        Campaign([task], model(), rerank_depth=20)


def test_a_pair_is_scored_once_and_a_damaged_cache_is_no_obstacle(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = ["a wing", "a stall", "a wing"]
    scores = KeptScores(first := FakeScorer()).score("wing", texts)
    assert [text for _, text in first.asked] == ["a wing", "a stall"]
    kept = KeptScores(second := FakeScorer())
    assert (kept.score("wing", [*texts, "new"])[:3] == scores).all()
    assert [text for _, text in second.asked] == ["new"]
    assert KeptScores(FakeScorer("other")).score("wing", texts) == pytest.approx(scores)
    (file,) = (cache / "debater" / "rerank").glob(f"{first.fingerprint[:32]}*")
    file.write_bytes(b"no database" * 1000)
    damaged = KeptScores(FakeScorer())
    for _ in range(2):
        assert (damaged.score("wing", texts) == scores).all()
    assert caplog.text.count("are not cached") == 1
    assert np.isfinite(scores).all()
