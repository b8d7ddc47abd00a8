"""One system compared with others on the same queries: differences, their significance, the queries behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np

from debater_search.errors import InvalidError, MissingError
from debater_search.evaluation import significance
from debater_search.evaluation.metrics import COMPARED, ByMetric, best, bootstrap
from debater_search.evaluation.notebook import comparison_lines, comparison_table
from debater_search.evaluation.restoring import restored
from debater_search.evaluation.results import RESULTS_NAME, Entry, Result, changed_results, read_results
from debater_search.refusals import quoted
from debater_search.types import Qrels

_HINT = "Pass results of `evaluate` or `load_results`, or as `baselines` their folder."

EXTREME = 10  # queries listed with the largest gains, and as many with the largest losses


@dataclass(frozen=True)
class Judged:
    """The judgements that runs on one task are scored by, and the queries' texts by id, where known."""

    task: str
    qrels: Qrels
    texts: Mapping[str, str]
    ignore_identical_ids: bool = False


class Comparisons(list[Entry]):
    """Comparisons in JSON types, as `results.json` has them: a list, which notebooks show as tables."""

    def __repr__(self) -> str:
        return comparison_lines(self)

    def _repr_html_(self) -> str:
        return "".join(map(comparison_table, self)) or "<p>No comparisons.</p>"


def compare(
    system: Result | Entry,
    baselines: Result | Entry | str | Path | Sequence[Result | Entry | str | Path],
    judged: Judged | None = None,
    *,
    seed: int = 42,
) -> Comparisons:
    """Compare a system with one baseline or several on one task: an entry of `comparisons` in results.json for each.

    Results come from `evaluate` or `load_results`, or are entries of `results` from `read_results`. A folder among the
    baselines stands for all results that were saved there on the system's task. Differences are the system's value
    minus the baseline's, per query. p values are given as they are and after Holm correction over all metrics and
    baselines of this call; intervals are not corrected. `judged` has the judgements and texts of the queries that
    changed most; by default the system's own, which a result read from a file does not have.

    Raises DebaterError if the results are not of one task, the same queries and the same judgements, and for a folder
    without results on the task.

    Examples:
        >>> from debater_search.evaluation import compare, evaluate
        >>> comparisons = compare(evaluate("task", encoder), evaluate("task", None, mode="lexical"))
        >>> comparisons
        task: debater-small − bm25: ndcg@10 +0.0000 (p 1.0000 after Holm correction)
        >>> comparisons[0]["metrics"]["ndcg@10"]["difference"]
        0.0
    """
    whole = _readable(system)
    others: list[Result] = []
    for one in _listed(baselines):
        others += _saved(one, whole, others) if isinstance(one, str | Path) else [_readable(one)]
    for other in others:
        _require_comparable(whole, other)
    judged = judged or Judged(whole.task, whole.qrels, whole.texts)
    return _compared(whole, others, judged, seed) if others else Comparisons()


def _compared(system: Result, baselines: Sequence[Result], judged: Judged, seed: int) -> Comparisons:
    queries = list(system.per_query)
    differences = np.stack([_values(system, queries) - _values(other, queries) for other in baselines], axis=1)
    columns = differences.reshape(len(queries), -1)  # [queries, baselines * metrics]
    low, high = bootstrap(columns, seed=seed)
    randomisation, t = significance.randomisation_test(columns, seed=seed), significance.t_test(columns)
    statistics = {
        "difference": columns.mean(axis=0),
        "low": low,
        "high": high,
        "p_randomisation": randomisation,
        "p_t": t,
        "p_randomisation_holm": significance.holm(randomisation),
        "p_t_holm": significance.holm(t),
        "effect_size": significance.effect_size(columns),
        "wins": (columns > significance.TIE).sum(axis=0),
        "ties": (np.abs(columns) <= significance.TIE).sum(axis=0),
        "losses": (columns < -significance.TIE).sum(axis=0),
    }
    return Comparisons(
        {
            "task": system.task,
            "baseline": other.model,
            "system": system.model,
            "metrics": ByMetric(
                (
                    name,
                    {"baseline": other.metrics[name], "system": system.metrics[name]}
                    | ({"baseline_interval": list(interval)} if (interval := other.intervals.get(name)) else {})
                    | _column(statistics, number * len(COMPARED) + metric),
                )
                for metric, name in enumerate(COMPARED)
            ),
            **_extremes(system, other, judged),
        }
        for number, other in enumerate(baselines)
    )


def save_comparisons(folder: str | Path, comparisons: Sequence[Entry]) -> None:
    """Write comparisons to `results.json` of a folder; they replace earlier ones of the same task and models.

    Examples:
        >>> from debater_search.evaluation import evaluate_run, save_comparisons
        >>> result, comparisons = evaluate_run("run.trec", "task/qrels/test.tsv", compare=["other.trec"])
        >>> save_comparisons("results", comparisons)
    """
    if not comparisons:
        return
    new = {_key(entry) for entry in comparisons}
    with changed_results(Path(folder)) as saved:
        saved["comparisons"] = [*comparisons, *(entry for entry in saved["comparisons"] if _key(entry) not in new)]


