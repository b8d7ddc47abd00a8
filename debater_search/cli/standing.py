"""What `--output` holds of a task already: results that stand, so that a killed suite goes on, or that others made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from debater_search.errors import DebaterError

if TYPE_CHECKING:
    from debater_search.evaluation import Result
    from debater_search.evaluation.results import Entry
    from debater_search.evaluation.suites import Task

Held = Mapping[str, "list[Entry]"]
"""What results.json holds, as `read_results` gives it."""


@dataclass(frozen=True)
class Standing:
    """The results of one task that are there already: by the same models, on the same data, in the same way."""

    folder: Path | None = None
    results: "dict[str, Result]" = field(default_factory=dict)
    """By model, without their runs, which may be large."""
    runs: dict[str, str] = field(default_factory=dict)
    """By model, the file of its run in the folder."""
    drawn: frozenset[str] = frozenset()
    """The analyses of the first model."""
    comparisons: "Sequence[Entry]" = ()
    """Of the first model with others."""

    def with_runs(self) -> "dict[str, Result]":
        """The results with their runs; without those whose runs cannot be read."""
        from debater_search.data import read_run

        found = {}
        for model, result in self.results.items():
            try:
                found[model] = replace(result, run=read_run(Path(self.folder or "", self.runs[model])))
            except DebaterError:
                continue
        return found

    def comparisons_with(self, models: Sequence[str]) -> "list[Entry] | None":
        """The comparisons of the first model with these; None where one, or what explains it, is not there."""
        from debater_search.evaluation.details import QUERIES_NAME

        by_name = {str(entry.get("baseline")): entry for entry in self.comparisons}
        tasks = {result.task for result in self.results.values()}
        explained = all((Path(self.folder or "") / task / QUERIES_NAME).is_file() for task in tasks)
        return [by_name[name] for name in models] if explained and by_name.keys() >= set(models) else None


def find_standing(
    task: "Task", folder: Path | None, held: Held, asked: Mapping[str, Mapping[str, Any]], *, all_steps: bool
) -> Standing:
    """The results of a task in a folder that are as asked: model → what the provenance of its result says.

    The first model is the one that is evaluated. Raises DebaterError where others' results would be lost.
    """
    from debater_search.evaluation.results import RUN_NAME, restored
    from debater_search.files import file_in

    if folder is None:
        return Standing()
    system = next(iter(asked))
    entries = {entry["model"]: entry for entry in _of(task, held["results"]) if isinstance(entry.get("model"), str)}
    ours = {model: entries[model] for model in asked if model in entries and _is_as_asked(entries[model], asked[model])}
    if all_steps and system in ours and not ours[system].get("steps"):
        del ours[system]
    run = f"{task.name}/{RUN_NAME}"
    holder = next((model for model, entry in entries.items() if entry.get("run") == run), None)
    left_by_a_kill = holder is None and bool(held["results"])
    if (folder / run).exists() and not left_by_a_kill and (holder != system or system not in ours):
        raise DebaterError(
            f"{folder / task.name} holds a run already, of another model or data, or made otherwise.",
            "Choose another --output, or replace it with --force.",
        )
    runs = {model: str(entry.get("run")) for model, entry in ours.items()}
    there = {model: entry for model, entry in ours.items() if file_in(folder, runs[model]) is not None}
    results = {model: result for model, entry in there.items() if (result := restored(entry)) is not None}
    analyses = [entry for entry in _of(task, held["analyses"]) if entry.get("models") == [system]]
    drawn = frozenset(str(entry.get("name")) for entry in analyses if system in results)
    comparisons = [entry for entry in _of(task, held["comparisons"]) if entry.get("system") == system]
    return Standing(folder, results, runs, drawn, comparisons)


def _of(task: "Task", entries: "Sequence[Entry]") -> "list[Entry]":
    return [entry for entry in entries if entry.get("task") == task.name]


def _is_as_asked(entry: "Entry", asked: Mapping[str, Any]) -> bool:
    provenance = entry.get("provenance")
    return isinstance(provenance, dict) and all(provenance.get(name) == value for name, value in asked.items())
