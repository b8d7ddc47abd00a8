"""What an analysis looks at, and what it finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from debater_search.errors import DebaterError
from debater_search.evaluation.evaluate import judged_queries, without_identical_ids
from debater_search.evaluation.kept import query_vectors
from debater_search.evaluation.metrics import score_run
from debater_search.evaluation.results import Result
from debater_search.evaluation.tasks import RetrievalTask
from debater_search.search import SearchEngine
from debater_search.types import Qrels, Query, Run

METRIC = "ndcg@10"
SCORE = (METRIC, "low", "high")
"""Columns of a score: the mean over the queries, and the ends of its 95% interval."""
DEPTH = 100
"""Documents retrieved where only the first ten count: deep enough that no tie at the cut reaches them."""

Cell = str | int | float


@dataclass(frozen=True)
class Finding:
    """A table, what it is about, and one sentence that says what is seen in it."""

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


class Subject:
    """A model's result on a task, and the open index that it came from: one, for all analyses."""

    def __init__(self, task: RetrievalTask, engine: SearchEngine, result: Result, *, progress: bool = False) -> None:
        """Raises DebaterError for an index of passages: its rows are not documents."""
        if engine.documents.split:
            raise DebaterError("An index of passages cannot be analysed.", "Index the corpus without --passages.")
        self.task, self.engine, self.result, self.progress = task, engine, result, progress

    @property
    def split(self) -> str:
        """Which judgements the result was measured with."""
        return str(self.result.provenance["split"])

    @property
    def instruction(self) -> str | None:
        """What went before its queries."""
        instruction: str | None = self.result.provenance["instruction"]
        return instruction

    @cached_property
    def qrels(self) -> Qrels:
        """The task's judgements."""
        return self.task.qrels(self.split)

    @cached_property
    def queries(self) -> list[Query]:
        """The judged queries."""
        return judged_queries(self.task, self.split, self.qrels)

    @cached_property
    def vectors(self) -> np.ndarray:
        """Their vectors, float32 [queries, dim], as the result's search asked."""
        return query_vectors(self.queries, self.engine.encoder, self.instruction)

    def score(self, run: Run) -> tuple[float, float, float]:
        """The columns SCORE of a run, measured as the result was."""
        scores = score_run(without_identical_ids(run) if self.task.ignore_identical_ids else run, self.qrels)
        return scores.metrics[METRIC], *scores.intervals[METRIC]
