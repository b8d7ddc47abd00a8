"""The table that `debater eval` shows: a row a result, as they come, and the mean of each suite."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from debater_search.cli.output import Output
from debater_search.errors import DebaterError

if TYPE_CHECKING:
    from debater_search.evaluation import Result, Suite
    from debater_search.evaluation.results import Entry

SHOWN = ("ndcg@10", "mrr@10", "map@100", "recall@100")  # to people; --json has all


class ResultTable:
    """What was scored, as a table that grows by a row a result, and by each suite's mean when it is complete.

    Results are held without their runs, which may be large.
    """

    def __init__(
        self, out: Output, tasks: Sequence[str], suites: "Sequence[Suite]" = (), models: Sequence[str] = ()
    ) -> None:
        self.results: list[Result] = []
        self.means: list[dict[str, Any]] = []
        self.comparisons: list[Entry] = []
        self.missing: dict[str, DebaterError] = {}
        self._tasks = len(tasks)
        self._suites = {_label(suite): suite for suite in suites}
        widths = [max(map(len, (*tasks, *self._suites, "task"))), max(map(len, (*models, "model")))]
        columns = ["task", "model", SHOWN[0], "95%", *SHOWN[1:]]
        self._row = out.growing_table(columns, [*widths, 7, 11, 6, 7, 10], text_columns=2)

    def add(self, result: "Result") -> None:
        """Show a result, and the means that it completes."""
        self.results.append(replace(result, run={}))
        low, high = result.intervals[SHOWN[0]]
        self._show(result.task, result.model, result.metrics, f"{low:.3f}…{high:.3f}")
        scored = {other.task: other.metrics for other in self.results if other.model == result.model}
        for label, suite in self._suites.items():
            tasks = [task.name for task in suite.tasks()]
            if result.task in tasks and (mean := suite.mean(scored)) is not None:
                self.means.append({"suite": suite.name, "model": result.model, "metrics": mean, "tasks": tasks})
                self._show(label, result.model, mean, "")

    def require_all(self) -> None:
        """Raise DebaterError if tasks were left out."""
        if self.missing:
            raise missing_data(self.missing, self._tasks, "All others are scored, but")

    def _show(self, task: str, model: str, metrics: dict[str, float], interval: str) -> None:
        values = [f"{metrics[name]:.4f}" for name in SHOWN]
        self._row([task, model, values[0], interval, *values[1:]])


def _label(suite: "Suite") -> str:
    return f"{suite.name}, mean of {len(suite.members)}"


def missing_data(missing: dict[str, DebaterError], of: int, why: str) -> DebaterError:
    """One sentence for tasks whose data cannot be had."""
    names = list(missing)
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    first = missing[names[0]]
    if of == 1:
        return first
    return DebaterError(f"{why} {len(names)} of {of} tasks cannot be read: {listed}.", f"{first.message} {first.hint}")
