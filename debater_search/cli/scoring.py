"""The loop of `debater eval`: task after task, each saved and shown when it is done; what --output holds stands."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from debater_search.cli.comparisons import (
    baseline_name,
    compare_results,
    is_baseline,
    judged_by_task,
    load_baselines,
    save_compared,
    score_baseline,
)
from debater_search.cli.options import Mode
from debater_search.cli.output import Output
from debater_search.errors import DebaterError
from debater_search.progress import duration

if TYPE_CHECKING:
    from debater_search.evaluation import Result, SavedRun, Suite
    from debater_search.evaluation.results import Entry
    from debater_search.evaluation.suites import Task

log = logging.getLogger(__name__)

SHOWN = ("ndcg@10", "mrr@10", "map@100", "recall@100")  # to people; --json has all


@dataclass(frozen=True)
class Scoring:
    """How tasks are scored, and where results go."""

    split: str | None
    instruction: str | None
    mode: Mode
    index_type: str
    all_steps: bool
    output: Path | None
    force: bool
    encoder: Any = None
    baselines: Sequence[Any] = ()
    """As `load_baselines` gives them."""
    saved: "Sequence[SavedRun]" = ()
    """Runs to compare with."""
    analyses: Sequence[str] = ()

    def with_models(
        self,
        encoder: Any,
        baselines: Sequence[str],
        tasks: int,
        device: str,
        saved: "Sequence[SavedRun]",
        analyses: Sequence[str],
    ) -> "Scoring":
        """The same with what is scored, what it is compared with, and how it is looked at.

        Raises DebaterError as `load_baselines` and `choose_analyses` do.
        """
        from debater_search.evaluation import choose_analyses, model_name

        chosen = choose_analyses(analyses, encoder) if analyses else []
        loaded = load_baselines(baselines, model_name(encoder, self.mode.value), tasks, device)
        return replace(self, encoder=encoder, baselines=loaded, saved=saved, analyses=chosen)

    def split_of(self, task: "Task") -> str:
        """The split whose judgements count."""
        from debater_search.evaluation.beir import scored_split

        return self.split or scored_split(task.name)

    def check(self, tasks: "Sequence[Task]") -> None:
        """Raise DebaterError, before a model is loaded, for what could not be scored or saved."""
        from debater_search.data.files import require_writable
        from debater_search.evaluation import FolderTask
        from debater_search.evaluation.hub_tasks import is_offline

        if self.output is not None:
            require_writable(self.output)
        if self.all_steps and self.mode is Mode.lexical:
            raise DebaterError("Lexical search has no thinking steps.", "Leave --all-steps or --mode lexical out.")
        missing: dict[str, DebaterError] = {}
        for task in tasks:
            if isinstance(task, FolderTask) or len(tasks) == 1:
                self._require_data(task)
            elif is_offline():
                try:
                    self._require_data(task)
                    task.unload()
                except DebaterError as error:
                    missing[task.name] = error
        if missing:
            raise _missing(missing, len(tasks), "The Hugging Face hub does not answer, and")

    def standing(self, task: "Task") -> "list[Result] | None":
        """The results of a task that are in the output already, by the same models and in the same way.

        Raises DebaterError if others are there, which would be lost.
        """
        from debater_search.evaluation import choose_instruction, read_results
        from debater_search.evaluation.results import RUN_NAME, restored

        if self.output is None or self.force:
            return None
        found = read_results(self.output)
        entries = [entry for entry in found["results"] if entry.get("task") == task.name]
        split = self.split_of(task)
        asked = {
            "fingerprint": self.encoder.fingerprint if self.encoder is not None else None,
            "mode": self.mode.value,
            "split": split,
            "instruction": choose_instruction(task, self.encoder, self.instruction),
        }
        made = [entry for entry in entries if self._is_as_asked(entry, asked)][:1]
        made += [entry for baseline in self.baselines for entry in entries if is_baseline(entry, baseline, split)]
        results = [result for entry in made if (result := restored(self.output, entry)) is not None]
        drawn = {entry.get("name") for entry in found["analyses"] if entry.get("task") == task.name}
        if len(results) == 1 + len(self.baselines) and drawn.issuperset(self.analyses):
            return results
        run = f"{task.name}/{RUN_NAME}"
        ours = made and made[0].get("run") == run  # a baseline or the like is what lacks
        unfinished = (self.output / "results.json").exists() and all(entry.get("run") != run for entry in entries)
        if (self.output / run).exists() and not ours and not unfinished:
            raise DebaterError(
                f"{self.output / task.name} holds a run already, of another model or made otherwise.",
                "Choose another --output, or replace it with --force.",
            )
        return None

    def score(self, task: "Task") -> "list[Result]":
        """The model's result on a task, then the baselines', saved."""
        from debater_search import evaluation

        split = self.split_of(task)
        stored = self.all_steps or evaluation.need_all_steps(self.analyses)
        with evaluation.opened(
            task, self.encoder, split=split, index_type=self.index_type, all_steps=stored, progress=True
        ) as (engine, built):
            result = evaluation.evaluate(
                task, engine, split=split, mode=self.mode.value, instruction=self.instruction, progress=True
            )
            steps = (
                evaluation.evaluate_steps(task, engine, split=split, instruction=self.instruction)
                if self.all_steps
                else []
            )
            scored = [replace(result, timings={**built, **result.timings}, steps=steps)]
            for baseline in self.baselines:
                scored.append(score_baseline(baseline, task, engine, split=split, index_type=self.index_type))
            self._save(task, scored)
            if self.analyses and self.output is not None:
                evaluation.analyse(task, engine, scored[0], self.analyses, self.output, progress=True)
        return scored

    def compare(self, task: "Task", results: "Sequence[Result]") -> "list[Entry]":
        """The model's result beside the baselines' and the saved runs', saved with the texts that explain them."""
        split = self.split_of(task)
        judged = judged_by_task(task, split)
        comparisons = compare_results(results, self.saved, judged)
        if self.output is not None:
            save_compared(self.output, results, judged, comparisons, task.corpus(split))
        return comparisons

    def _save(self, task: "Task", scored: "Sequence[Result]") -> None:
        from debater_search.evaluation import MtebTask
        from debater_search.evaluation.mteb import save_mteb_result

        if self.output is None:
            return
        if isinstance(task, MtebTask) and self.mode is Mode.dense:
            save_mteb_result(task, scored[0], self.encoder, self.output / "mteb")
        for number, result in reversed(list(enumerate(scored))):  # the last one saved comes first
            result.save(self.output, baseline=number > 0)

    def _is_as_asked(self, entry: dict[str, Any], asked: dict[str, Any]) -> bool:
        provenance = entry.get("provenance") or {}
        same = all(provenance.get(name) == value for name, value in asked.items())
        typed = self.mode is Mode.lexical or self.index_type in ("auto", provenance.get("index_type"))
        return same and typed and (bool(entry.get("steps")) or not self.all_steps)

    def _require_data(self, task: "Task") -> None:
        from debater_search.evaluation import judged_queries

        split = self.split_of(task)
        judged_queries(task, split, task.qrels(split))


