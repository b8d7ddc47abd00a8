"""The table that `debater eval` shows: one row per result, as they come, and the mean of each suite."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
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
        """`tasks`, `suites` and `models` are those to come, for the widths of the columns."""
        self.results: list[Result] = []
        self.means: list[SuiteMean] = []
        self.comparisons: list[Entry] = []
        self.missing: dict[str, DebaterError] = {}
        self._tasks = len(tasks)
        head = ["task", "model", SHOWN[0], "95%", *SHOWN[1:]]
        names = zip_longest([*tasks, *map(_label, suites)], models, fillvalue="")
        expected = [[*pair, *_numbers(dict.fromkeys(SHOWN, 0.0), _interval(0, 0))] for pair in names]
        self._row = out.growing_table(head, expected, text_columns=2)

    def add(self, task: "TaskResults") -> None:
        """Show the results of a task, the means that it completes, and the scores of systems it is compared with."""
        if task.missing is not None:
            self.missing[task.name] = task.missing
        self.comparisons += task.comparisons
        for result in task.results:
            self.results.append(result)
            interval = _interval(*result.intervals[SHOWN[0]])
            self._row([result.task, result.model, *_numbers(result.metrics, interval)])
            for mean in task.means:
                if mean.model == result.model:
                    self.means.append(mean)
                    self._row([_label(mean.suite), mean.model, *_numbers(mean.metrics, "")])
        scored = {result.model for result in task.results}
        for entry in task.comparisons:
            if entry["baseline"] not in scored:  # a run of --compare
                means = {name: values["baseline"] for name, values in entry["metrics"].items()}
                interval = _interval(*entry["metrics"][SHOWN[0]]["baseline_interval"])
                self._row([entry["task"], entry["baseline"], *_numbers(means, interval)])

    def document(self) -> dict[str, Any]:
        """Everything as the document of --json."""
        document: dict[str, Any] = {"results": [result.as_dict() for result in self.results]}
        missing = [{"task": name, "error": error.message} for name, error in self.missing.items()]
        more = {"suites": [mean.as_dict() for mean in self.means], "comparisons": self.comparisons, "missing": missing}
        return document | {name: entries for name, entries in more.items() if entries}

    def require_all(self) -> None:
        """Raise DebaterError if tasks are missing."""
        from debater_search.evaluation import missing_tasks

        if self.missing:
            why = "All others are scored, but" if self.results else "Nothing was scored:"
            raise missing_tasks(self.missing, self._tasks, why)


def _numbers(metrics: Mapping[str, float], interval: str) -> list[str]:
    main, *others = (f"{metrics[name]:.4f}" for name in SHOWN)
    return [main, interval, *others]


def _interval(low: float, high: float) -> str:
    return f"{low:.3f}…{high:.3f}"


def _label(suite: "Suite") -> str:
    return f"{suite.name}, mean of {len(suite.members)}"
