"""From stored documents to embedding shards; shards that an earlier run finished are kept."""

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from debater_search.errors import DebaterError
from debater_search.progress import progress
from debater_search.store.documents import DocumentStore
from debater_search.store.embeddings import EmbeddingWriter

if TYPE_CHECKING:
    from debater_search.encoder import Encoder

logger = logging.getLogger(__name__)

SHARD_SIZE = 1000  # documents; what a kill costs
WORTH_CALIBRATING = 2000
"""Documents from which on the two seconds that a calibration takes are likely to come back."""
SAMPLE = 256


def choose_batch_tokens(documents: DocumentStore, positions: range, encoder: "Encoder") -> int:
    """Padded tokens of a forward pass for this job: measured for large ones, the device's usual for small ones."""
    if len(positions) < WORTH_CALIBRATING:
        return encoder.batch_tokens
    chosen = encoder.calibrate(documents.read(positions[:: len(positions) // SAMPLE]))
    logger.info("Batches of %s tokens: the fastest here.", f"{chosen:,}")
    return chosen


def encode_shards(
    documents: DocumentStore,
    positions: range,
    encoder: "Encoder",
    writer: EmbeddingWriter,
    *,
    shard_size: int = SHARD_SIZE,
    show: bool,
    batch_tokens: int | None = None,
) -> int:
    """Encode what has no shard yet of the documents at `positions`; returns how many were found encoded.

    A shard is written, in a thread, while the model computes the next one.

    Raises:
        DebaterError: the model gives a document NaN or infinity.

    """
    ranges = [(start, min(start + shard_size, positions.stop)) for start in positions[::shard_size]]
    pending = [
        (number, start, stop)
        for number, (start, stop) in enumerate(ranges)
        if not writer.holds(number, documents.ids(range(start, stop)))
    ]
    left = sum(stop - start for _, start, stop in pending)
    reused = len(positions) - left
    if reused:
        logger.info("%s of %s documents were encoded by an earlier run.", f"{reused:,}", f"{len(positions):,}")
    windows = (documents.read_range(start, stop) for _, start, stop in pending)
    with (
        progress("Encoding", left, "documents", enabled=show and left > 0) as bar,
        ThreadPoolExecutor(1, thread_name_prefix="write") as thread,
    ):
        written: Future[None] | None = None
        encoded = encoder.deliberate_windows(windows, batch_tokens=batch_tokens, progress=bar)
        for (number, start, stop), steps in zip(pending, encoded, strict=True):
            ids = documents.ids(range(start, stop))
            require_finite(steps, ids)
            if written is not None:
                written.result()
            written = thread.submit(writer.write, number, ids, steps if writer.thinking_steps else steps[:, -1])
        if written is not None:
            written.result()
    return reused


def require_finite(embeddings: np.ndarray, ids: Sequence[str]) -> None:
    """Raise DebaterError, naming the document, where a vector holds NaN or infinity."""
    finite = np.isfinite(embeddings).reshape(len(ids), -1).all(axis=1)
    if not finite.all():
        raise DebaterError(
            f"The model gives document {ids[int(finite.argmin())]!r} an embedding that is not finite.",
            "Check the model, or try --device cpu, which computes in fp32; finished shards are kept.",
        )
