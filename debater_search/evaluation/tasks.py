"""Retrieval tasks, and how the task or suite of a name is found."""

import difflib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from debater_search.data.bundled import CRANFIELD, cranfield
from debater_search.errors import InvalidError, MissingError
from debater_search.evaluation.beir import BEIR, CQADUPSTACK, beir_name, mteb_name
from debater_search.evaluation.folders import FolderTask, splits_in
from debater_search.evaluation.hub_tasks import benchmark_tasks, find_task, parts_of
from debater_search.evaluation.mteb_names import require_known
from debater_search.evaluation.suites import Suite, Task, suite_of
from debater_search.types import Document, Qrels, Query

logger = logging.getLogger(__name__)

DATA = (Path("data"), Path("data", "beir"))
"""Folders that are searched for copies of tasks before the hub."""


class RetrievalTask(Protocol):
    """A corpus, queries and judgements."""

    @property
    def name(self) -> str:
        """The task's name in results."""
        ...

    @property
    def instruction(self) -> str | None:
        """The task's own instruction before queries; None if it has none."""
        ...

    @property
    def ignore_identical_ids(self) -> bool:
        """Whether a document with the query's own id is no answer."""
        ...

    def corpus(self, split: str = "test") -> Iterable[Document]:
        """All documents."""
        ...

    def queries(self, split: str = "test") -> list[Query]:
        """The queries; they may include queries that the split does not judge."""
        ...

    def qrels(self, split: str = "test") -> Qrels:
        """The judgements of a split. Raises DebaterError, naming the existing splits, if it does not exist."""
        ...


def find_tasks(
    tasks: Sequence[RetrievalTask | Suite | str | Path],
) -> tuple[list[RetrievalTask], list[Suite]]:
    """The tasks given as such or by name (as `load` takes it), each once, and the suites among them.

    Raises DebaterError if there is none, and if two tasks have the same name.
    """
    if not tasks:
        raise InvalidError(
            "There is no task to evaluate.",
            "Name at least one: `tasks` takes folders, beir/NAME, mteb tasks and benchmarks.",
        )
    found = [load(task) if isinstance(task, str | Path) else task for task in tasks]
    names = [one.name for one in found]
    by_name: dict[str, RetrievalTask] = {}
    for one in found:
        for task in one.tasks() if isinstance(one, Suite) else [one]:
            first = by_name.setdefault(task.name, task)
            if getattr(first, "source", first) != getattr(task, "source", task) or names.count(task.name) > 1:
                raise InvalidError(
                    f"Two tasks have the same name: {task.name}.",
                    "Evaluate them one at a time, each with an `output` of its own.",
                )
    return list(by_name.values()), [suite for one in found if isinstance(one, Suite) for suite in one.suites()]


def load_task(name: str | Path) -> Task:
    """The single task of a name: a folder, `cranfield`, an mteb task, or `beir/NAME`.

    Raises DebaterError if there is no such task, with the nearest name, and if the name stands for several tasks.

    Examples:
        >>> from debater_search.evaluation import load_task
        >>> load_task("task").name
        'task'
    """
    found = load(name)
    if isinstance(found, Suite):
        names = [member.name for member in found.members]
        more = f" and {len(names) - 12} more" if len(names) > 12 else ""
        raise InvalidError(f"{name} stands for several tasks.", f"Name one of them: {', '.join(names[:12])}{more}.")
    return found


