"""Measures of a run against judgements, by trec_eval's own code, with a bootstrap interval of every mean."""

import math
from dataclasses import dataclass

import numpy as np

from debater_search.errors import DebaterError
from debater_search.types import Qrels, Run

# our name → (the name that trec_eval's code is asked for, the name that it answers with)
_TREC = {
    "ndcg@10": ("ndcg_cut.10", "ndcg_cut_10"),
    "ndcg@100": ("ndcg_cut.100", "ndcg_cut_100"),
    "mrr@10": ("recip_rank", "recip_rank"),
    "map@100": ("map_cut.100", "map_cut_100"),
    "recall@10": ("recall.10", "recall_10"),
    "recall@100": ("recall.100", "recall_100"),
    "precision@10": ("P.10", "P_10"),
}
METRICS = tuple(_TREC)

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Scores:
    """Means over the queries, their 95% intervals, and each query's own values."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    per_query: dict[str, dict[str, float]]


def score_run(run: Run, qrels: Qrels, *, seed: int = 42) -> Scores:
    """Score a run on every query with a positive judgement; one that the run does not answer counts 0.

    Raises DebaterError for a score that is NaN, and for judgements of which none is positive.
    """
    judged = {query_id: gains for query_id, gains in qrels.items() if any(gain > 0 for gain in gains.values())}
    if not judged:
        raise DebaterError("None of the judgements is positive.", "Gains above 0 mark what should be found.")
    for query_id, documents in run.items():
        if any(math.isnan(score) for score in documents.values()):
            raise DebaterError(f"The run has a NaN score for query {query_id!r}.", "Look for the fault in the model.")
    answers = {query_id: run.get(query_id, {}) for query_id in judged}
    per_query = _measure(answers, judged)
    values = np.array([[per_query[query_id][name] for name in METRICS] for query_id in judged])  # [queries, metrics]
    low, high = bootstrap(values, seed=seed)
    return Scores(
        metrics=dict(zip(METRICS, values.mean(axis=0).tolist(), strict=True)),
        intervals={name: (float(low[i]), float(high[i])) for i, name in enumerate(METRICS)},
        per_query=per_query,
    )


def bootstrap(values: np.ndarray, *, seed: int = 42) -> tuple[np.ndarray, np.ndarray]:
    """95% percentile interval of the mean of each column of `values` [queries, metrics], by resampling queries."""
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean(axis=0) for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def _measure(answers: Run, qrels: Qrels) -> dict[str, dict[str, float]]:
    import pytrec_eval

    measures = {asked for asked, _ in _TREC.values() if asked != "recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(answers)
    # trec_eval's reciprocal rank looks at the whole run: give it the top ten alone
    top = {query_id: dict(_ranked(documents)[:10]) for query_id, documents in answers.items()}
    reciprocal = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(top)
    return {
        query_id: {
            name: float((reciprocal if name == "mrr@10" else found)[query_id][key]) for name, (_, key) in _TREC.items()
        }
        for query_id in answers
    }


def _ranked(documents: dict[str, float]) -> list[tuple[str, float]]:
    """In trec_eval's order: by score, and of equal scores the greater id first."""
    return sorted(documents.items(), key=lambda answer: (answer[1], answer[0]), reverse=True)
