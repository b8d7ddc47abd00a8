"""One page for the results in one or several folders, with comparisons across folders."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from debater_search.errors import InvalidError, MissingError
from debater_search.evaluation.comparison import COMPARED, compare
from debater_search.evaluation.results import LOCK_NAME, RESULTS_NAME, Entry, Result, saved_lists
from debater_search.locks import one_at_a_time
from debater_search.reports.details import fields
from debater_search.reports.evaluation import Contents, joined, write_page

REPORT_NAME = "report.html"

DATA = {"judgements": "were scored by different judgements", "corpus": "were retrieved from different corpora"}
"""The fingerprints in a result's provenance that are equal wherever scores can be compared."""


def write_report(folders: Sequence[str | Path], output: str | Path | None = None) -> Path:
    """Join the results in `folders` in `report.html`, in `output` or else in the first folder; returns its path.

    A folder may be named by its `results.json`. On each task the first folder's first model is compared with all
    others. Raises DebaterError for folders without results, for damaged files, and for folders whose results on a task
    differ in judgements or corpus.

    Examples:
        >>> from debater_search.evaluation import evaluate, write_report
        >>> result = evaluate("task", encoder, output="results")
        >>> write_report(["results"]).name
        'report.html'
    """
    named = [Path(folder) for folder in folders]
    places = list(dict.fromkeys(path.parent if path.name == RESULTS_NAME else path for path in named))
    if not places:
        raise InvalidError("There is no folder to report on.", "Name at least one output folder of an evaluation.")
    page = Path(output if output is not None else places[0]) / REPORT_NAME
    # another evaluation may be saving results there
    with one_at_a_time(page.parent / LOCK_NAME) if page.parent.is_dir() else nullcontext():
        found = {folder: saved_lists(folder) for folder in places}
        for folder, lists in found.items():
            if not lists["results"]:
                what = f"There are no results in {folder}." if folder.exists() else f"There is no folder {folder}."
                raise MissingError(what, "Name the output folder of an evaluation.")
        if len(found) > 1:
            _require_same_data(found)
        across = [] if len(found) == 1 else _compare(joined(found))
        write_page(found, page, across)
    return page


def _require_same_data(found: Contents) -> None:
    """Raise InvalidError if results on one task differ in judgements or corpus; provenance without them passes."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for folder, lists in found.items():
        for entry in lists["results"]:
            task, result = str(entry.get("task")), f"{entry.get('model')} in {folder}"
            for name, fingerprint in fields(entry, "provenance").items():
                if name in DATA and isinstance(fingerprint, str):
                    other, before = first.setdefault((task, name), (result, fingerprint))
                    if fingerprint != before:
                        raise InvalidError(
                            f"The results on {task} cannot be compared: {other} and {result} {DATA[name]}.",
                            "Evaluate one of them again on the data of the other, or report on each folder alone.",
                        )


def _compare(results: Mapping[str, Mapping[str, Entry]]) -> list[Entry]:
    """Compare the first model on each task with the others that were scored on the same queries."""
    entries: list[Entry] = []
    for task, models in results.items():
        comparable = [_result(task, model, entry) for model, entry in models.items() if _is_whole(entry)]
        if comparable:
            system, *others = comparable
            same = [other for other in others if other.per_query.keys() == system.per_query.keys()]
            entries += compare(system, same)
    return entries


def _is_whole(entry: Entry) -> bool:
    """Whether the entry has all compared metrics for every query; any program may have written it."""
    rows = [entry["metrics"], *entry["per_query"].values()]
    return len(rows) > 1 and all(
        isinstance(row, dict) and all(isinstance(row.get(name), int | float) for name in COMPARED) for row in rows
    )


def _result(task: str, model: str, entry: Entry) -> Result:
    """The result in an entry, without its run."""
    return Result(task, model, entry["metrics"], entry["intervals"], {}, entry["per_query"])
