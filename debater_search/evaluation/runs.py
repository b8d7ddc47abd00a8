"""Runs on disk: found in earlier results, scored against judgements, compared."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as short
from typing import Any

from debater_search.data import read_qrels, read_queries, read_run, read_tag
from debater_search.data.files import require_writable_folder
from debater_search.errors import DebaterError, InvalidError, MissingError
from debater_search.evaluation.beir import ignores_identical_ids
from debater_search.evaluation.comparison import Comparisons, Judged, compare, save_comparisons
from debater_search.evaluation.details import save_details
from debater_search.evaluation.evaluate import without_identical_ids
from debater_search.evaluation.folders import task_name
from debater_search.evaluation.in_memory import checked_qrels, checked_run
from debater_search.evaluation.results import (
    RESULTS_NAME,
    RUN_NAME,
    Entry,
    Result,
    saved_lists,
    scored,
)
from debater_search.evaluation.reuse import find_reusable
from debater_search.evaluation.run_warnings import warn_of_mismatch
from debater_search.files import file_in, sha256_file
from debater_search.types import Qrels, Run

logger = logging.getLogger(__name__)

GENERIC = RUN_NAME.split(".")[0]
"""What every evaluation calls the run of its model: it names no system."""


@dataclass(frozen=True)
class SavedRun:
    """A run on disk."""

    name: str
    path: Path
    task: str | None = None
    """The task that it answers; None if the file does not say."""

    def label(self, taken: Collection[str]) -> str:
        """Its name in a comparison, with its path if another system has taken the name."""
        return f"{self.name} ({self.path})" if self.name in taken else self.name


def find_runs(source: str | Path) -> list[SavedRun]:
    """The runs at `source`: a TREC run file, or all runs of a results.json or of a folder that holds one.

    Raises DebaterError if there is none, and for a results.json whose runs are missing.

    Examples:
        >>> from debater_search.evaluation import find_runs
        >>> [run.name for run in find_runs("run.trec")]
        ['run']
    """
    path = Path(source)
    if path.is_dir() or path.name == RESULTS_NAME:
        folder = path if path.is_dir() else path.parent
        entries = saved_lists(folder)["results"]
        if not entries:
            raise MissingError(
                f"There are no results in {folder}.", "Name a TREC run, or the output folder of an evaluation."
            )
        return [_saved_run(entry, folder) for entry in entries if "run" in entry]
    if not path.is_file():
        raise MissingError(
            f"There is no file {source}, and no folder of that name.",
            "Name a TREC run, or the output folder of an evaluation.",
        )
    return [SavedRun(run_name(path), path)]


def find_compared(sources: Iterable[str | Path], tasks: Sequence[str]) -> list[SavedRun]:
    """The runs at all `sources` that answer these tasks.

    Raises DebaterError for a source that answers none of them, and for a run that does not say which of several.
    """
    found: list[SavedRun] = []
    for source in sources:
        runs = find_runs(source)
        if len(tasks) > 1 and any(run.task is None for run in runs):
            raise one_task(source, len(tasks))
        matching = [run for run in runs if run.task is None or run.task in tasks]
        if not matching:
            available = ", ".join(sorted({run.task for run in runs if run.task})) or "none"
            raise MissingError(f"{source} has no results on {', '.join(tasks)}.", f"It has results on: {available}.")
        found += matching
    return found


def one_task(source: str | Path, tasks: int) -> DebaterError:
    """The error for a run file given for several tasks."""
    return InvalidError(
        f"The run {source} answers one task, and there are {tasks}.",
        "Evaluate one task at a time, or compare with the output folder of an evaluation.",
    )


def run_name(path: Path) -> str:
    """The name of the system behind a run file: the file's name up to the first dot; if that is "run", the run's tag.

    Examples:
        >>> from pathlib import Path
        >>> from debater_search.evaluation import run_name
        >>> run_name(Path("runs/bm25.trec.gz"))
        'bm25'
    """
    tag = read_tag(path) if _stem(path) == GENERIC and path.is_file() else None
    return tag or _stem(path)


def _stem(path: Path) -> str:
    return path.name.split(".")[0] or path.name.strip(".")


def read_saved(saved: SavedRun, judged: Judged) -> Result:
    """A saved run, scored against the current judgements. Raises DebaterError as `read_run` and `scored` do.

    Examples:
        >>> from pathlib import Path
        >>> from debater_search.evaluation import find_runs, judged_by_file, read_saved
        >>> [saved] = find_runs("run.trec")
        >>> read_saved(saved, judged_by_file(Path("task/qrels/test.tsv"))).metrics["success@1"]
        1.0
    """
    return _judge(saved.name, str(saved.path), read_run(saved.path), judged, run_provenance(saved.path))


def _judge(name: str, source: str, run: Run, judged: Judged, provenance: dict[str, Any]) -> Result:
    """A run scored against judgements, with warnings of what looks wrong; `source` is what messages call it."""
    if not judged.qrels.keys() & run.keys():
        raise InvalidError(
            f"{source} answers none of the queries that are judged for {judged.task}.",
            "Do the two belong together?",
        )
    warn_of_mismatch(source, run, judged)
    if judged.ignore_identical_ids:
        run = without_identical_ids(run)
    return scored(judged.task, name, run, judged.qrels, provenance=provenance, texts=judged.texts)


def run_provenance(path: Path) -> dict[str, Any]:
    """Path and sha256 of a run file, and the tag by which it names its system.

    Examples:
        >>> from pathlib import Path
        >>> from debater_search.evaluation import run_provenance
        >>> sorted(run_provenance(Path("run.trec")))
        ['run', 'sha256', 'tag']
    """
    return {"run": str(path)} | ({"sha256": sha256_file(path), "tag": read_tag(path)} if path.is_file() else {})


def compare_with_runs(
    results: Sequence[Result], saved: Iterable[SavedRun], judged: Judged
) -> tuple[Comparisons, list[Result]]:
    """Compare the first of one task's results with the others, and with the saved runs of that task.

    Returns the comparisons, and the results of these runs.

    A saved run with the name and the values of a system that is compared already is left out: a second test of the same
    difference would only make the correction for multiple tests stricter.
    """
    system, *baselines = results
    compared = [(other.model, other.per_query) for other in baselines]
    taken = {result.model for result in results}
    for run in saved:
        if run.task in (None, judged.task):
            found = read_saved(run, judged)
            if (run.name, found.per_query) in compared:
                logger.info("%s in %s is compared already.", run.name, run.path)
                continue
            compared.append((run.name, found.per_query))
            name = run.label(taken)
            taken.add(name)
            baselines.append(replace(found, model=name))
    return compare(system, baselines, judged), baselines[len(results) - 1 :]


def evaluate_run(
    run: str | Path | Run,
    qrels: str | Path | Qrels,
    *,
    compare: Sequence[str | Path] = (),
    output: str | Path | None = None,
    force: bool = False,
) -> tuple[Result, Comparisons]:
    """Score the run of any system by judgements; returns its result and its comparisons with `compare`, a pair.

    Both are files, or dicts as `search_batch` returns and `task.qrels` has them. Those in memory are called "run" and
    "qrels"; to name them, use `scored`. `compare` names runs and results as `find_runs` takes them. With `output` both
    are saved there; if it holds the same run by the same judgements already, what is there stays.

    Raises DebaterError for files that are missing or bad, and if `output` holds another run of the task, or one by
    other judgements, unless `force` is set.

    Examples:
        >>> from debater_search.evaluation import evaluate_run
        >>> result, comparisons = evaluate_run("run.trec", "task/qrels/test.tsv", compare=["other.trec"])
        >>> result.metrics["success@1"], comparisons[0]["baseline"]
        (1.0, 'other')
        >>> result, _ = evaluate_run({"q1": {"wings": 2.0, "heat": 1.0}}, {"q1": {"heat": 1}})
        >>> result.metrics["mrr@10"]
        0.5
    """
    for name, value in (("run", run), ("qrels", qrels)):
        if not isinstance(value, str | Path | Mapping):
            raise InvalidError(f"`{name}` is {short(value)}, and neither a file nor a dict.", "Give one of them.")
    judged = Judged("qrels", checked_qrels(qrels), {}) if isinstance(qrels, Mapping) else judged_by_file(Path(qrels))
    if isinstance(run, Mapping):
        result = _judge(GENERIC, "The run", checked_run(run), judged, {})
    else:
        result = read_saved(SavedRun(run_name(Path(run)), Path(run)), judged)
    if not isinstance(qrels, Mapping):
        result = replace(result, provenance=result.provenance | {"qrels": str(qrels)})
    is_saved = output is not None and _is_saved(Path(output), result, force=force)
    comparisons, compared = compare_with_runs([result], find_compared(compare, [result.task]), judged)
    if output is not None:
        if is_saved:
            logger.info("Already in %s, not saved again: %s on %s.", output, result.model, result.task)
        else:  # it removes the comparisons of an earlier result
            result.save(output)
        save_details(output, [result], judged.qrels, judged.texts, compared=compared)
        save_comparisons(output, comparisons)
    return result, comparisons


def judged_by_file(qrels: Path) -> Judged:
    """The judgements in a file; those in cranfield/qrels/test.tsv belong to cranfield, whose queries are beside it.

    Examples:
        >>> from pathlib import Path
        >>> from debater_search.evaluation import judged_by_file
        >>> judged_by_file(Path("task/qrels/test.tsv")).texts["q2"]
        'what flows to cold air?'
    """
    judged, folder = read_qrels(qrels), qrels.resolve().parent
    inside = folder.name == "qrels"
    try:
        texts = {query.id: query.text for query in read_queries(folder.parent if inside else folder)}
    except DebaterError:  # a run is scored without its queries as well
        texts = {}
    if not inside and (not texts or _stem(qrels) != "qrels"):  # no folder of a task
        name, texts = _stem(qrels), {}
    else:
        name = task_name(folder.parent if inside else folder)
    return Judged(name, judged, texts, ignores_identical_ids(name))


def _is_saved(output: Path, result: Result, *, force: bool) -> bool:
    """Whether the output holds this run by these judgements; raises DebaterError if it holds another run."""
    require_writable_folder(output)
    if force:
        return False
    identity = {name: result.provenance.get(name, ()) for name in ("sha256", "judgements")}
    # () stands for no value: a run in memory, which has no sha256, is the same as no other
    held = find_reusable(result.task, output, saved_lists(output), {result.model: identity}, all_steps=False)
    return result.model in held.results


def _saved_run(entry: Entry, folder: Path) -> SavedRun:
    """Where an entry's run is. The entry may come from anywhere: its run must lie inside the folder."""
    task, model, run = (entry.get(name) for name in ("task", "model", "run"))
    if not (isinstance(task, str) and isinstance(model, str) and isinstance(run, str)):
        raise InvalidError(
            f"{folder / RESULTS_NAME} does not hold results.", "Name the output folder of an evaluation."
        )
    if file_in(folder, run) is None:
        raise MissingError(f"{folder / RESULTS_NAME} names the run {run}, which is missing.", "Evaluate it again.")
    return SavedRun(model, folder / run, task)
