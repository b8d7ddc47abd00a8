"""The loop of `debater eval`: task after task, each saved and shown when it is done; what --output holds stands."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from debater_search.cli.comparisons import (
    BM25,
    baseline_name,
    compare_results,
    judged_by_task,
    load_baselines,
    save_compared,
    score_baseline,
)
from debater_search.cli.options import Mode
from debater_search.cli.output import Output
from debater_search.cli.result_table import ResultTable, missing_data
from debater_search.cli.standing import Held, Standing, find_standing
from debater_search.errors import DebaterError
from debater_search.progress import duration

if TYPE_CHECKING:
    from debater_search.evaluation import Result, SavedRun, Suite
    from debater_search.evaluation.results import Entry
    from debater_search.evaluation.suites import Task
    from debater_search.search import SearchEngine

log = logging.getLogger(__name__)


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
        from debater_search.data.files import require_writable_folder
        from debater_search.evaluation import FolderTask
        from debater_search.evaluation.hub_tasks import is_offline

        if self.output is not None:
            require_writable_folder(self.output)
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
            raise missing_data(missing, len(tasks), "The Hugging Face hub does not answer, and")

    @property
    def models(self) -> list[str]:
        """What results call the model, then the baselines."""
        from debater_search.evaluation import model_name

        return [model_name(self.encoder, self.mode.value), *map(baseline_name, self.baselines)]

    def standing(self, task: "Task", held: Held) -> Standing:
        """What the output, whose results.json is `held`, has of a task already, made as it would be made now.

        Raises DebaterError if results of others are there, which would be lost.
        """
        if self.output is None or self.force:
            return Standing()
        known = any(entry.get("task") == task.name for entry in held["results"])
        asked = self._asked(task) if known else {model: {} for model in self.models}
        return find_standing(task, self.output, held, asked, all_steps=self.all_steps)

    def score(self, task: "Task", standing: Standing) -> "list[Result]":
        """The model's result on a task, then the baselines'; what does not stand is made and saved."""
        from debater_search import evaluation

        made = standing.with_runs()
        system, *others = self.models
        lacking = [name for name in self.analyses if system not in made or name not in standing.drawn]
        if made.keys() >= {system, *others} and not lacking:
            return [made[name] for name in self.models]
        split = self.split_of(task)
        stored = self.all_steps or evaluation.need_all_steps(lacking)
        with evaluation.opened(
            task, self.encoder, split=split, index_type=self.index_type, all_steps=stored, progress=True
        ) as (engine, built):
            if system not in made:
                made[system] = self._score_model(task, engine, built)
                self._save(task, made[system])
            for name, baseline in zip(others, self.baselines, strict=True):
                if name not in made:
                    made[name] = score_baseline(baseline, task, engine, split=split, index_type=self.index_type)
                    if self.output is not None:
                        made[name].save(self.output, baseline=True)
            if lacking and self.output is not None:
                evaluation.analyse(task, engine, made[system], lacking, self.output, progress=True)
        return [made[name] for name in self.models]

    def compare(self, task: "Task", results: "Sequence[Result]") -> "list[Entry]":
        """The model's result beside the baselines' and the saved runs', saved with the texts that explain them."""
        split = self.split_of(task)
        judged = judged_by_task(task, split)
        comparisons = compare_results(results, self.saved, judged)
        if self.output is not None:
            save_compared(self.output, results, judged, comparisons, task.corpus(split))
        return comparisons

    def found(self, task: "Task", standing: Standing) -> "tuple[list[Result], list[Entry]]":
        """Results and comparisons of a task; what does not stand is made."""
        to_compare = any(run.task in (None, task.name) for run in self.saved)
        if self.has_all_results(standing) and not to_compare:
            comparisons = standing.comparisons_with(self.models[1:])
            if comparisons is not None:
                return [standing.results[name] for name in self.models], comparisons
        results = self.score(task, standing)
        comparisons = self.compare(task, results)
        return [replace(result, run={}) for result in results], comparisons  # runs may be large

    def has_all_results(self, standing: Standing) -> bool:
        """Whether every model's result stands, and all that was to be drawn is drawn."""
        return standing.results.keys() >= set(self.models) and standing.drawn.issuperset(self.analyses)

    def _asked(self, task: "Task") -> dict[str, dict[str, Any]]:
        """Model → what its result's provenance must say to be as good as a new one."""
        from debater_search.evaluation import choose_instruction, data_of, run_provenance

        split = self.split_of(task)
        data = data_of(task, split)

        def searched(encoder: Any, mode: str, instruction: str | None) -> dict[str, Any]:
            asked = data | {"split": split, "mode": mode, "fingerprint": getattr(encoder, "fingerprint", None)}
            asked["instruction"] = choose_instruction(task, encoder, instruction)
            exactly = encoder is not None and self.index_type != "auto"
            return asked | ({"index_type": self.index_type} if exactly else {})

        asked = [searched(self.encoder, self.mode.value, self.instruction)]
        for baseline in self.baselines:
            if isinstance(baseline, Path):
                asked.append(run_provenance(baseline) | {name: data[name] for name in ("judgements",) if name in data})
            elif baseline == BM25:
                asked.append(searched(None, Mode.lexical.value, None))
            else:
                asked.append(searched(baseline, Mode.dense.value, None))
        return dict(zip(self.models, asked, strict=True))

    def _score_model(self, task: "Task", engine: "SearchEngine", built: dict[str, float]) -> "Result":
        from debater_search import evaluation

        split = self.split_of(task)
        result = evaluation.evaluate(
            task, engine, split=split, mode=self.mode.value, instruction=self.instruction, progress=True
        )
        steps = (
            evaluation.evaluate_steps(task, engine, split=split, instruction=self.instruction) if self.all_steps else []
        )
        return replace(result, timings={**built, **result.timings}, steps=steps)

    def _save(self, task: "Task", result: "Result") -> None:
        from debater_search.evaluation import MtebTask
        from debater_search.evaluation.mteb import save_mteb_result

        if self.output is None:
            return
        if isinstance(task, MtebTask) and self.mode is Mode.dense:
            save_mteb_result(task, result, self.encoder, self.output / "mteb")
        result.save(self.output)

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


