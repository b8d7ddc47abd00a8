"""The results that an output folder already holds and that are still valid, so that a killed evaluation resumes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from debater_search.data import read_run
from debater_search.errors import DebaterError, InvalidError
from debater_search.evaluation.details import QUERIES_NAME
from debater_search.evaluation.restoring import restored
from debater_search.evaluation.results import RUN_NAME, Entry, Result, is_interrupted
from debater_search.files import file_in

Lists = Mapping[str, list[Entry]]
"""The lists in a results.json, as `read_results` returns them."""


@dataclass(frozen=True)
class ReusableResults:
    """The saved results of one task that need not be computed again: same models, data and settings."""

    folder: Path | None = None
    results: dict[str, Result] = field(default_factory=dict)
    """By model, without their runs, which may be large."""
    runs: dict[str, str] = field(default_factory=dict)
    """The file of each model's run, relative to the folder."""
    analyses: frozenset[str] = frozenset()
    """The analyses of the evaluated model that were made."""
    comparisons: Sequence[Entry] = ()
    """The comparisons of the evaluated model with others."""

    def with_runs(self) -> dict[str, Result]:
        """The results with their runs, except those whose runs cannot be read."""
        complete = {}
        for model, result in self.results.items():
            try:
                complete[model] = replace(result, run=read_run(Path(self.folder or "", self.runs[model])))
            except DebaterError:
                continue
        return complete

    def comparisons_with(self, models: Sequence[str]) -> list[Entry] | None:
        """The comparisons of the evaluated model with these; None if one of them or the task's queries are missing."""
        by_model = {str(entry.get("baseline")): entry for entry in self.comparisons}
        tasks = {result.task for result in self.results.values()}
        explained = all((Path(self.folder or "") / task / QUERIES_NAME).is_file() for task in tasks)
        return [by_model[model] for model in models] if explained and by_model.keys() >= set(models) else None


def find_reusable(
    task: str, folder: Path, lists: Lists, expected: Mapping[str, Mapping[str, Any]], *, all_steps: bool
) -> ReusableResults:
    """The valid results of a task in a folder, whose results.json holds `lists`.

    `expected` maps each model, the evaluated one first, to the provenance that its result must have.
    Raises DebaterError if computing what is missing would overwrite other results.
    """
    system = next(iter(expected))
    entries = {entry["model"]: entry for entry in _of(task, lists["results"]) if isinstance(entry.get("model"), str)}
    valid = {
        model: entries[model]
        for model, provenance in expected.items()
        if model in entries and _has_provenance(entries[model], provenance)
    }
    if all_steps and system in valid and not valid[system].get("steps"):
        del valid[system]
    run = f"{task}/{RUN_NAME}"
    owner = next((model for model, entry in entries.items() if entry.get("run") == run), None)
    replaceable = is_interrupted(folder, task, entries.values()) or (owner == system and system in valid)
    if (folder / run).exists() and not replaceable:
        raise _occupied(f"{folder / task} holds a run", asked=system, held=owner)
    stale = next((model for model in expected if model != system and model in entries and model not in valid), None)
    if stale is not None:
        raise _occupied(f"{folder / task} holds a result of {stale}", asked=stale, held=stale)
    runs = {model: str(entry.get("run")) for model, entry in valid.items()}
    readable = {model: entry for model, entry in valid.items() if file_in(folder, runs[model]) is not None}
    results = {model: result for model, entry in readable.items() if (result := restored(entry)) is not None}
    analyses = [entry for entry in _of(task, lists["analyses"]) if entry.get("models") == [system]]
    made = frozenset(str(entry.get("name")) for entry in analyses if system in results)
    comparisons = [entry for entry in _of(task, lists["comparisons"]) if entry.get("system") == system]
    return ReusableResults(folder, results, runs, made, comparisons)


def _of(task: str, entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.get("task") == task]


def _occupied(what: str, *, asked: str, held: str | None) -> DebaterError:
    why = "of another model or data, or made with other settings"
    if held is not None and held != asked:
        why = f"of {held}, and {asked} was asked for"
    return InvalidError(
        f"{what} already, {why}.",
        "Choose another `output`, or replace it with `force`.",
    )


def _has_provenance(entry: Entry, expected: Mapping[str, Any]) -> bool:
    provenance = entry.get("provenance")
    return isinstance(provenance, dict) and all(
        provenance.get(name) in value if isinstance(value, tuple) else provenance.get(name) == value
        for name, value in expected.items()
    )
