"""Metrics of a run by trec_eval's own code, with a bootstrap interval of each mean."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

import numpy as np

from debater_search.errors import InvalidError, MissingError
from debater_search.extras import require
from debater_search.refusals import nearest
from debater_search.types import Qrels, Run

Value = TypeVar("Value")

# our name → trec_eval's
_TREC = {
    "ndcg@10": "ndcg_cut_10",
    "ndcg@1": "ndcg_cut_1",
    "ndcg@5": "ndcg_cut_5",
    "ndcg@100": "ndcg_cut_100",
    "mrr@10": "recip_rank",  # over the whole run; values from below rank ten are set to 0 here
    "map": "map",
    "map@100": "map_cut_100",
    "recall@10": "recall_10",
    "recall@100": "recall_100",
    "recall@1000": "recall_1000",
    "precision@5": "P_5",
    "precision@10": "P_10",
    "success@1": "success_1",
    "success@5": "success_5",
    "success@10": "success_10",
}
JUDGED = "judged@10"
"""The share of the ten best hits that are judged."""
UNJUDGED = "unjudged"
"""The share of all hits that are not judged."""
METRICS = (*_TREC, JUDGED, UNJUDGED)

COMPARED = ("ndcg@10", "mrr@10", "map@100", "recall@100")
"""The metrics that are shown first, and tested. Each further one makes the correction for multiple tests stricter."""

RESAMPLES = 1000
LEVEL = 0.95
_BLOCK = 2**21  # random numbers drawn at once, which bounds memory


class UnknownMetricError(MissingError, KeyError):
    """A metric that was not measured; a KeyError too, as it is of any mapping."""


class ByMetric(dict[str, Value], Generic[Value]):
    """A dict by names of metrics, which says what there is if it is asked for another one."""

    def __missing__(self, name: Any) -> NoReturn:
        known = ", ".join(self) or "none"
        near = _meant(str(name), [*COMPARED, *self]) if self else None
        did_you_mean = f"Did you mean {near}? " if near in self else ""
        raise UnknownMetricError(f"There is no metric {name!r}.", f"{did_you_mean}The metrics are {known}.")


@dataclass(frozen=True)
class Scores:
    """Means over the queries, their 95% intervals, the values per query, and counts of missing queries."""

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    per_query: dict[str, dict[str, float]]
    counts: dict[str, int]
    """`queries_without_hits` (judged; they score 0), `queries_without_judgements` (no positive one; left out)."""


def score_run(run: Run, qrels: Qrels, *, seed: int = 42) -> Scores:
    """Score a run on every query with a positive judgement; a query that the run does not answer scores 0.

    As in trec_eval, hits are ordered by score alone, and hits of equal score (as float32) by id, descending; a
    negative gain counts as 0 and as not judged. Raises DebaterError for a NaN score, and if no judgement is positive.

    Examples:
        >>> from debater_search.evaluation import score_run
        >>> scores = score_run({"q1": {"wings": 2.0, "heat": 1.0}}, {"q1": {"heat": 1}})
        >>> scores.metrics["mrr@10"], scores.metrics["recall@10"]
        (0.5, 1.0)
    """
    judged = {query_id: gains for query_id, gains in qrels.items() if any(gain > 0 for gain in gains.values())}
    if not judged:
        raise InvalidError("No judgement is positive.", "Mark relevant documents by gains above 0.")
    for query_id, documents in run.items():
        # the sum of 1,000 scores costs a tenth of checking each
        if math.isnan(sum(documents.values())) and any(math.isnan(score) for score in documents.values()):
            raise InvalidError(f"The run has a NaN score for query {query_id!r}.", "Check the model that made it.")
    answers = {query_id: run.get(query_id, {}) for query_id in judged}
    per_query = _measure(answers, judged)
    values = np.array([list(of_query.values()) for of_query in per_query.values()])  # [queries, metrics]
    low, high = bootstrap(values, seed=seed)
    return Scores(
        metrics=ByMetric(zip(METRICS, values.mean(axis=0).tolist(), strict=True)),
        intervals=ByMetric((name, (float(low[i]), float(high[i]))) for i, name in enumerate(METRICS)),
        per_query=per_query,
        counts={
            "queries_without_hits": sum(not documents for documents in answers.values()),
            "queries_without_judgements": len((qrels.keys() | run.keys()) - judged.keys()),
        },
    )


def bootstrap(values: np.ndarray, *, seed: int = 42) -> tuple[np.ndarray, np.ndarray]:
    """95% percentile interval of the mean of each column of `values` [queries, metrics], by resampling queries."""
    rng = np.random.default_rng(seed)
    queries = len(values)
    means = np.empty((RESAMPLES, values.shape[1]))
    step = max(1, _BLOCK // queries)
    for start in range(0, RESAMPLES, step):
        rows = min(step, RESAMPLES - start)
        # how often each query is drawn
        drawn = rng.integers(queries, size=(rows, queries)) + np.arange(rows)[:, None] * queries
        times = np.bincount(drawn.ravel(), minlength=rows * queries).reshape(rows, queries)
        means[start : start + rows] = times @ values / queries
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return low, high


def best(documents: Mapping[str, float], k: int = 10) -> list[str]:
    """The ids of the best k documents in trec_eval's order: by score as float32, then by id, both descending."""
    scores = np.fromiter(documents.values(), np.float32, len(documents))
    least = np.partition(scores, -k)[-k] if len(scores) > k else -np.inf
    ids = list(documents)
    contenders = [(scores[position], ids[position]) for position in np.flatnonzero(scores >= least)]
    return [document_id for _, document_id in sorted(contenders, reverse=True)[:k]]


