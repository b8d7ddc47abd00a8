"""Tasks that are scored together, and whose mean is their score."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Union

from debater_search.errors import DebaterError
from debater_search.evaluation.folders import FolderTask
from debater_search.evaluation.hub_tasks import MtebTask

Task = FolderTask | MtebTask
"""A task that a name on the command line may mean."""


@dataclass(frozen=True)
class Suite:
    """Several tasks by one name: a benchmark, the languages of a task, the parts of CQADupstack, a folder of folders.

    A member counts once in the mean, however many tasks it has itself.
    """

    name: str
    members: tuple[Union[Task, "Suite"], ...]

    def tasks(self) -> list[Task]:
        """Every task, in order."""
        return [task for member in self.members for task in tasks_of(member)]

    def suites(self) -> "list[Suite]":
        """The suites among its members, then itself: means come after what they are of."""
        return [suite for member in self.members if isinstance(member, Suite) for suite in member.suites()] + [self]

    def mean(self, metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float] | None:
        """The mean of each metric over the members; None as long as one of the tasks, by name, has none."""
        found = [
            member.mean(metrics) if isinstance(member, Suite) else metrics.get(member.name) for member in self.members
        ]
        known = [values for values in found if values is not None]
        if not known or len(known) < len(found):
            return None
        return {name: sum(values[name] for values in known) / len(known) for name in known[0]}


def tasks_of(found: Task | Suite) -> list[Task]:
    """The tasks of a suite; of a task, itself."""
    return found.tasks() if isinstance(found, Suite) else [found]


def suite_of(name: str, members: list[Task | Suite]) -> Task | Suite:
    """The suite of these members; a single one stays what it is. Raises DebaterError if there is none."""
    if not members:
        raise DebaterError(f"There is no retrieval task of texts in {name}.", "Name another one.")
    return members[0] if len(members) == 1 else Suite(name, tuple(members))
