"""The result of an evaluation, and the folder that holds results: results.json and, beside it, one folder per task."""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from debater_search.data import read_qrels, read_run, write_run
from debater_search.data.files import write_lines
from debater_search.data.runs import DEPTH
from debater_search.errors import DebaterError, InvalidError, MissingError, UnavailableError
from debater_search.evaluation.metrics import score_run
from debater_search.evaluation.notebook import count_of, result_line, result_table
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
    """The scores of one model on one task: means, intervals, values per query, and their provenance.

    Examples:
        >>> from debater_search.evaluation import evaluate
        >>> result = evaluate("task", encoder)
        >>> result
        Result('task', 'debater-small', 2 queries: ndcg@10 1.0000, mrr@10 1.0000, map@100 1.0000, recall@100 1.0000)
        >>> result.per_query["q1"]["ndcg@10"]
        1.0
    """

    task: str
    model: str
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    run: Run
    per_query: dict[str, dict[str, float]]
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds per stage."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes on disk per part of the index."""
    counts: dict[str, int] = field(default_factory=dict)
    """`queries_without_hits`, `queries_without_judgements` (left out), `documents_missing` (judged, not in corpus)."""
    provenance: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, float]] = field(default_factory=list)
    """The metrics of each thinking step alone, first to last (`evaluate_steps`); empty unless requested."""
    ceiling: dict[str, float] = field(default_factory=dict)
    """`recall@N` of the N documents that were reranked: no order of them has more of the relevant ones."""
    qrels: Qrels = field(default_factory=dict)
    """The judgements that it was scored by; empty if it was read from a file."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """The queries' texts by id, where known."""

    def as_dict(self) -> Entry:
        """The result in JSON types, without run, values per query, judgements and texts."""
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
        more = {"published": figures, "steps": self.steps, "ceiling": self.ceiling}
        return described | {name: value for name, value in more.items() if value}

    def __repr__(self) -> str:
        """The result on one line; run and values per query are attributes."""
        return result_line(self.task, self.model, self.metrics, len(self.per_query))

    def _repr_html_(self) -> str:
        notes = [count_of(len(self.per_query))]
        notes += [f"{n:,} {name.replace('_', ' ')}" for name, n in self.counts.items() if n]
        if self.steps:
            notes.append("ndcg@10 by each thinking step: " + ", ".join(f"{step['ndcg@10']:.4f}" for step in self.steps))
        note = "; ".join(notes)
        return result_table(f"{self.task}: {self.model}", self.metrics, self.intervals, note)

    def save(self, folder: str | Path, *, baseline: bool = False) -> None:
        """Write the run to `<task>/run.trec`, then this result to `results.json`, before all others of its task.

        A baseline is written behind them, and its run to a file of its own beside run.trec. Tasks stay in the order in
        which they came. Comparisons and analyses of an earlier result of this task and model are removed.
        """
        folder = Path(folder)
        with changed_results(folder) as saved:
            place = _place(saved["results"], self.task, self.model, last=baseline)
            others = [entry for entry in saved["results"] if not _same(entry, self.task, self.model)]
            run = f"{self.task}/{RUN_NAME}"
            if baseline:
                run = _free_run(self.task, self.model, [run, *(entry.get("run") for entry in others)])
            if not (folder / RESULTS_NAME).exists():
                write_results(
                    folder, saved
                )  # marks the folder as ours: a kill from here on leaves a run without a result
            write_run(self.run, folder / run, tag=self.provenance.get("tag") or self.model, depth=DEPTH)
            for other in others:
                if other.get("run") == run:
                    del other["run"]  # it was replaced by this one
            entry = self.as_dict() | {"run": run, "per_query": self.per_query}
            saved["results"] = [*others[:place], entry, *others[place:]]
            for name, about in (("comparisons", ("system", "baseline")), ("analyses", ("models",))):
                saved[name] = [
                    entry
                    for entry in saved[name]
                    if entry.get("task") != self.task or not any(_names(entry.get(key), self.model) for key in about)
                ]