def load(name: str | Path) -> Task | Suite:
    """The task or suite of a name: a task folder, a folder of task folders, beir/NAME, or an mteb task or benchmark.

    `cranfield` is bundled. A folder of the name comes first, then a copy in `data/`. Raises DebaterError, with the
    nearest name, if there is none.

    Examples:
        >>> from debater_search.evaluation import load
        >>> load("task").name
        'task'
    """
    if Path(name).is_dir():
        return _at_folder(Path(name))
    name = str(name)
    if name == "beir":
        return Suite("beir", tuple(_known(f"beir/{beir}", mteb) for beir, mteb in BEIR.items()))
    if name.startswith("beir/"):
        beir = name.removeprefix("beir/")
        parts = [f"cqadupstack/{part}" for part in CQADUPSTACK]
        if beir not in BEIR and beir not in parts:
            near = difflib.get_close_matches(beir, [*BEIR, *parts], n=1)
            hint = f"Did you mean beir/{near[0]}?" if near else f"BEIR's sets are {', '.join(BEIR)}."
            raise MissingError(f"BEIR has no set {beir!r}.", hint)
        return _known(name, mteb_name(beir))
    copied = _copy_of(name)
    if copied is not None:
        return copied
    if name == CRANFIELD:
        return FolderTask(cranfield(), name)
    task, slash, _ = name.partition("/")
    if name.startswith((".", "/")) or (slash and Path(task).is_dir()):
        raise _no_folder(name)
    return _part_of_mteb(name, task) if slash else _of_mteb(name)


def _at_folder(folder: Path) -> Task | Suite:
    inside = [] if splits_in(folder) else [path for path in sorted(folder.iterdir()) if path.is_dir()]
    tasks: list[Task | Suite] = [FolderTask(path) for path in inside if splits_in(path)]
    return suite_of(folder.resolve().name, tasks) if tasks else FolderTask(folder)


def _known(asked: str, name: str) -> Task | Suite:
    """A task that mteb has: its copy on disk, or mteb's own."""
    copied = _copy_of(name)
    return copied if copied is not None else _of_mteb(name, asked)


def _copy_of(name: str) -> Task | Suite | None:
    """The task in `data/`, or the suite whose parts are there."""
    if name.startswith(("/", ".")):
        return None
    for root in DATA:
        for folder in dict.fromkeys((root / name, root / beir_name(mteb_name(name)))):
            if folder.is_dir() and splits_in(folder):
                logger.info("%s is read from %s.", name, folder)
                return FolderTask(folder, name)
            if folder.is_dir() and any(splits_in(path) for path in folder.iterdir() if path.is_dir()):
                return _at_folder(folder)
    return None


def _of_mteb(name: str, asked: str = "") -> Task | Suite:
    require_known(name)
    tasks = benchmark_tasks(name)
    if tasks is None:
        return _from_mteb(find_task(name))
    members = [_copy_of(task.metadata.name) or _from_mteb(task) for task in tasks]
    return suite_of(asked or name, members)


def _from_mteb(task: Any) -> Task | Suite:
    name = task.metadata.name
    if task.is_aggregate:
        return suite_of(name, [_copy_of(part.metadata.name) or _from_mteb(part) for part in task.metadata.tasks])
    return suite_of(name, list(parts_of(task)))


def _part_of_mteb(name: str, task: str) -> Task:
    try:
        require_known(task)
        found = find_task(task)
    except MissingError as error:
        missing = _no_folder(name)
        like_a_task = error.hint.startswith("Did you mean")
        raise MissingError(missing.message, error.hint if like_a_task else missing.hint) from error
    parts = {part.name: part for part in parts_of(found)}
    if name in parts:
        return parts[name]
    near = difflib.get_close_matches(name, parts, n=1)
    raise MissingError(f"{task} has no part {name}.", f"Did you mean {near[0]}?" if near else f"Name {task} alone.")


def _no_folder(name: str) -> MissingError:
    folder = Path(name).parent
    if Path(name).is_file():
        return MissingError(f"{name} is a file, and a task is a folder in BEIR layout.", f"Name the folder: {folder}.")
    names = [entry.name for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []
    near = difflib.get_close_matches(Path(name).name, names, n=1)
    hint = f"Did you mean {folder / near[0]}?" if near else "Name a folder, beir/NAME or an mteb task."
    if Path(name).name == CRANFIELD:
        hint = f"The bundled collection is called {CRANFIELD}."
    return MissingError(f"There is no folder {name}.", hint)
