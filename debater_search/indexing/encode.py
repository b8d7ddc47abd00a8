"""From stored documents to embedding shards, in this process or in several; shards of an earlier run are kept."""

import logging
from collections.abc import Sequence
from concurrent.futures import Future

from debater_search.encoder.protocol import Calibrating, TextEncoder
from debater_search.indexing.pool import encode_in_workers
from debater_search.indexing.shards import Shards
from debater_search.progress import Progress, progress
from debater_search.store.documents import DocumentStore

logger = logging.getLogger(__name__)

WORTH_CALIBRATING = 2000
"""Documents from which on the two seconds that a calibration takes are likely to come back."""
SAMPLE = 256


def choose_batch_tokens(documents: DocumentStore, positions: range, encoder: TextEncoder) -> int | None:
    """Padded tokens of a forward pass for this job: measured for large ones, the device's default for small ones.

    None for encoders that have no such setting.
    """
    if not isinstance(encoder, Calibrating):
        return None
    if len(positions) < WORTH_CALIBRATING:
        return encoder.batch_tokens
    sample = positions[:: len(positions) // SAMPLE]
    chosen = encoder.calibrate([text for position in sample for text in documents.read_rows(position, position + 1)])
    logger.info("Batches of %s tokens: the fastest here.", f"{chosen:,}")
    return chosen


def encode_shards(shards: Shards, encoder: TextEncoder, *, workers: int = 1, show: bool) -> int:
    """Encode the shards that are missing; returns how many documents were found encoded.

    More than one of `workers` are processes of their own, if there are as many shards; each loads the model.

    Raises:
        DebaterError: the model gives a document NaN or infinity; or a worker died again and again.

    """
    unit = "passages" if shards.documents.split else "documents"
    missing = shards.missing()
    left = sum(len(shards.rows(number)) for number in missing)
    reused = len(shards.positions) - left
    if reused:
        logger.info("%s of %s %s were encoded by an earlier run.", f"{reused:,}", f"{len(shards.positions):,}", unit)
    workers = min(workers, len(missing))
    with progress("Encoding", left, unit, enabled=show and left > 0) as bar:
        if workers > 1:
            encode_in_workers(shards, missing, encoder, workers, bar)
        else:
            _encode_here(shards, missing, encoder, bar)
    return reused


def _encode_here(shards: Shards, numbers: Sequence[int], encoder: TextEncoder, bar: Progress) -> None:
    before: Future[None] | None = None
    for _, writing in shards.encode(numbers, encoder, bar):
        if before is not None:
            before.result()
        before = writing
    if before is not None:
        before.result()
