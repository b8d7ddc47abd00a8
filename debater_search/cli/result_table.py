"""The table that `debater eval` shows: one row per result, as they come, and the mean of each suite."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from debater_search.cli.output import Output
from debater_search.errors import DebaterError

if TYPE_CHECKING:
    from debater_search.evaluation import Result, Suite, SuiteMean, TaskResults
    from debater_search.evaluation.results import Entry

SHOWN = ("ndcg@10", "mrr@10", "map@100", "recall@100")  # to people; --json has all


class ResultTable:
    """The results so far, as a table that grows by one row per result and by each suite's mean once it is complete."""

    def __init__(
        self, out: Output, tasks: Sequence[str], suites: "Sequence[Suite]" = (), models: Sequence[str] = ()
    ) -> None:
        """Print the head; `tasks`, `suites` and `models` are those to come, for the widths of the columns."""
        self.results: list[Result] = []
        self.means: list[SuiteMean] = []
        self.comparisons: list[Entry] = []
        self.missing: dict[str, DebaterError] = {}
        self._tasks = len(tasks)
        widths = [max(map(len, (*tasks, *map(_label, suites), "task"))), max(map(len, (*models, "model")))]
        columns = ["task", "model", SHOWN[0], "95%", *SHOWN[1:]]
        self._row = out.growing_table(columns, [*widths, 7, 11, 6, 7, 10], text_columns=2)

    def add(self, task: "TaskResults") -> None:
        """Show the results of a task and the means that it completes."""
        if task.missing is not None:
            self.missing[task.name] = task.missing
        self.comparisons += task.comparisons
        for result in task.results:
            self.results.append(result)
            low, high = result.intervals[SHOWN[0]]
            self._show(result.task, result.model, result.metrics, f"{low:.3f}…{high:.3f}")
            for mean in task.means:
                if mean.model == result.model:
                    self.means.append(mean)
                    self._show(_label(mean.suite), mean.model, mean.metrics, "")

    def document(self) -> dict[str, Any]:
        """Everything as the document of --json."""
        document: dict[str, Any] = {"results": [result.as_dict() for result in self.results]}
        more = {"suites": [mean.as_dict() for mean in self.means], "comparisons": self.comparisons}
        return document | {name: entries for name, entries in more.items() if entries}

    def require_all(self) -> None:
        """Raise DebaterError if tasks are missing."""
        from debater_search.evaluation import missing_tasks

        if self.missing:
            raise missing_tasks(self.missing, self._tasks, "All others are scored, but")

    def _show(self, task: str, model: str, metrics: dict[str, float], interval: str) -> None:
        values = [f"{metrics[name]:.4f}" for name in SHOWN]
        self._row([task, model, values[0], interval, *values[1:]])


def _label(suite: "Suite") -> str:
    return f"{suite.name}, mean of {len(suite.members)}"
