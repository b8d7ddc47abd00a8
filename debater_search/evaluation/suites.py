"""Suites: tasks that are scored together and whose score is the mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

from debater_search.errors import MissingError
from debater_search.evaluation.folders import FolderTask
from debater_search.evaluation.hub_tasks import MtebTask

Task = FolderTask | MtebTask
"""A task that a name can stand for."""

Metrics = dict[str, dict[str, dict[str, float]]]
"""Model → task → metric → value."""


@dataclass(frozen=True)
class Suite:
    """Several tasks under one name: a benchmark, the languages of a task, the parts of CQADupstack, a folder of tasks.

    Each member has the same weight in the mean, however many tasks it has itself.
    """

    name: str
    members: tuple[Union[Task, "Suite"], ...]

    def tasks(self) -> list[Task]:
        """Every task, in order."""
        return [task for member in self.members for task in tasks_of(member)]

    def suites(self) -> "list[Suite]":
        """The suites among its members, then itself: inner means come first."""
        return [suite for member in self.members if isinstance(member, Suite) for suite in member.suites()] + [self]

    def mean(self, metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float] | None:
        """The mean of each metric over the members; None while one of the tasks is missing in `metrics`, by name."""
        found = [
            member.mean(metrics) if isinstance(member, Suite) else metrics.get(member.name) for member in self.members
        ]
        known = [values for values in found if values is not None]
        if not known or len(known) < len(found):
            return None
        return {name: sum(values[name] for values in known) / len(known) for name in known[0]}


@dataclass(frozen=True)
class SuiteMean:
    """The mean metrics of one model over a suite."""

    suite: Suite
    model: str
    metrics: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """The mean in JSON types."""
        tasks = [task.name for task in self.suite.tasks()]
        return {"suite": self.suite.name, "model": self.model, "metrics": self.metrics, "tasks": tasks}


def completed_means(suites: Sequence[Suite], metrics: Metrics, task: str) -> list[SuiteMean]:
    """The means of each model over the suites that are complete and hold `task`."""
    return [
        SuiteMean(suite, model, mean)
        for model, by_task in metrics.items()
        for suite in suites
        if task in by_task and any(one.name == task for one in suite.tasks())
        if (mean := suite.mean(by_task)) is not None
    ]


def tasks_of(found: Task | Suite) -> list[Task]:
    """The tasks of a suite, or the task itself.

    Examples:
        >>> from debater_search.evaluation import load, tasks_of
        >>> [task.name for task in tasks_of(load("task"))]
        ['task']
    """
    return found.tasks() if isinstance(found, Suite) else [found]


def suite_of(name: str, members: list[Task | Suite]) -> Task | Suite:
    """The suite of these members, or the only member. Raises DebaterError if there is none."""
    if not members:
        raise MissingError(f"{name} has no retrieval task over texts.", "Name another one.")
    return members[0] if len(members) == 1 else Suite(name, tuple(members))
