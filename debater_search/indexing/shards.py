"""Numbered shards: which documents each holds, and how they are encoded and written, here or in a worker."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from debater_search.encoder.protocol import TextEncoder
from debater_search.errors import DebaterError
from debater_search.progress import Progress
from debater_search.store.documents import DocumentStore
from debater_search.store.embeddings import EmbeddingWriter
from debater_search.types import Document

SHARD_SIZE = 1000  # documents; what a kill costs


@dataclass(frozen=True)
class Shards:
    """The shards of the documents at `positions`, `size` in each. A shard that `writer` holds is complete."""

    documents: DocumentStore
    positions: range
    writer: EmbeddingWriter
    size: int = SHARD_SIZE
    batch_tokens: int | None = None
    """Padded tokens of a forward pass; None: what is usual on the device."""

    def __len__(self) -> int:
        return -(-len(self.positions) // self.size)

    def rows(self, number: int) -> range:
        """The positions of a shard's documents."""
        return self.positions[number * self.size : (number + 1) * self.size]

    def missing(self) -> list[int]:
        """The numbers of the shards that are not there, whole, for exactly these documents."""
        return [number for number in range(len(self)) if not self.writer.holds(number, self.ids(number))]

    def encode(
        self, numbers: Iterable[int], encoder: TextEncoder, progress: Progress
    ) -> Iterator[tuple[int, Future[None]]]:
        """Encode shards as their numbers come; gives each as soon as it is being written, in a thread.

        The next number is taken, and its documents are tokenized, while the model computes those before.

        Raises:
            DebaterError: the model gives a document NaN or infinity.

        """
        taken: deque[int] = deque()

        def windows() -> Iterator[Sequence[Document]]:
            for number in numbers:
                taken.append(number)
                rows = self.rows(number)
                yield self.documents.read_rows(rows.start, rows.stop)

        encoded = encoder.deliberate_windows(windows(), batch_tokens=self.batch_tokens, progress=progress)
        with ThreadPoolExecutor(1, thread_name_prefix="write") as thread:
            for steps in encoded:
                number = taken.popleft()
                ids = self.ids(number)
                require_finite(steps, ids)
                vectors = steps if self.writer.thinking_steps else steps[:, -1]
                yield number, thread.submit(self.writer.write, number, ids, vectors)

    def ids(self, number: int) -> list[str]:
        """The ids of a shard's documents, one for each row."""
        rows = self.rows(number)
        return self.documents.row_ids(rows.start, rows.stop)


def require_finite(embeddings: np.ndarray, ids: Sequence[str]) -> None:
    """Raise DebaterError, naming the document, where a vector holds NaN or infinity."""
    finite = np.isfinite(embeddings).reshape(len(ids), -1).all(axis=1)
    if not finite.all():
        raise DebaterError(
            f"The model gives document {ids[int(finite.argmin())]!r} an embedding that is not finite.",
            "Check the model, or try --device cpu, which computes in fp32; finished shards are kept.",
        )
