"""A task whose data is read once, however many systems are scored on it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from debater_search.evaluation.tasks import RetrievalTask
from debater_search.types import Document, Qrels, Query


class CachedTask:
    """A `RetrievalTask` that keeps the judgements and the judged queries of each split that was read, until `unload`.

    The corpus may be larger than memory: it is read again at each call, unless an index holds it (`stored`).

    Examples:
        >>> from debater_search.evaluation import CachedTask, load_task
        >>> task = CachedTask(load_task("task"))
        >>> task.qrels() is task.qrels()  # read once
        True
    """

    def __init__(self, task: RetrievalTask) -> None:
        self.task = task
        self.name, self.instruction = task.name, task.instruction
        self.ignore_identical_ids = task.ignore_identical_ids
        self.source: Any = getattr(task, "source", None)
        self._qrels: dict[str, Qrels] = {}
        self._queries: dict[str, list[Query]] = {}
        self._documents: Iterable[Document] | None = None

    def corpus(self, split: str = "test") -> Iterable[Document]:
        """All documents."""
        return self.task.corpus(split) if self._documents is None else self._documents

    def queries(self, split: str = "test") -> list[Query]:
        """The judged queries of a split."""
        if split not in self._queries:
            judged = self.qrels(split)
            self._queries[split] = [query for query in self.task.queries(split) if query.id in judged]
        return self._queries[split]

    def qrels(self, split: str = "test") -> Qrels:
        """The judgements of a split. Raises DebaterError if the task has no such split."""
        if split not in self._qrels:
            self._qrels[split] = self.task.qrels(split)
        return self._qrels[split]

    @contextmanager
    def stored(self, documents: Iterable[Document]) -> Iterator[None]:
        """Within this block the corpus is `documents`, an index's own, so that its files are not parsed again."""
        self._documents = documents
        try:
            yield
        finally:
            self._documents = None

    def unload(self) -> None:
        """Free the memory; what is asked for again is read again."""
        self._qrels.clear()
        self._queries.clear()
        if hasattr(self.task, "unload"):
            self.task.unload()


def uncached(task: RetrievalTask) -> RetrievalTask:
    """The task itself, if `task` is its cached form."""
    return task.task if isinstance(task, CachedTask) else task
