"""The unit of encoding: a task in plain data, for any process or machine; and how one process executes tasks."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import numpy as np

from debater_search.encoder.protocol import TextEncoder
from debater_search.errors import InvalidError
from debater_search.progress import Progress
from debater_search.store.embedding_writer import EmbeddingWriter
from debater_search.store.manifest import ShardInfo
from debater_search.types import Document


@dataclass(frozen=True)
class EncodingTask:
    """Encode these texts into the shard of this number; `ids` are the documents that the texts come from."""

    number: int
    ids: list[str]
    texts: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def as_json(self) -> dict[str, Any]:
        """The task in JSON types; `EncodingTask(**fields)` reads them."""
        return {"number": self.number, "ids": self.ids, "texts": self.texts}


def job_of(encoder: TextEncoder, writer: EmbeddingWriter, batch_tokens: int | None, device: str) -> dict[str, Any]:
    """All that a worker elsewhere must know beside its tasks, in JSON types."""
    return {
        "model": {**encoder.recipe, "device": device, "dtype": encoder.dtype},
        "fingerprint": encoder.fingerprint,
        "batch_tokens": batch_tokens,
        "place": str(writer.place) if writer.place.remote else os.path.abspath(str(writer.place)),
        "dim": writer.dim,
        "stored_as": writer.dtype,
        "thinking_steps": writer.thinking_steps,
    }


def require_model_of(job: dict[str, Any], encoder: TextEncoder) -> None:
    """Raise InvalidError unless a worker has loaded the model of its job."""
    if encoder.fingerprint != job["fingerprint"]:
        raise InvalidError(
            f"Workers load {job['model']['model']} from its files, which are not the model that is in memory.",
            "Save the model and load it from there, or take one worker.",
        )


def writer_of(job: dict[str, Any]) -> EmbeddingWriter:
    """The writer of a job's shards."""
    return EmbeddingWriter(job["place"], job["dim"], dtype=job["stored_as"], thinking_steps=job["thinking_steps"])


def tasks_of(documents: Iterable[Document], size: int) -> Iterator[EncodingTask]:
    """Tasks of `size` documents each, in order; the last may be smaller."""
    stream = iter(documents)
    for number in count():
        batch = list(islice(stream, size))
        if not batch:
            return
        yield EncodingTask(number, [document.id for document in batch], [document.content for document in batch])


@dataclass(frozen=True)
class EncodedShard:
    """The shard file of a task, complete on disk; its sha256 was made while it was written."""

    number: int
    info: ShardInfo


def compute(
    tasks: Iterable[EncodingTask], encoder: TextEncoder, batch_tokens: int | None, progress: Progress
) -> Iterator[tuple[EncodingTask, np.ndarray]]:
    """Each task with every thinking step of its texts, float32 [n, thinking_steps, dim].

    The next task is taken, and its texts are tokenized, while the model computes those before. `batch_tokens` is how
    many padded tokens a forward pass takes; None: as many as are usual on the device.

    Raises:
        InvalidError: the model gives a document NaN or infinity.

    """
    taken: deque[EncodingTask] = deque()

    def windows() -> Iterator[Sequence[str]]:
        for task in tasks:
            taken.append(task)
            yield task.texts

    for steps in encoder.deliberate_windows(windows(), batch_tokens=batch_tokens, progress=progress):
        task = taken.popleft()
        require_finite(steps, task.ids)
        yield task, steps


def execute(
    tasks: Iterable[EncodingTask],
    encoder: TextEncoder,
    writer: EmbeddingWriter,
    batch_tokens: int | None,
    progress: Progress,
) -> "Iterator[Future[EncodedShard]]":
    """Execute tasks as they come; gives each shard while a thread writes it. Raises as `compute` does."""
    with ThreadPoolExecutor(1, thread_name_prefix="write") as thread:
        for task, steps in compute(tasks, encoder, batch_tokens, progress):
            vectors = steps if writer.thinking_steps else steps[:, -1]
            yield thread.submit(_write, writer, task, vectors)


def _write(writer: EmbeddingWriter, task: EncodingTask, vectors: np.ndarray) -> EncodedShard:
    return EncodedShard(task.number, writer.write(task.number, task.ids, vectors))


def require_finite(embeddings: np.ndarray, ids: Sequence[str]) -> None:
    """Raise InvalidError, naming the document, if a vector holds NaN or infinity."""
    finite = np.isfinite(embeddings).reshape(len(ids), -1).all(axis=1)
    if not finite.all():
        raise InvalidError(
            f"The model gives document {ids[int(finite.argmin())]!r} an embedding that is not finite.",
            "Check the model, or try the `device` cpu, which computes in fp32; finished shards are kept.",
        )
