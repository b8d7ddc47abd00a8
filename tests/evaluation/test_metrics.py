import copy
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from debater_search.data import read_qrels, read_run
from debater_search.errors import DebaterError
from debater_search.evaluation import METRICS, metrics, score_run
from debater_search.evaluation.metrics import best, bootstrap
from debater_search.types import Qrels, Run

QRELS: Qrels = {"1": {"a": 2, "b": 1, "c": 0}, "2": {"x": 1}, "3": {"y": 0, "z": -1}}


def test_metrics_are_worked_by_hand() -> None:
    scores = score_run({"1": {"c": 3.0, "b": 2.0, "a": 1.0}, "2": {"x": 0.5}}, QRELS)
    ndcg = (1 / math.log2(3) + 2 / math.log2(4)) / (2 + 1 / math.log2(3))
    assert scores.per_query["1"] == {
        **dict.fromkeys(("ndcg@5", "ndcg@10", "ndcg@100"), pytest.approx(ndcg)),
        "ndcg@1": 0.0,
        "mrr@10": 0.5,
        **dict.fromkeys(("map", "map@100"), pytest.approx((1 / 2 + 2 / 3) / 2)),
        **dict.fromkeys(("recall@10", "recall@100", "recall@1000"), 1.0),
        "precision@5": 0.4,
        "precision@10": 0.2,
        "success@1": 0.0,
        **dict.fromkeys(("success@5", "success@10"), 1.0),
        "judged@10": 0.3,
        "unjudged": 0.0,
    }
    assert scores.metrics["mrr@10"] == 0.75
    assert tuple(scores.metrics) == METRICS


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("ndcg", "ndcg@10"),
        ("NDCG@10", "ndcg@10"),
        ("recall", "recall@100"),
        ("ndcg_at_10", "ndcg@10"),
        ("ndcg_cut_5", "ndcg@5"),
        ("P_10", "precision@10"),
    ],
)
def test_an_unknown_metric_is_a_key_error_with_the_nearest_and_all_others(asked: str, meant: str) -> None:
    scores = score_run({"1": {"a": 1.0}}, QRELS)
    for by_metric in (scores.metrics, scores.intervals, scores.per_query["1"]):
        with pytest.raises(KeyError) as error:
            by_metric[asked]
        assert isinstance(error.value, DebaterError)
        assert str(error.value).startswith(
            f"There is no metric {asked!r}. Did you mean {meant}? The metrics are ndcg@10,"
        )
        assert asked not in by_metric
        assert by_metric.get(asked) is None
    with pytest.raises(KeyError, match=r"There is no metric 'speed'\. The metrics are "):
        scores.metrics["speed"]


def test_metrics_are_a_dict_for_json_and_comparisons() -> None:
    metrics = score_run({"1": {"a": 1.0}}, QRELS).metrics
    assert json.loads(json.dumps(metrics)) == dict(metrics) == metrics
    assert copy.deepcopy(metrics) == pickle.loads(pickle.dumps(metrics)) == metrics


def test_a_run_file_scores_as_trec_eval_scores_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    run, judgements = [], []
    for query in range(40):
        for document in rng.choice(2000, 8, replace=False):
            judgements.append(f"{query} 0 d{document} {rng.integers(-1, 4)}\n")
        documents = rng.choice(2000, 1000, replace=False)
        for rank, document in enumerate(documents, start=1):  # many ties, and ranks that mean nothing
            run.append(f"{query} Q0 d{document} {rank} {rng.integers(0, 300) / 100} t\n")
    for name, lines in (("run", run), ("qrels", judgements)):
        (tmp_path / name).write_text("".join(lines), encoding="utf-8")
    ours = score_run(read_run(tmp_path / "run"), read_qrels(tmp_path / "qrels"))
    names = {
        "ndcg@10": "ndcg_cut_10",
        "ndcg@100": "ndcg_cut_100",
        "map": "map",
        "recall@1000": "recall_1000",
        "precision@5": "P_5",
        "success@10": "success_10",
    }
    with (tmp_path / "qrels").open() as qrels_file, (tmp_path / "run").open() as run_file:
        evaluator = pytrec_eval.RelevanceEvaluator(pytrec_eval.parse_qrel(qrels_file), set(names.values()))
        theirs = evaluator.evaluate(pytrec_eval.parse_run(run_file))
    for name, trec_name in names.items():
        mean = np.mean([theirs[query][trec_name] for query in ours.per_query])
        assert ours.metrics[name] == pytest.approx(mean, abs=1e-6), name
    assert ours.metrics["ndcg@100"] > 0


def test_judged_query_missing_from_the_run_counts_nothing() -> None:
    run: Run = {"1": {"a": 2.0, "b": 1.0}, "unjudged": {"a": 1.0}}
    scores = score_run(run, QRELS)
    assert scores.metrics["ndcg@10"] == 0.5
    assert set(scores.per_query) == {"1", "2"}
    assert score_run({**run, "2": {}}, QRELS).metrics == scores.metrics
    assert scores.counts == {"queries_without_hits": 1, "queries_without_judgements": 2}


