"""Analyses of a score: each is a table and a picture, made from the index that the score came from."""

import csv
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from debater_search.data.files import write_lines
from debater_search.encoder.protocol import TextEncoder
from debater_search.errors import DebaterError, MissingError
from debater_search.evaluation.analyses.checkpoints import depth, require_depths, require_run, training
from debater_search.evaluation.analyses.queries import lengths, weights
from debater_search.evaluation.analyses.steps import cosines, last, require_steps, steps
from debater_search.evaluation.analyses.subject import Finding, Subject
from debater_search.evaluation.analyses.vectors import dimensions, indexes
from debater_search.evaluation.results import Entry, Result, changed_results
from debater_search.evaluation.tasks import RetrievalTask
from debater_search.reports.analyses import draw_analysis
from debater_search.search import SearchEngine

__all__ = ["ALL", "ANALYSES", "Analysis", "Finding", "analyse", "choose_analyses", "need_all_steps"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Analysis:
    """The function of an analysis, its requirement on the model, and whether the index must hold all thinking steps."""

    find: Callable[[Subject], Finding]
    require: Callable[[TextEncoder], None] | None = None
    all_steps: bool = False


ANALYSES = {
    "steps": Analysis(steps, require_steps, all_steps=True),
    "cosines": Analysis(cosines, require_steps, all_steps=True),
    "last": Analysis(last, require_steps, all_steps=True),
    "dimensions": Analysis(dimensions),
    "indexes": Analysis(indexes),
    "lengths": Analysis(lengths),
    "weights": Analysis(weights),
    "training": Analysis(training, require_run),
    "depth": Analysis(depth, require_depths),
}
ALL = "all"


def choose_analyses(names: Sequence[str], encoder: TextEncoder) -> list[str]:
    """The analyses with these names; `all` stands for every analysis that the model allows.

    Raises DebaterError for an unknown name, and for a named analysis that the model does not allow.

    Examples:
        >>> from debater_search.evaluation import choose_analyses
        >>> choose_analyses(["steps", "lengths"], encoder)
        ['steps', 'lengths']
    """
    unknown = [name for name in names if name not in (*ANALYSES, ALL)]
    if unknown:
        raise MissingError(f"There is no analysis {unknown[0]!r}.", f"Analyses: {', '.join([*ANALYSES, ALL])}.")
    chosen = []
    for name, analysis in ANALYSES.items():
        if name not in names and ALL not in names:
            continue
        try:
            if analysis.require is not None:
                analysis.require(encoder)
        except DebaterError as error:
            if name in names:
                raise
            logger.info("Analysis %s is left out. %s", name, error.message)
            continue
        chosen.append(name)
    return chosen


def need_all_steps(names: Sequence[str]) -> bool:
    """Whether one of these analyses reads every thinking step, so that the index must be built with `all_steps`.

    Examples:
        >>> from debater_search.evaluation import need_all_steps
        >>> need_all_steps(["steps"]), need_all_steps(["lengths"])
        (True, False)
    """
    return any(ANALYSES[name].all_steps for name in names)


def analyse(
    task: RetrievalTask,
    engine: SearchEngine,
    result: Result,
    names: Sequence[str],
    folder: str | Path,
    *,
    progress: bool = False,
) -> list[Entry]:
    """Analyse a model's result with the index that it came from, and save the analyses in `folder`.

    Each is a table, `<task>/<name>.csv`, two pictures, `.svg` and `.png`, and an entry in `results.json`, saved as
    soon as it is finished. `training` and `depth` encode the corpus with other checkpoints; the others encode nothing.

    Raises DebaterError if an analysis needs thinking steps that the index does not hold, and if it cannot be read.

    Examples:
        >>> from debater_search.evaluation import analyse, evaluate, load_task, opened
        >>> task = load_task("task")
        >>> with opened(task, encoder, all_steps=True) as (engine, _):
        ...     result = evaluate(task, engine, output="results")
        ...     [entry["name"] for entry in analyse(task, engine, result, ["cosines"], "results")]
        ['cosines']
    """
    folder = Path(folder)
    subject = Subject(task, engine, result, progress=progress)
    entries = []
    for name in names:
        logger.info("Analysing %s: %s.", task.name, name)
        finding = ANALYSES[name].find(subject)
        table = folder / task.name / f"{name}.csv"
        write_table(finding, table)
        model = Path(result.model).name or result.model  # the last part of a folder or a hub id identifies it
        pictures = draw_analysis(name, table, f"{finding.title}: {model} on {task.name}")
        files = {path.suffix.removeprefix("."): path.relative_to(folder).as_posix() for path in (*pictures, table)}
        entry: Entry = {
            "task": task.name,
            "models": [result.model],
            "name": name,
            "title": finding.title,
            "note": finding.note,
            "files": files,
        }
        _add(folder, entry)
        entries.append(entry)
        logger.info("%s", finding.note)
    return entries


def write_table(finding: Finding, path: Path) -> None:
    """Write a finding's table as CSV, numbers in full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(finding.columns)
    writer.writerows(finding.rows)
    write_lines(path, [text.getvalue().removesuffix("\n")])


def _add(folder: Path, entry: Entry) -> None:
    """Add an analysis to results.json; it replaces the earlier one with the same files."""
    with changed_results(folder) as saved:
        saved["analyses"] = [*(known for known in saved["analyses"] if known.get("files") != entry["files"]), entry]
