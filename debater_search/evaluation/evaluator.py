"""What a campaign does on one task: score, analyse and compare systems, as far as results are missing."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from debater_search.evaluation.analyses import analyse, need_all_steps
from debater_search.evaluation.baselines import Searcher, System, judged_by_task
from debater_search.evaluation.beir import scored_split
from debater_search.evaluation.comparison import save_comparisons
from debater_search.evaluation.details import save_details
from debater_search.evaluation.evaluate import data_of
from debater_search.evaluation.hub_tasks import MtebTask
from debater_search.evaluation.opening import opened
from debater_search.evaluation.results import Entry, Result
from debater_search.evaluation.reuse import Lists, ReusableResults, find_reusable
from debater_search.evaluation.runs import SavedRun, compare_with_runs
from debater_search.evaluation.task_cache import CachedTask
from debater_search.evaluation.tasks import RetrievalTask
from debater_search.evaluation.thinking import evaluate_steps
from debater_search.search import SearchEngine
from debater_search.types import Document

Scored = tuple[list[Result], list[Entry]]
"""Results of one task, the evaluated model's first, and its comparisons with the others."""

Documents = Callable[[set[str]], Iterable[Document]]
"""Ids → documents, at least those with these ids."""


@dataclass(frozen=True)
class Evaluator:
    """The systems of a campaign and its settings."""

    model: Searcher
    baselines: Sequence[System]
    compared: Sequence[SavedRun]
    analyses: Sequence[str]
    split: str | None
    index_type: str
    all_steps: bool
    output: Path | None
    force: bool

    @property
    def systems(self) -> list[System]:
        """The evaluated model, then the baselines."""
        return [self.model, *self.baselines]

    @property
    def names(self) -> list[str]:
        """The names of the systems in results."""
        return [system.name for system in self.systems]

    def find_reusable(self, task: CachedTask, lists: Lists) -> ReusableResults:
        """The task's valid results in the output, whose results.json holds `lists`.

        Raises DebaterError if another model's results would be overwritten.
        """
        if self.output is None or self.force:
            return ReusableResults()
        expected: dict[str, dict[str, Any]] = {name: {} for name in self.names}
        if any(entry.get("task") == task.name for entry in lists["results"]):
            split = split_of(task, self.split)
            data = data_of(task, split)
            expected = {
                system.name: system.provenance(task, data, split=split, index_type=self.index_type)
                for system in self.systems
            }
        return find_reusable(task.name, self.output, lists, expected, all_steps=self.all_steps)

    def has_all_results(self, reusable: ReusableResults) -> bool:
        """Whether the results of all systems and all analyses are there."""
        return reusable.results.keys() >= set(self.names) and reusable.analyses.issuperset(self.analyses)

    def evaluate(self, task: CachedTask, reusable: ReusableResults) -> Scored:
        """Results and comparisons of a task; only the missing ones are computed."""
        to_compare = any(run.task in (None, task.name) for run in self.compared)
        if self.has_all_results(reusable) and not to_compare:
            comparisons = reusable.comparisons_with(self.names[1:])
            if comparisons is not None:
                return [reusable.results[name] for name in self.names], comparisons
        split = split_of(task, self.split)
        results = reusable.with_runs()
        missing = [name for name in self.analyses if self.model.name not in results or name not in reusable.analyses]
        if results.keys() >= set(self.names) and not missing:
            return self._compare(task, results, lambda _: task.corpus(split))
        every_step = self.all_steps or need_all_steps(missing)
        with (
            opened(
                task, self.model.encoder, split=split, index_type=self.index_type, all_steps=every_step, progress=True
            ) as (engine, built),
            task.stored(engine.documents),
        ):
            for system in self.systems:
                if system.name not in results:
                    results[system.name] = self._score(system, task, engine, built)
            if missing and self.output is not None:
                analyse(task, engine, results[self.model.name], missing, self.output, progress=True)
            return self._compare(task, results, lambda ids: _read(engine, ids))

    def _score(self, system: System, task: CachedTask, engine: SearchEngine, built: dict[str, float]) -> Result:
        split = split_of(task, self.split)
        result = system.score(task, engine, split=split, index_type=self.index_type)
        is_baseline = system is not self.model
        if not is_baseline:
            steps: list[dict[str, float]] = []
            if self.all_steps:
                steps = evaluate_steps(task, engine, split=split, instruction=self.model.instruction)
            result = replace(result, timings={**built, **result.timings}, steps=steps)
        if self.output is not None:
            if (
                isinstance(task.task, MtebTask)
                and self.model.mode == "dense"
                and self.model.rerank is None
                and not is_baseline
            ):
                from debater_search.evaluation.mteb import save_mteb_result

                save_mteb_result(task.task, result, engine.encoder, self.output / "mteb")
            result.save(self.output, baseline=is_baseline)
        return result

    def _compare(self, task: CachedTask, by_model: dict[str, Result], documents: Documents) -> Scored:
        """The results in order and their comparisons, saved with the texts that explain them."""
        results = [by_model[name] for name in self.names]
        judged = judged_by_task(task, split_of(task, self.split))
        comparisons, compared = compare_with_runs(results, self.compared, judged)
        if self.output is not None:
            save_details(self.output, results, judged.qrels, judged.texts, documents, compared=compared)
            save_comparisons(self.output, comparisons)
        return results, comparisons


def split_of(task: RetrievalTask, split: str | None) -> str:
    """The split that is scored: `split`, or the one that counts for this task."""
    return split or scored_split(task.name)


def _read(engine: SearchEngine, ids: set[str]) -> list[Document]:
    """The documents of an engine's corpus with these ids, in the corpus's order; unknown ids are left out."""
    positions = engine.documents.positions(sorted(ids))
    return engine.documents.read(sorted(positions.values()))