def test_reciprocal_rank_ends_at_ten() -> None:
    run = {"1": {f"d{i:02}": 100.0 - i for i in range(10)} | {"a": 1.0}}
    scores = score_run(run, {"1": {"a": 1}})
    assert scores.metrics["mrr@10"] == 0
    assert scores.metrics["map@100"] == pytest.approx(1 / 11)


def test_ties_at_rank_ten_fall_as_trec_eval_lets_them() -> None:
    run = {"1": {f"d{i:02}": 1.0 for i in range(11)}}
    assert score_run(run, {"1": {"d01": 1}}).metrics["mrr@10"] == pytest.approx(1 / 10)
    assert score_run(run, {"1": {"d00": 1}}).metrics["mrr@10"] == 0


def test_scores_that_differ_in_float64_alone_are_ties() -> None:
    run = {"1": {"a": 1.0 + 1e-12, "b": 1.0}}
    assert score_run(run, {"1": {"a": 1}}).metrics["mrr@10"] == 0.5
    assert best(run["1"]) == ["b", "a"]


def test_judged_hits_are_counted_in_the_top_ten_and_in_all() -> None:
    run = {"1": {f"d{i:02}": 100.0 - i for i in range(20)}}
    qrels: Qrels = {"1": {"d00": 1, "d01": 0, "d05": -1, "d15": 2, "gone": 1}}
    values = score_run(run, qrels).per_query["1"]
    assert values["judged@10"] == 0.2  # d00 and d01: a gain below 0 is no judgement
    assert values["unjudged"] == pytest.approx(17 / 20)


def test_negative_gains_count_as_zero() -> None:
    run = {"1": {"b": 2.0, "a": 1.0}}
    of_trec = [name for name in METRICS if name not in ("judged@10", "unjudged")]
    negative, zero = score_run(run, {"1": {"a": 1, "b": -5}}), score_run(run, {"1": {"a": 1, "b": 0}})
    assert [negative.metrics[name] for name in of_trec] == [zero.metrics[name] for name in of_trec]


def test_nan_scores_are_refused_and_infinite_ones_are_not() -> None:
    with pytest.raises(DebaterError, match="NaN score for query '2'"):
        score_run({"2": {"x": float("nan"), "y": 1.0}}, QRELS)
    run = {"2": {"x": math.inf, "y": -math.inf}}  # their sum is NaN
    assert score_run(run, QRELS).per_query["2"]["mrr@10"] == 1.0


def test_judgements_without_a_positive_are_refused() -> None:
    with pytest.raises(DebaterError, match="No judgement is positive"):
        score_run({}, {"3": {"y": 0}})


def test_interval_holds_the_mean_and_is_repeatable() -> None:
    rng = np.random.default_rng(0)
    qrels = {str(i): {"a": 1} for i in range(60)}
    run = {str(i): {"b": 1.0, "a": float(rng.choice([0.5, 2.0]))} for i in range(60)}
    first, again = score_run(run, qrels), score_run(run, qrels)
    low, high = first.intervals["ndcg@10"]
    assert low < first.metrics["ndcg@10"] < high
    assert first.intervals == again.intervals
    assert score_run(run, qrels, seed=1).intervals != first.intervals


def test_interval_agrees_with_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(size=(400, 1))
    low, high = bootstrap(values)
    half = 1.96 * values.std() / 20
    assert low[0] == pytest.approx(values.mean() - half, abs=0.02)
    assert high[0] == pytest.approx(values.mean() + half, abs=0.02)


def test_bootstrap_is_the_mean_of_drawn_queries_in_every_block(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(2).random(size=(30, 3))
    rng = np.random.default_rng(42)
    means = [values[rng.integers(30, size=30)].mean(axis=0) for _ in range(metrics.RESAMPLES)]
    expected = np.quantile(means, [0.025, 0.975], axis=0)
    assert np.allclose(bootstrap(values), expected)
    monkeypatch.setattr(metrics, "_BLOCK", 1000)
    assert np.allclose(bootstrap(values), expected)


ids = st.sampled_from("abcdefgh")


@given(st.dictionaries(st.text("ab01", min_size=1), st.sampled_from([0.5, 1.0, -2.0, 3.25]), max_size=30))
@settings(max_examples=60, deadline=None)
def test_best_is_trec_evals_order(documents: dict[str, float]) -> None:
    for rank, document_id in enumerate(best(documents), start=1):
        found = pytrec_eval.RelevanceEvaluator({"1": {document_id: 1}}, {"recip_rank"}).evaluate({"1": documents})
        assert found["1"]["recip_rank"] == 1 / rank
    assert len(best(documents)) == min(10, len(documents))


@settings(max_examples=60, deadline=None)
@given(
    run=st.dictionaries(ids, st.dictionaries(ids, st.floats(-10, 10), max_size=8)),
    qrels=st.dictionaries(ids, st.dictionaries(ids, st.integers(-1, 4), min_size=1, max_size=8), min_size=1),
)
def test_every_metric_lies_between_0_and_1(run: Run, qrels: Qrels) -> None:
    qrels["sure"] = {"a": 1}
    scores = score_run(run, qrels)
    assert all(0 <= value <= 1 + 1e-9 for values in scores.per_query.values() for value in values.values())
    assert all(low <= high for low, high in scores.intervals.values())
