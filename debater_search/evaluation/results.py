"""What an evaluation found, and the folder that keeps it: results.json, and beside it a folder for each task."""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from debater_search.data import write_run
from debater_search.data.files import write_lines
from debater_search.data.runs import DEPTH
from debater_search.errors import DebaterError
from debater_search.evaluation.metrics import METRICS, score_run
from debater_search.evaluation.provenance import digest, made_by
from debater_search.evaluation.published import published_figures
from debater_search.locks import one_at_a_time
from debater_search.types import Qrels, Run

logger = logging.getLogger(__name__)

RESULTS_NAME = "results.json"
RUN_NAME = "run.trec"
LOCK_NAME = "results.lock"
SCHEMA_VERSION = 1

Entry = dict[str, Any]
"""One element of a list in results.json."""


@dataclass(frozen=True)
class Result:
    """What one model scored on one task: means, intervals, every query's values, and what made them."""

    task: str
    model: str
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    run: Run
    per_query: dict[str, dict[str, float]]
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds, by what they were spent on."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes, by what takes them."""
    counts: dict[str, int] = field(default_factory=dict)
    """What is missing or was left out: `queries_without_hits`, `queries_without_judgements`, `documents_missing`."""
    provenance: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, float]] = field(default_factory=list)
    """The metrics of each thinking step alone, where they were asked for (`evaluate_steps`)."""

    def as_dict(self) -> Entry:
        """The result in JSON types, without the run and the values of each query."""
        described = {
            "task": self.task,
            "model": self.model,
            "metrics": self.metrics,
            "intervals": {name: list(interval) for name, interval in self.intervals.items()},
            "queries": len(self.per_query),
            "counts": self.counts,
            "timings": self.timings,
            "sizes": self.sizes,
            "provenance": self.provenance,
        }
        figures = [figure.as_dict() for figure in published_figures(self.task, self.model, self.metrics)]
        return described | ({"published": figures} if figures else {}) | ({"steps": self.steps} if self.steps else {})

    def save(self, folder: str | Path, *, baseline: bool = False) -> None:
        """Write the run, then this result into `results.json`, before those of other tasks and models.

        The run goes to `<task>/run.trec`. A baseline comes behind all others, and its run to a file of its own beside
        that one. Comparisons and analyses of an earlier result of this task and model go.
        """
        folder = Path(folder)
        with changed_results(folder) as saved:
            others = [entry for entry in saved["results"] if not _same(entry, self.task, self.model)]
            run = f"{self.task}/{RUN_NAME}"
            if baseline:
                run = _free_run(self.task, self.model, [run, *(entry.get("run") for entry in others)])
            write_run(self.run, folder / run, depth=DEPTH)
            for other in others:
                if other.get("run") == run:
                    del other["run"]  # it was replaced by this one
            entry = self.as_dict() | {"run": run, "per_query": self.per_query}
            saved["results"] = [*others, entry] if baseline else [entry, *others]
            for name, about in (("comparisons", ("system", "baseline")), ("analyses", ("models",))):
                saved[name] = [
                    entry
                    for entry in saved[name]
                    if entry.get("task") != self.task or not any(_names(entry.get(key), self.model) for key in about)
                ]


def scored(
    task: str,
    model: str,
    run: Run,
    qrels: Qrels,
    *,
    timings: Mapping[str, float] | None = None,
    sizes: Mapping[str, int] | None = None,
    counts: Mapping[str, int] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Result:
    """The result of a run that is there already, by whatever system; raises DebaterError as `score_run` does.

    `counts` adds to what `score_run` counted.
    """
    scores = score_run(run, qrels)
    if missing := scores.counts["queries_without_hits"]:
        of = len(scores.per_query)
        logger.warning(
            "Judged queries of %s that %s does not answer: %d of %d. They count as 0.", task, model, missing, of
        )
    if left_out := scores.counts["queries_without_judgements"]:
        logger.info("Queries of %s without a positive judgement: %d. They are left out.", task, left_out)
    return Result(
        task,
        model,
        scores.metrics,
        scores.intervals,
        run,
        scores.per_query,
        timings=dict(timings or {}),
        sizes=dict(sizes or {}),
        counts=scores.counts | dict(counts or {}),
        provenance={**(provenance or {}), "judgements": digest(qrels), **made_by()},
    )


def read_results(folder: str | Path) -> dict[str, list[Entry]]:
    """What `results.json` of a folder holds: lists of results, comparisons and analyses, empty where there is none.

    NaN and infinities, which JSON has not, are read as None.

    Raises DebaterError if the file is there and holds something else.
    """
    file = Path(folder) / RESULTS_NAME
    lists: dict[str, list[Entry]] = {"results": [], "comparisons": [], "analyses": []}
    if not file.exists():
        return lists
    try:
        read = json.loads(file.read_text(encoding="utf-8"), parse_constant=lambda constant: None)
        version = read.get("schema_version", 1)
        found = {name: [entry for entry in read.get(name, []) if isinstance(entry, dict)] for name in lists}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise _not_results(file) from error
    if "results" not in read:
        raise _not_results(file)
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise DebaterError(f"{file} was written by a newer version of debater.", "Upgrade debater.")
    return found


def restored(entry: Entry) -> Result | None:
    """The result that an entry of `results.json` describes, without its run; None if it is not all there."""
    try:
        for values in (entry["metrics"], *entry["per_query"].values()):
            if values.keys() != set(METRICS) or not all(isinstance(value, int | float) for value in values.values()):
                return None  # of another version, or a stranger's
        return Result(
            entry["task"],
            entry["model"],
            entry["metrics"],
            {name: (low, high) for name, (low, high) in entry["intervals"].items()},
            {},
            entry["per_query"],
            timings=entry["timings"],
            counts=entry.get("counts", {}),
            sizes=entry["sizes"],
            provenance=entry["provenance"],
            steps=entry.get("steps", []),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


@contextmanager
def changed_results(folder: Path) -> Iterator[dict[str, list[Entry]]]:
    """Give what `results.json` of a folder holds, and write it again when the block ends well; one writer at a time."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DebaterError(f"{folder} cannot be made: {error.strerror or error}.", "Name another --output.") from error
    with one_at_a_time(folder / LOCK_NAME):
        saved = read_results(folder)
        yield saved
        write_results(folder, saved)


def write_results(folder: str | Path, lists: Mapping[str, list[Entry]]) -> None:
    """Replace `results.json` of a folder, whole or not at all."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **lists}, indent=2, ensure_ascii=False)
    write_lines(Path(folder) / RESULTS_NAME, [text])


def file_name(name: str) -> str:
    """A model's name as a file's: what might part folders or trouble a shell becomes a hyphen."""
    return re.sub(r"[^\w.+=-]+", "-", name).strip("-.") or "model"


def _free_run(task: str, model: str, taken: list[Any]) -> str:
    """Where a baseline's run goes: to a file with its name, of which another model may have the like."""
    names = (f"{task}/{file_name(model)}{number}.trec" for number in ("", *(f"-{n}" for n in range(2, len(taken) + 3))))
    return next(name for name in names if name not in taken)


def _names(value: Any, model: str) -> bool:
    return value == model or (isinstance(value, list) and model in value)


def _same(entry: Entry, task: str, model: str) -> bool:
    return (entry.get("task"), entry.get("model")) == (task, model)


def _not_results(file: Path) -> DebaterError:
    return DebaterError(f"{file} is there, but does not hold results.", "Name another --output.")