def load_tasks(names: Sequence[str] | None) -> "tuple[list[Task], list[Suite]]":
    """The tasks that names mean, each once, and the suites among them.

    Raises DebaterError if there is none, and where one name stands for two tasks.
    """
    from debater_search.evaluation import Suite, load, tasks_of

    if not names:
        raise DebaterError("There is no TASK to score.", "Name one: debater eval data/cranfield.")
    found = [load(name) for name in names]
    given = [one.name for one in found]
    tasks: dict[str, Task] = {}
    for task in (task for one in found for task in tasks_of(one)):
        if tasks.setdefault(task.name, task).source != task.source or given.count(task.name) > 1:
            raise DebaterError(
                f"Two tasks are called {task.name}.", "Score them one by one, each with its own --output."
            )
    return list(tasks.values()), [suite for one in found if isinstance(one, Suite) for suite in one.suites()]


def score_tasks(tasks: "Sequence[Task]", suites: "Sequence[Suite]", how: Scoring, out: Output) -> "ResultTable":
    """Score task after task; the table grows. One whose data cannot be had is left out, and `require_all` says so."""
    from debater_search.evaluation import model_name

    standing = {task.name: how.standing(task) for task in tasks}  # refused before anything is computed
    if done := [name for name, results in standing.items() if results]:
        log.info("In %s already, not scored again: %s.", how.output, ", ".join(done))
    models = [model_name(how.encoder, how.mode.value), *map(baseline_name, how.baselines)]
    table = ResultTable(out, [task.name for task in tasks], suites, models)
    spent, left = 0.0, len(tasks) - len(done)
    for task in tasks:
        start, results = time.monotonic(), standing[task.name]
        if results is None:
            try:
                task.qrels(how.split_of(task))
            except DebaterError as error:
                log.warning("%s is left out: %s", task.name, error.message)
                table.missing[task.name] = error
                left -= 1
                continue
            results = how.score(task)
            spent, left = spent + time.monotonic() - start, left - 1
        for result in results:
            table.add(result)
        table.comparisons += how.compare(task, results)
        task.unload()
        if left and spent:
            scored = len(tasks) - len(done) - len(table.missing) - left
            log.info("%d of %d tasks to go, about %s.", left, len(tasks), duration(spent / scored * left))
    if how.encoder is not None:
        _say_what_is_kept()
    return table


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
            raise _missing(self.missing, self._tasks, "All others are scored, but")

    def _show(self, task: str, model: str, metrics: dict[str, float], interval: str) -> None:
        values = [f"{metrics[name]:.4f}" for name in SHOWN]
        self._row([task, model, values[0], interval, *values[1:]])


def _label(suite: "Suite") -> str:
    return f"{suite.name}, mean of {len(suite.members)}"


def _missing(missing: dict[str, DebaterError], of: int, why: str) -> DebaterError:
    """One sentence for tasks whose data cannot be had."""
    names = list(missing)
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    first = missing[names[0]]
    if of == 1:
        return first
    return DebaterError(f"{why} {len(names)} of {of} tasks cannot be read: {listed}.", f"{first.message} {first.hint}")


def _say_what_is_kept() -> None:
    from debater_search.evaluation.kept import kept_size

    folder, size = kept_size()
    log.info("Embeddings are kept in %s until nothing asks for them for a month; %.1f MB now.", folder, size / 1e6)
