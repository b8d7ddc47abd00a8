"""An evaluation of one model on many tasks, beside baselines: resumable, each task saved when it is done.

for task in Campaign(["cranfield", "beir"], "debater-small", baselines=["bm25"], output="results"):
    print(task.name, [(result.model, result.metrics["ndcg@10"]) for result in task.results])
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from debater_search.data.files import require_writable_folder
from debater_search.encoder.arguments import require_arguments
from debater_search.encoder.loading.hub import require_model
from debater_search.encoder.protocol import PairScorer, TextEncoder
from debater_search.errors import DebaterError, InvalidError, MissingError
from debater_search.evaluation import hub_tasks
from debater_search.evaluation.analyses import choose_analyses
from debater_search.evaluation.baselines import Baseline, Searcher, load_baselines, require_baselines
from debater_search.evaluation.evaluate import judged_queries
from debater_search.evaluation.evaluator import Evaluator, split_of
from debater_search.evaluation.kept import kept_size
from debater_search.evaluation.results import Entry, Result, saved_lists
from debater_search.evaluation.reuse import ReusableResults
from debater_search.evaluation.runs import find_compared
from debater_search.evaluation.suites import Metrics, Suite, SuiteMean, completed_means
from debater_search.evaluation.task_cache import CachedTask
from debater_search.evaluation.tasks import RetrievalTask, find_tasks
from debater_search.extras import require
from debater_search.progress import duration
from debater_search.search import Mode
from debater_search.search.request import require_mode, require_rerank_depth
from debater_search.vectors import VectorSettings, backend

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskResults:
    """The outcome of one task: its results and comparisons, or why its data cannot be read."""

    name: str
    results: Sequence[Result] = ()
    """The model's, then the baselines', without runs, judgements and texts, which may be large."""
    comparisons: Sequence[Entry] = ()
    """As in results.json."""
    means: Sequence[SuiteMean] = ()
    """Of the suites that this task completes."""
    missing: DebaterError | None = None


class Campaign:
    """One model on some tasks, compared with baselines and saved runs; iterate over it to compute the results.

    With `output`, each result is saved as soon as it is there, and valid results of an earlier campaign are not
    computed again. A task whose data cannot be read is reported and does not end the campaign.

    Examples:
        >>> from debater_search.evaluation import Campaign
        >>> for outcome in Campaign(["task"], encoder, baselines=["bm25"]):
        ...     print(outcome.name, [result.model for result in outcome.results], len(outcome.comparisons))
        task ['debater-small', 'bm25'] 1
    """

    def __init__(
        self,
        tasks: Sequence[RetrievalTask | Suite | str | Path],
        model: TextEncoder | str | Path | None = None,
        *,
        mode: Mode = "dense",
        split: str | None = None,
        instruction: str | None = None,
        index_type: str = "flat",
        baselines: Sequence[Baseline] = (),
        compare: Sequence[str | Path] = (),
        analyses: Sequence[str] = (),
        all_steps: bool = False,
        output: str | Path | None = None,
        force: bool = False,
        base_model: str | None = None,
        pooling: str | None = None,
        attention: str | None = None,
        device: str = "auto",
        rerank: PairScorer | str | Path | None = None,
        rerank_depth: int | None = None,
    ) -> None:
        """Check everything that needs no model; models are loaded when the iteration starts.

        Args:
            tasks: tasks and suites, or their names as `load` takes them.
            model: an encoder, or what `Encoder.load` takes together with `base_model`, `pooling`, `attention` and
                `device`; unused with `mode` lexical.
            mode, split, instruction, index_type: as `evaluate` takes them.
            baselines: further systems to score: "bm25", encoders, names of models, TREC runs of a single task.
            compare: runs and earlier results to compare with, as `find_runs` takes them.
            analyses: names of `ANALYSES`, or "all"; they need `output` and mode dense.
            all_steps: score each thinking step alone too.
            output: the folder for results.json and, per task, runs, queries and pictures.
            force: compute everything again, and overwrite another model's results.
            rerank, rerank_depth: as `evaluate` takes them, or what `Reranker.load` takes. The same search without it is
                a baseline then.

        Raises DebaterError for tasks, splits, files and settings that cannot be evaluated.
        """
        _require_consistent(model, mode, analyses, all_steps=all_steps, output=output)
        _require_rerankable(rerank, rerank_depth, looks_closer=bool(analyses) or all_steps)
        _require_libraries(compares=bool(baselines or compare), draws=bool(analyses))
        if isinstance(model, str | Path) and mode != "lexical":
            require_arguments(device=device, attention=attention, pooling=pooling)
            require_model(model)
        if rerank is not None and isinstance(rerank, str | Path):
            require_model(rerank)
        require_baselines(baselines)
        backend("faiss").validate(VectorSettings(index_type), None)
        found, self.suites = find_tasks(tasks)
        self.tasks = [CachedTask(task) for task in found]
        self._model, self._device = model, device
        self._loading: dict[str, Any] = {"base_model": base_model, "pooling": pooling}
        if attention is not None:
            self._loading["attention"] = attention
        self._mode, self._split, self._instruction, self._index_type = mode, split, instruction, index_type
        self._baselines, self._analyses, self._all_steps = baselines, analyses, all_steps
        self._rerank, self._rerank_depth = rerank, rerank_depth
        self._output, self._force = None if output is None else Path(output), force
        if self._output is not None:
            require_writable_folder(self._output)
        self._compared = find_compared(compare, [task.name for task in self.tasks])
        self._require_data()

    @property
    def models(self) -> list[str]:
        """The names of the model and the baselines in results; loads them."""
        return self._evaluator.names

    @property
    def compared(self) -> list[str]:
        """The names of the saved runs that it is compared with."""
        return list(dict.fromkeys(run.label({self.models[0]}) for run in self._compared))

    def __iter__(self) -> Iterator[TaskResults]:
        """The outcome of each task, in order, as soon as it is there.

        `iter` loads the models and checks the output. It raises DebaterError for a model that cannot be loaded or
        analysed, and if other results in the output would be overwritten.
        """
        evaluator = self._evaluator
        lists = saved_lists(self._output) if self._output is not None else {}
        return self._run(evaluator, {task.name: evaluator.find_reusable(task, lists) for task in self.tasks})

    def _run(self, evaluator: Evaluator, reusable: dict[str, ReusableResults]) -> Iterator[TaskResults]:
        done = [name for name, found in reusable.items() if evaluator.has_all_results(found)]
        if done:
            logger.info("Already in %s, not scored again: %s.", self._output, ", ".join(done))
        metrics: Metrics = {}
        seconds: list[float] = []  # of each task that was computed
        left = len(self.tasks) - len(done)
        for task in self.tasks:
            start = time.monotonic()
            try:
                if task.name not in done:
                    task.qrels(split_of(task, self._split))
            except DebaterError as error:
                logger.warning("%s is left out: %s", task.name, error.message)
                left -= 1
                yield TaskResults(task.name, missing=error)
                continue
            results, comparisons = evaluator.evaluate(task, reusable.pop(task.name))
            task.unload()
            results = [replace(result, run={}, qrels={}, texts={}) for result in results]
            for result in results:
                metrics.setdefault(result.model, {})[task.name] = result.metrics
            yield TaskResults(task.name, results, comparisons, completed_means(self.suites, metrics, task.name))
            if task.name not in done:
                seconds.append(time.monotonic() - start)
                left -= 1
            if left and seconds:
                remaining = duration(sum(seconds) / len(seconds) * left)
                logger.info("%d of %d tasks to go, about %s.", left, len(self.tasks), remaining)
        if evaluator.model.encoder is not None:
            folder, size = kept_size()
            logger.info(
                "Embeddings are cached in %s (%.1f MB); entries unused for a month are removed.", folder, size / 1e6
            )

    def _require_data(self) -> None:
        """Raise DebaterError for data that cannot be read; tasks of a suite on the hub are only tried if it is down."""
        missing: dict[str, DebaterError] = {}
        for task in self.tasks:
            split = split_of(task, self._split)
            if not isinstance(task.task, hub_tasks.MtebTask) or len(self.tasks) == 1:
                judged_queries(task, split, task.qrels(split))
            elif hub_tasks.is_offline():
                try:
                    judged_queries(task, split, task.qrels(split))
                    task.unload()
                except DebaterError as error:
                    missing[task.name] = error
        if missing:
            why = "Nothing was scored: the Hugging Face hub does not answer, and"
            refusal = missing_tasks(missing, len(self.tasks), why)
            if len(missing) < len(self.tasks):
                refusal.hint += " Leave these tasks out to score the others."
            raise refusal

    @cached_property
    def _evaluator(self) -> Evaluator:
        """The loaded systems and the settings."""
        plain = Searcher(self._load_encoder(), self._mode, self._instruction)
        model = replace(plain, rerank=self._load_reranker(), rerank_depth=self._rerank_depth)
        without = [plain] if model.rerank is not None else []
        names = [system.name for system in (model, *without)]
        return Evaluator(
            model=model,
            # first of all: a model that cannot be analysed needs no baselines
            analyses=choose_analyses(self._analyses, model.encoder) if model.encoder and self._analyses else [],
            baselines=[*without, *load_baselines(self._baselines, names, tasks=len(self.tasks), device=self._device)],
            compared=self._compared,
            split=self._split,
            index_type=self._index_type,
            all_steps=self._all_steps,
            output=self._output,
            force=self._force,
        )

    def _load_encoder(self) -> TextEncoder | None:
        if self._mode == "lexical":
            return None
        if not isinstance(self._model, str | Path):
            return self._model
        from debater_search.encoder import Encoder

        return Encoder.load(str(self._model), device=self._device, **self._loading)

    def _load_reranker(self) -> PairScorer | None:
        if self._rerank is None or not isinstance(self._rerank, str | Path):
            return self._rerank
        from debater_search.encoder import Reranker

        return Reranker.load(self._rerank, device=self._device)


def missing_tasks(missing: dict[str, DebaterError], of: int, why: str) -> DebaterError:
    """One error for tasks whose data cannot be read: task → its own error; `why` begins the sentence.

    Examples:
        >>> from debater_search.evaluation import missing_tasks
        >>> print(missing_tasks({"task": DebaterError("The task is gone.")}, 2, "All others are scored, but"))
        All others are scored, but 1 of 2 tasks cannot be read: task. The task is gone.
    """
    names = list(missing)
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    first = missing[names[0]]
    if of == 1:
        return first
    return MissingError(f"{why} {len(names)} of {of} tasks cannot be read: {listed}.", f"{first.message} {first.hint}")


def _require_rerankable(rerank: PairScorer | str | Path | None, depth: int | None, *, looks_closer: bool) -> None:
    """Raise InvalidError for options that do not go with reranking; `looks_closer`: analyses, or every step."""
    if rerank is not None and looks_closer:
        raise InvalidError("Analyses and `all_steps` look at vectors, not at a reranker.", "Leave `rerank` out.")
    require_rerank_depth(depth, reranks=rerank is not None)


def _require_libraries(*, compares: bool, draws: bool) -> None:
    """Raise DebaterError for a missing library now, not after the corpus is encoded."""
    needed = {"pytrec_eval": True, "scipy": compares, "matplotlib": draws}
    for library, is_needed in needed.items():
        if is_needed:
            require(library, extra="eval")


def _require_consistent(
    model: Any, mode: Mode, analyses: Sequence[str], *, all_steps: bool, output: str | Path | None
) -> None:
    require_mode(mode)
    if analyses and output is None:
        raise InvalidError("The pictures of `analyses` need a folder.", "Name one with `output`.")
    if analyses and mode != "dense":
        raise InvalidError(
            "Analyses look at dense search.", "Leave `mode` out; the analysis weights looks at hybrid search."
        )
    if all_steps and mode == "lexical":
        raise InvalidError("Lexical search has no thinking steps.", "Leave `all_steps` out, or choose another `mode`.")
    if model is None and mode != "lexical":
        raise InvalidError("There is no model to evaluate.", "Name a `model`, or evaluate BM25 with `mode` lexical.")