def recall_at(depth: int, run: Run, qrels: Qrels) -> float:
    """The share of relevant documents among the best `depth`, as a mean over the queries with a positive judgement."""
    shares = []
    for query_id, gains in qrels.items():
        relevant = {document_id for document_id, gain in gains.items() if gain > 0}
        if relevant:
            shares.append(len(relevant.intersection(best(run.get(query_id, {}), depth))) / len(relevant))
    return sum(shares) / len(shares) if shares else 0.0


def _meant(name: str, known: Sequence[str]) -> str | None:
    """The metric that a name probably stands for: trec_eval's name of it, its beginning, or one that is like it."""
    by_trec = {trec_name: ours for ours, trec_name in _TREC.items()}
    word = name.lower()
    begins = (metric for metric in known if word and metric.startswith(word))
    return by_trec.get(name) or next(begins, None) or nearest(word.replace("_at_", "@"), known)


def _measure(answers: Run, qrels: Qrels) -> dict[str, dict[str, float]]:
    pytrec_eval = require("pytrec_eval", extra="eval")
    found = pytrec_eval.RelevanceEvaluator(qrels, set(_TREC.values())).evaluate(answers)
    return {
        query_id: ByMetric(_renamed(found[query_id]) | _judged(documents, qrels[query_id]))
        for query_id, documents in answers.items()
    }


def _renamed(found: Mapping[str, float]) -> dict[str, float]:
    values = {name: float(found[trec_name]) for name, trec_name in _TREC.items()}
    if values["mrr@10"] < 1 / 10:
        values["mrr@10"] = 0.0
    return values


def _judged(documents: Mapping[str, float], gains: Mapping[str, int]) -> dict[str, float]:
    """The shares of hits that are judged and not judged; a negative gain means not judged."""
    hits = {document_id for document_id in documents.keys() & gains.keys() if gains[document_id] >= 0}
    top = best(documents) if hits else []
    return {
        JUDGED: sum(document_id in hits for document_id in top) / 10,
        UNJUDGED: 1 - len(hits) / len(documents) if documents else 0.0,
    }