def scored(
    task: str,
    model: str,
    run: Run | str | Path,
    qrels: Qrels | str | Path,
    *,
    timings: Mapping[str, float] | None = None,
    sizes: Mapping[str, int] | None = None,
    counts: Mapping[str, int] | None = None,
    provenance: Mapping[str, Any] | None = None,
    texts: Mapping[str, str] | None = None,
) -> Result:
    """Score the run of any system, a dict or a file; raises DebaterError as `score_run` does, and for bad files.

    `counts` are added to those of `score_run`; `texts` are the queries' by id.

    Examples:
        >>> from debater_search.evaluation import scored
        >>> scored("task", "mine", {"q1": {"wings": 1.0}}, {"q1": {"wings": 1}}).metrics["success@1"]
        1.0
    """
    run = read_run(run) if isinstance(run, str | Path) else run
    qrels = read_qrels(qrels) if isinstance(qrels, str | Path) else qrels
    scores = score_run(run, qrels)
    if missing := scores.counts["queries_without_hits"]:
        of = len(scores.per_query)
        logger.warning(
            "Judged queries of %s that %s does not answer: %d of %d. They score 0.", task, model, missing, of
        )
    if left_out := len(qrels) - len(scores.per_query):
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
        qrels=qrels,
        texts=texts or {},
    )


def read_results(folder: str | Path) -> dict[str, list[Entry]]:
    """The lists in `results.json` of a folder: results, comparisons and analyses.

    NaN and infinities, which JSON does not have, are read as None. `load_results` gives results as objects.

    Raises DebaterError if there is no such file, and if it holds something else.

    Examples:
        >>> from debater_search.evaluation import evaluate, read_results
        >>> result = evaluate("task", encoder, output="results")
        >>> [entry["model"] for entry in read_results("results")["results"]]
        ['debater-small']
    """
    if not (Path(folder) / RESULTS_NAME).exists():
        what = f"There are no results in {folder}." if Path(folder).is_dir() else f"There is no folder {folder}."
        raise MissingError(what, "Name the output folder of an evaluation.")
    return saved_lists(folder)


def saved_lists(folder: str | Path) -> dict[str, list[Entry]]:
    """As `read_results`, but all lists are empty if nothing was saved in the folder yet."""
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
        raise InvalidError(f"{file} was written by a newer version of debater.", "Upgrade debater.")
    return found


def is_interrupted(folder: Path, task: str, entries: Iterable[Entry]) -> bool:
    """Whether the task's run was left by an evaluation that was killed before it saved the result.

    Then results.json is there, which is written first, and none of its `entries` names the run.
    """
    run = f"{task}/{RUN_NAME}"
    return (folder / RESULTS_NAME).exists() and all(entry.get("run") != run for entry in entries)


@contextmanager
def changed_results(folder: Path) -> Iterator[dict[str, list[Entry]]]:
    """Read `results.json` of a folder, and write it when the block ends without an error; one writer at a time."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(
            f"{folder} cannot be created: {error.strerror or error}.", "Choose another `output`."
        ) from error
    with one_at_a_time(folder / LOCK_NAME):
        saved = saved_lists(folder)
        yield saved
        write_results(folder, saved)


def write_results(folder: str | Path, lists: Mapping[str, list[Entry]]) -> None:
    """Replace `results.json` of a folder atomically.

    Examples:
        >>> from debater_search.evaluation import read_results, write_results
        >>> write_results("results", {"results": [], "comparisons": [], "analyses": []})
        >>> read_results("results")["results"]
        []
    """
    text = json.dumps({"schema_version": SCHEMA_VERSION, **lists}, indent=2, ensure_ascii=False)
    write_lines(Path(folder) / RESULTS_NAME, [text])


def file_name(name: str) -> str:
    """A model's name as a file name: characters that separate folders or are special in a shell become hyphens."""
    return re.sub(r"[^\w.+=-]+", "-", name).strip("-.") or "model"


def _place(entries: list[Entry], task: str, model: str, *, last: bool) -> int:
    """Where a result belongs among the other entries: first or last of its task, and a new task behind all others."""
    others = [entry.get("task") for entry in entries if not _same(entry, task, model)]
    before = next((n for n, entry in enumerate(entries) if _same(entry, task, model)), len(others))
    own = [n for n, other in enumerate(others) if other == task]
    return before if not own else own[-1] + 1 if last else own[0]


def _free_run(task: str, model: str, taken: list[Any]) -> str:
    """The file for a baseline's run: its name, with a number if another model's run has that file."""
    names = (f"{task}/{file_name(model)}{number}.trec" for number in ("", *(f"-{n}" for n in range(2, len(taken) + 3))))
    return next(name for name in names if name not in taken)


def _names(value: Any, model: str) -> bool:
    return value == model or (isinstance(value, list) and model in value)


def _same(entry: Entry, task: str, model: str) -> bool:
    return (entry.get("task"), entry.get("model")) == (task, model)


def _not_results(file: Path) -> DebaterError:
    return InvalidError(f"{file} exists, but does not hold results.", "Choose another `output`.")