def _listed(baselines: Any) -> Sequence[Any]:
    if isinstance(baselines, Result | dict | str | Path | Comparisons):
        return [baselines]
    if not isinstance(baselines, Sequence):
        raise InvalidError(f"`baselines` is {short(baselines)}, not a result or a list of results.", _HINT)
    return baselines


def _saved(source: str | Path, system: Result, others: Sequence[Result]) -> list[Result]:
    """The results in a folder on the system's task; a name that is taken already is followed by the folder."""
    path = Path(source)
    if path.is_file() and path.name != RESULTS_NAME:
        raise InvalidError(f"{path} is a file, and not a folder of results.", "Score a run by `evaluate_run` first.")
    folder = path.parent if path.name == RESULTS_NAME else path
    entries = [entry for entry in read_results(folder)["results"] if entry.get("task") == system.task]
    if not entries:
        raise MissingError(
            f"{folder} has no results on {system.task}.", "Name the output of an evaluation on this task."
        )
    taken = {one.model for one in (system, *others)}
    found = [_readable(entry) for entry in entries]
    return [replace(one, model=f"{one.model} ({folder})") if one.model in taken else one for one in found]


def _readable(one: Any) -> Result:
    """A result, or the one that an entry of results.json describes. Raises InvalidError if it does not describe one."""
    if isinstance(one, Comparisons) or (isinstance(one, tuple) and one and isinstance(one[0], Result)):
        raise InvalidError(
            "These are comparisons, and not a result.",
            "`evaluate_run` returns both: write `result, comparisons = evaluate_run(…)`, and pass the result.",
        )
    if isinstance(one, Mapping) and one and all(isinstance(of_query, Mapping) for of_query in one.values()):
        raise InvalidError(
            "This is a run, and not a result.",
            'Score it first, by the task\'s name: `result = scored("TASK", "NAME", run, qrels)`; then pass the result.',
        )
    result = one if isinstance(one, Result) else restored(one)
    if result is None:
        raise InvalidError(f"This is not a result with every metric of every query: {quoted(one)}.", _HINT)
    return result


def _require_comparable(system: Result, other: Result) -> None:
    """Raise InvalidError if two results are not of one task, the same queries and the same judgements."""
    names = f"{system.model} and {other.model}"
    if system.task != other.task:
        raise InvalidError(
            f"{names} were scored on different tasks: {system.task} and {other.task}.",
            "Compare results of one task.",
        )
    judgements = {one.provenance["judgements"] for one in (system, other) if "judgements" in one.provenance}
    if len(judgements) > 1 or system.per_query.keys() != other.per_query.keys():
        splits = [str(one.provenance.get("split") or "unknown") for one in (system, other)]
        of = f" (splits: {splits[0]}, {splits[1]})" if splits[0] != splits[1] else ""
        raise InvalidError(
            f"{names} were scored by different judgements of {system.task}{of}.", "Evaluate one of them again."
        )


def _values(result: Result, queries: Sequence[str]) -> np.ndarray:
    """The compared metrics of each query, float64 [queries, metrics]."""
    return np.array([[result.per_query[query][name] for name in COMPARED] for query in queries])


def _column(statistics: Mapping[str, np.ndarray], column: int) -> dict[str, Any]:
    """The statistics of one column in JSON types; None for NaN."""
    values = {name: row[column].item() for name, row in statistics.items()}
    values = {name: None if value != value else value for name, value in values.items()}
    return {"difference": values.pop("difference"), "interval": [values.pop("low"), values.pop("high")], **values}


def _extremes(system: Result, other: Result, judged: Judged) -> dict[str, list[Entry]]:
    """The queries with the largest gains and losses in the first metric, largest difference first."""
    metric = COMPARED[0]
    changes = {query: system.per_query[query][metric] - other.per_query[query][metric] for query in system.per_query}
    by_change = sorted(changes, key=lambda query: -changes[query])
    gained = [query for query in by_change[:EXTREME] if changes[query] > significance.TIE]
    lost = [query for query in by_change[: -EXTREME - 1 : -1] if changes[query] < -significance.TIE]

    def described(query: str) -> Entry:
        return {
            "query": query,
            "text": judged.texts.get(query, ""),
            "baseline": other.per_query[query][metric],
            "system": system.per_query[query][metric],
            "baseline_ranking": _ranking(other, query, judged.qrels),
            "system_ranking": _ranking(system, query, judged.qrels),
        }

    return {"gained": [described(query) for query in gained], "lost": [described(query) for query in lost]}


def _ranking(result: Result, query: str, qrels: Qrels) -> list[list[Any]]:
    """The ten best documents, each with its gain; None if it is not judged. Empty without run or judgements."""
    gains = qrels.get(query)
    if gains is None:
        return []
    return [[document_id, gains.get(document_id)] for document_id in best(result.run.get(query, {}))]


def _key(entry: Entry) -> tuple[Any, Any, Any]:
    return entry.get("task"), entry.get("baseline"), entry.get("system")
