"""Input and output of an analysis."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from debater_search.errors import InvalidError
from debater_search.evaluation.evaluate import judged_queries, without_identical_ids
from debater_search.evaluation.kept import query_vectors
from debater_search.evaluation.metrics import score_run
from debater_search.evaluation.results import Result
from debater_search.evaluation.tasks import RetrievalTask
from debater_search.search import SearchEngine
from debater_search.types import Qrels, Query, Run

METRIC = "ndcg@10"
SCORE = (METRIC, "low", "high")
"""Columns of a score: the mean over the queries and the ends of its 95% interval."""
DEPTH = 100
"""Documents retrieved although only the first ten count: deep enough that no tie at the cut reaches them."""

Cell = str | int | float


@dataclass(frozen=True)
class Finding:
    """A table, its title, and one sentence that sums it up."""

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


class Subject:
    """A model's result on a task and the open index that it came from, shared by all analyses."""

    def __init__(self, task: RetrievalTask, engine: SearchEngine, result: Result, *, progress: bool = False) -> None:
        """Raises DebaterError for an index of passages, whose rows are not documents."""
        if engine.documents.split:
            raise InvalidError("An index of passages cannot be analysed.", "Index the corpus without `passages`.")
        self.task, self.engine, self.result, self.progress = task, engine, result, progress

    @property
    def split(self) -> str:
        """The split whose judgements the result was measured with."""
        return str(self.result.provenance["split"])

    @property
    def instruction(self) -> str | None:
        """The instruction before its queries."""
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
        """The vectors of these queries, float32 [queries, dim], as in the result's search."""
        return query_vectors(self.queries, self.engine.encoder, self.instruction)

    def score(self, run: Run) -> tuple[float, float, float]:
        """The columns SCORE of a run, measured like the result."""
        scores = score_run(without_identical_ids(run) if self.task.ignore_identical_ids else run, self.qrels)
        return scores.metrics[METRIC], *scores.intervals[METRIC]