def score_tasks(tasks: "Sequence[Task]", suites: "Sequence[Suite]", how: Scoring, out: Output) -> ResultTable:
    """Score task after task; the table grows. One whose data cannot be had is left out, and `require_all` says so."""
    from debater_search.evaluation import read_results

    held = read_results(how.output) if how.output is not None else {}
    standing = {task.name: how.standing(task, held) for task in tasks}  # refused before anything is computed
    del held
    if done := [name for name, found in standing.items() if how.has_all_results(found)]:
        log.info("In %s already, not scored again: %s.", how.output, ", ".join(done))
    table = ResultTable(out, [task.name for task in tasks], suites, how.models)
    spent, left = 0.0, len(tasks) - len(done)
    for task in tasks:
        start = time.monotonic()
        try:
            if task.name not in done:
                task.qrels(how.split_of(task))
        except DebaterError as error:
            log.warning("%s is left out: %s", task.name, error.message)
            table.missing[task.name] = error
            left -= 1
            continue
        results, comparisons = how.found(task, standing.pop(task.name))
        for result in results:
            table.add(result)
        table.comparisons += comparisons
        task.unload()
        if task.name not in done:
            spent, left = spent + time.monotonic() - start, left - 1
        if left and spent:
            scored = len(tasks) - len(done) - len(table.missing) - left
            log.info("%d of %d tasks to go, about %s.", left, len(tasks), duration(spent / scored * left))
    if how.encoder is not None:
        _say_what_is_kept()
    return table


def _say_what_is_kept() -> None:
    from debater_search.evaluation.kept import kept_size

    folder, size = kept_size()
    log.info("Embeddings are kept in %s until nothing asks for them for a month; %.1f MB now.", folder, size / 1e6)
