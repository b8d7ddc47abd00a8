"""Results as objects again, from the entries of a results.json."""

from pathlib import Path

from debater_search.errors import InvalidError
from debater_search.evaluation.metrics import METRICS, ByMetric
from debater_search.evaluation.results import RESULTS_NAME, Entry, Result, read_results
from debater_search.refusals import quoted


def load_results(folder: str | Path) -> list[Result]:
    """The results that were saved in a folder, as `evaluate` returns them.

    Their runs, judgements and texts are empty: results.json does not hold them.

    Raises DebaterError as `read_results`, and for a result without every metric, which another version saved.

    Examples:
        >>> from debater_search.evaluation import evaluate, load_results
        >>> result = evaluate("task", encoder, output="results")
        >>> [saved] = load_results("results")
        >>> saved.model, saved.metrics == result.metrics
        ('debater-small', True)
    """
    return [_whole(entry, Path(folder)) for entry in read_results(folder)["results"]]


def _whole(entry: Entry, folder: Path) -> Result:
    result = restored(entry)
    if result is None:
        raise InvalidError(
            f"{folder / RESULTS_NAME} holds a result without every metric of every query: {quoted(entry)}.",
            "Evaluate it again, or read what it has by `read_results`.",
        )
    return result


def restored(entry: Entry) -> Result | None:
    """The result that an entry of `results.json` describes, without its run; None if part of it is missing."""
    try:
        for values in (entry["metrics"], *entry["per_query"].values()):
            if values.keys() != set(METRICS) or not all(isinstance(value, int | float) for value in values.values()):
                return None  # written by another version, or by another program
        return Result(
            entry["task"],
            entry["model"],
            ByMetric(entry["metrics"]),
            ByMetric((name, (low, high)) for name, (low, high) in entry["intervals"].items()),
            {},
            {query: ByMetric(values) for query, values in entry["per_query"].items()},
            timings=entry["timings"],
            counts=entry.get("counts", {}),
            sizes=entry["sizes"],
            provenance=entry["provenance"],
            steps=entry.get("steps", []),
            ceiling=entry.get("ceiling", {}),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
