"""nDCG@10 while training, by the code of `debater eval`; the processes share the encoding."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from debater_search.data.runs import DEPTH
from debater_search.encoder import TextEncoder
from debater_search.encoder.texts import Texts
from debater_search.errors import InvalidError
from debater_search.evaluation import RetrievalTask, load_task
from debater_search.evaluation.evaluate import choose_instruction, judged_queries, without_identical_ids
from debater_search.evaluation.exact import Block, search_blocks
from debater_search.evaluation.metrics import score_run
from debater_search.evaluation.thinking import step_scores
from debater_search.indexing.encoding import SHARD_SIZE
from debater_search.indexing.tasks import compute, tasks_of
from debater_search.progress import Progress
from debater_search.training.gather import gathered
from debater_search.training.journal import SCORE
from debater_search.training.parallel import Parallel
from debater_search.training.sections import Evaluation
from debater_search.training.student import Student
from debater_search.types import Document, Qrels, Query

T = TypeVar("T")


class DevelopmentSet:
    """Tasks that are measured again and again, and whose mean counts."""

    def __init__(self, settings: Evaluation, seed: int) -> None:
        """Raises DebaterError for a task or split that there is not: it must not wait for the first measurement."""
        self.settings, self.split = settings, settings.split
        self.tasks: list[RetrievalTask] = []
        for folder in settings.tasks:
            task = load_task(folder)
            task.qrels(self.split)
            self.tasks.append(task if settings.sample is None else SampledTask(task, settings.sample, seed))
        names = [task.name for task in self.tasks]
        self._names = names if len({*names}) == len(names) else settings.tasks

    def require_readable(self) -> None:
        """Read all of them once. Raises DebaterError for what measuring would fail on."""
        for task in self.tasks:
            judged_queries(task, self.split, task.qrels(self.split))
            for _ in task.corpus(self.split):
                pass

    def measure(self, student: Student, parallel: Parallel) -> dict[str, Any]:
        """nDCG@10 of the last step, and of each step alone if the model deliberates; of several tasks also each one's.

        Documents are encoded and searched exactly, a block at a time; nothing is written.
        """
        # Under FSDP2 every forward pass is one of all processes: they encode the same texts in step.
        alone = parallel.sharded or parallel.processes == 1
        encoder: TextEncoder = student if alone else SharedEncoder(student, parallel)
        each = np.array([self._measured(task, encoder) for task in self.tasks])  # [tasks, steps]
        steps = [float(score) for score in each.mean(0)]
        found: dict[str, Any] = {SCORE: steps[-1]}
        if student.spec.deliberates:
            found["steps"] = steps
        if len(self.tasks) > 1:
            found |= {f"{SCORE} {name}": float(score) for name, score in zip(self._names, each[:, -1], strict=True)}
        return found

    def _measured(self, task: RetrievalTask, encoder: TextEncoder) -> list[float]:
        """nDCG@10 of each step on one task."""
        qrels = task.qrels(self.split)
        queries = judged_queries(task, self.split, qrels)
        instruction = choose_instruction(task, encoder, None)
        vectors = encoder.encode_queries([query.text for query in queries], instruction=instruction)
        ids: list[str] = []
        blocks = _blocks(task.corpus(self.split), encoder, ids)
        runs = search_blocks([query.id for query in queries], ids, blocks, step_scores(vectors), DEPTH)
        if not runs:
            raise InvalidError(f"The corpus of {task.name} is empty.", "Measure on another task.")
        if task.ignore_identical_ids:
            runs = [without_identical_ids(run) for run in runs]
        return [score_run(run, qrels).metrics[SCORE] for run in runs]


def _blocks(documents: Iterable[Document], encoder: TextEncoder, ids: list[str]) -> Iterator[Block]:
    """Positions of documents, and their thinking steps; `ids` grows by their ids."""
    silent = Progress("Encoding", None, "documents", enabled=False)
    for task, steps in compute(tasks_of(documents, SHARD_SIZE), encoder, None, silent):
        yield np.arange(len(ids), len(ids) + len(task)), steps
        ids += task.ids


class SampledTask:
    """A task whose corpus is its judged documents and some others: faster to measure, scores are higher."""

    def __init__(self, task: RetrievalTask, others: int, seed: int) -> None:
        self._task, self._others, self._seed = task, others, seed
        self._chosen: dict[str, set[str]] = {}  # by split
        self.name, self.instruction = task.name, task.instruction
        self.ignore_identical_ids = task.ignore_identical_ids

    def corpus(self, split: str = "test") -> Iterable[Document]:
        """The judged documents and the sample, in the corpus's order."""
        if split not in self._chosen:
            judged = {document for gains in self.qrels(split).values() for document in gains}
            others = [document.id for document in self._task.corpus(split) if document.id not in judged]
            rng = np.random.default_rng(self._seed)
            self._chosen[split] = judged | set(rng.permutation(np.array(others, dtype=object))[: self._others])
        return (document for document in self._task.corpus(split) if document.id in self._chosen[split])

    def queries(self, split: str = "test") -> list[Query]:
        """The task's own."""
        return self._task.queries(split)

    def qrels(self, split: str = "test") -> Qrels:
        """The task's own."""
        return self._task.qrels(split)


class SharedEncoder:
    """A `TextEncoder` of which every process encodes a share of the texts.

    All processes call it alike, and all get all vectors.
    """

    cacheable = False

    def __init__(self, student: Student, parallel: Parallel) -> None:
        self._student, self._parallel = student, parallel
        self.name, self.recipe, self.dtype = student.name, student.recipe, student.dtype
        self.dim, self.thinking_steps = student.dim, student.thinking_steps
        self.device = student.device
        self.instruction, self.trained_with_instructions = student.instruction, student.trained_with_instructions

    @property
    def fingerprint(self) -> str:
        """The student's, which changes at every step."""
        return self._student.fingerprint

    def encode_queries(
        self, texts: Sequence[str], *, instruction: str | None = None, progress: bool | Progress = False
    ) -> np.ndarray:
        """As `TextEncoder.encode_queries`."""
        share = self._share(texts)
        return self._gathered(self._student.encode_queries(share, instruction=instruction, progress=progress))

    def encode_documents(self, texts_or_documents: Texts, *, progress: bool | Progress = False) -> np.ndarray:
        """As `TextEncoder.encode_documents`."""
        return self._gathered(self._student.encode_documents(self._share(texts_or_documents), progress=progress))

    def deliberate(
        self, texts_or_documents: Texts, *, batch_tokens: int | None = None, progress: bool | Progress = False
    ) -> np.ndarray:
        """As `TextEncoder.deliberate`."""
        share = self._share(texts_or_documents)
        return self._gathered(self._student.deliberate(share, batch_tokens=batch_tokens, progress=progress))

    def deliberate_windows(
        self, windows: Iterable[Texts], *, batch_tokens: int | None = None, progress: Progress
    ) -> Iterator[np.ndarray]:
        """As `TextEncoder.deliberate_windows`."""
        for window in windows:
            yield self.deliberate(window, batch_tokens=batch_tokens, progress=progress)

    def _share(self, texts: Sequence[T]) -> list[T]:
        chosen = np.array_split(np.arange(len(texts)), self._parallel.processes)[self._parallel.rank]
        return [texts[i] for i in chosen]

    def _gathered(self, vectors: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            rows, _, _ = gathered(torch.from_numpy(vectors).to(self._student.device))
        return rows.cpu().numpy()
