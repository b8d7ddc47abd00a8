"""From stored documents to embedding shards; shards that an earlier run finished are kept."""

import logging
from typing import TYPE_CHECKING

import numpy as np

from debater_search.errors import DebaterError
from debater_search.progress import progress
from debater_search.store.documents import DocumentStore
from debater_search.store.embeddings import EmbeddingWriter
from debater_search.types import Document

if TYPE_CHECKING:
    from debater_search.encoder import Encoder

logger = logging.getLogger(__name__)

SHARD_SIZE = 1000  # documents; what a kill costs


def encode_shards(
    documents: DocumentStore,
    positions: range,
    encoder: "Encoder",
    writer: EmbeddingWriter,
    *,
    shard_size: int = SHARD_SIZE,
    show: bool,
) -> int:
    """Encode what has no shard yet of the documents at `positions`; returns how many were found encoded.

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
    with progress("Encoding", left, "documents", enabled=show and left > 0) as bar:
        for number, start, stop in pending:
            batch = documents.read_range(start, stop)
            encode = encoder.deliberate if writer.thinking_steps else encoder.encode_documents
            embeddings = encode(batch, progress=bar)
            require_finite(embeddings, batch)
            writer.write(number, [document.id for document in batch], embeddings)
    return reused


def require_finite(embeddings: np.ndarray, documents: list[Document]) -> None:
    """Raise DebaterError, naming the document, where a vector holds NaN or infinity."""
    finite = np.isfinite(embeddings).reshape(len(documents), -1).all(axis=1)
    if not finite.all():
        raise DebaterError(
            f"The model gives document {documents[int(finite.argmin())].id!r} an embedding that is not finite.",
            "Check the model, or try --device cpu, which computes in fp32; finished shards are kept.",
        )
