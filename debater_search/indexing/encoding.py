"""The second call of building: documents → embedding shards. Shards of an earlier run of the same job are kept."""

import logging
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import get_args

from debater_search.coerce import require_whole
from debater_search.encoder.protocol import Calibrating, TextEncoder, Tokenizing, require_encoder
from debater_search.errors import InvalidError
from debater_search.identity import EncoderInfo
from debater_search.indexing.engines import LOCAL, RAY, check_engine, find_engine
from debater_search.indexing.output import claim, claim_place
from debater_search.indexing.tasks import EncodingTask, tasks_of
from debater_search.progress import Progress, progress
from debater_search.store.embedding_writer import EmbeddingWriter
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.manifest import (
    JOB_NAME,
    CorpusInfo,
    DType,
    EncodingJob,
    PassageSettings,
    ShardInfo,
    manifest_bytes,
)
from debater_search.store.places import Folder, ObjectStore, place_at
from debater_search.types import Document

logger = logging.getLogger(__name__)

SHARD_SIZE = 1000
"""Texts in a shard: as many as a kill costs."""
WORTH_CALIBRATING = 2000
"""Texts from which on the two seconds of a calibration are likely to pay."""
SAMPLE = 256


@dataclass(frozen=True)
class EncodingSettings:
    """What shards hold (number type, every thinking step, size, passages), and where they are made."""

    dtype: DType = "float32"
    all_steps: bool = False
    shard_size: int = SHARD_SIZE
    passages: PassageSettings | None = None
    workers: int = 1
    engine: str = LOCAL
    ray_address: str | None = None

    def check(self) -> None:
        """Raise InvalidError for a value that there is not."""
        require_whole(self.shard_size, "shard_size")
        require_whole(self.workers, "workers")
        if self.shard_size < 1:
            raise InvalidError(f"A shard cannot hold {self.shard_size} documents.", "Use a `shard_size` of 1 or more.")
        if self.workers < 1:
            raise InvalidError(f"{self.workers} workers cannot encode.", "Use 1 or more `workers`.")
        if self.dtype not in get_args(DType):
            raise InvalidError(
                f"Embeddings cannot be stored as {self.dtype!r}.", f"Types: {', '.join(get_args(DType))}."
            )
        if self.ray_address is not None and self.engine != RAY:
            raise InvalidError("`ray_address` has no effect without the engine ray.", "Use `engine` ray too.")
        check_engine(self.engine, self.ray_address)

    def job(self, encoder: EncoderInfo, corpus: CorpusInfo) -> EncodingJob:
        """What makes two runs the same: only such a run adds to the shards of the other."""
        return EncodingJob(
            encoder=encoder.fingerprint,
            corpus=corpus.fingerprint,
            dtype=self.dtype,
            all_steps=self.all_steps,
            shard_size=self.shard_size,
            passages=self.passages,
            int8=encoder.int8,
        )


@dataclass(frozen=True)
class Encoded:
    """Finished embeddings; `reused` counts the texts that an earlier run had encoded.

    `note` says how many of the others fill all that the model reads; it is empty if there are none.
    """

    store: EmbeddingStore
    reused: int
    note: str = ""

    def tell(self) -> None:
        """Log the note, if there is one."""
        if self.note:
            logger.info("%s", self.note)


def encode(
    documents: Iterable[Document],
    encoder: TextEncoder,
    folder: str | Path | ObjectStore,
    corpus: CorpusInfo,
    settings: EncodingSettings = EncodingSettings(),
    *,
    force: bool = False,
    progress: bool = False,
) -> Encoded:
    """Encode documents, from memory, a reader or a database, into shards in `folder`; nothing else is written.

    `corpus` says which documents they are: killed and called again with the same corpus, encoder and settings, it
    resumes. The documents are read once, in order, a shard at a time. `force` removes shards of another job.

    Raises:
        InvalidError: a setting has no such value; the folder holds shards of another job (without `force`); or the
            model gives a document NaN or infinity.
        UnavailableError: a worker died again and again.

    Examples:
        >>> from debater_search.indexing import encode, store_documents
        >>> stored = store_documents("notes.jsonl", "indexes/two-calls")
        >>> with stored.opened() as documents:
        ...     encode(documents, encoder, "indexes/two-calls/embeddings", stored.corpus).store.manifest.dim
        384
    """
    require_encoder(encoder)
    settings.check()
    info = EncoderInfo.of(encoder)
    place = place_at(folder)
    wanted = settings.job(info, corpus)
    if isinstance(place, Folder):
        job = claim(place.path, wanted, force=force) or wanted
    else:
        job = claim_place(place, wanted, force=force)
    if job.batch_tokens is None:
        job.batch_tokens = choose_batch_tokens(documents, encoder)
        with place.writing(JOB_NAME) as file:
            file.write(manifest_bytes(job))
    steps = encoder.thinking_steps if settings.all_steps else 0
    writer = EmbeddingWriter(place, encoder.dim, dtype=settings.dtype, thinking_steps=steps)
    run = _Run(documents, writer, settings)
    run.encode(encoder, job.batch_tokens, show=progress)
    store = writer.finish([run.shards[number] for number in range(len(run.shards))], info, corpus, settings.passages)
    return Encoded(store, run.reused, run.note(encoder))


def choose_batch_tokens(documents: Iterable[Document], encoder: TextEncoder) -> int | None:
    """Padded tokens of a forward pass for these documents; None if the encoder has no such setting.

    Measured on a sample of many documents; the device's default for few, or if their number is unknown.
    """
    if not isinstance(encoder, Calibrating):
        return None
    if not isinstance(documents, Sequence) or len(documents) < WORTH_CALIBRATING:
        return encoder.batch_tokens
    chosen = encoder.calibrate(documents[:: len(documents) // SAMPLE])
    logger.info("Batches of %s tokens are the fastest here.", f"{chosen:,}")
    return chosen


class _Run:
    """One pass over the documents: shards that exist are kept, the others become tasks."""

    def __init__(self, documents: Iterable[Document], writer: EmbeddingWriter, settings: EncodingSettings) -> None:
        self._documents, self._writer, self._settings = documents, writer, settings
        self._unit = "passages" if settings.passages else "documents"
        self._bar: Progress | None = None
        self.shards: dict[int, ShardInfo] = {}
        self.reused = 0

    def encode(self, encoder: TextEncoder, batch_tokens: int | None, *, show: bool) -> None:
        """Execute the tasks of the missing shards, by as many workers as there are tasks for."""
        tasks = self._tasks()
        first = list(islice(tasks, self._settings.workers))
        total = len(self._documents) if isinstance(self._documents, Sized) else None
        if self.reused:
            of = "" if total is None else f" of {total:,}"
            logger.info("Resuming: %s%s %s are encoded already.", f"{self.reused:,}", of, self._unit)
        if not first:
            return
        if len(first) < self._settings.workers:
            logger.info(
                "%d of %d workers have work: it is cut into shards of %s %s. A smaller `shard_size` makes more.",
                len(first), self._settings.workers, f"{self._settings.shard_size:,}", self._unit,
            )  # fmt: skip
        engine = find_engine(self._settings.engine, len(first), self._settings.ray_address)
        left = None if total is None else total - self.reused
        with progress("Encoding", left, self._unit, enabled=show) as self._bar:
            made = engine(
                chain(first, tasks),
                encoder,
                self._writer,
                workers=len(first),
                batch_tokens=batch_tokens,
                progress=self._bar,
            )
            with closing(made):
                for shard in made:
                    self.shards[shard.number] = shard.info

    def note(self, encoder: TextEncoder) -> str:
        """What to say of texts that the model does not read to their end; nothing where its length is unknown.

        A worker that dies may have counted texts that another one counts again.
        """
        if self._bar is None or not self._bar.filled or self._settings.passages or not isinstance(encoder, Tokenizing):
            return ""
        limit, filled = encoder.document_length, self._bar.filled
        return (
            f"Texts that fill all {limit:,} tokens that the model reads: {filled:,} of {self._bar.done:,}. Their "
            f"vectors leave out the rest; an index with `passages` {min(limit, 200)} holds all of each text."
        )

    def _tasks(self) -> Iterator[EncodingTask]:
        for task in tasks_of(self._documents, self._settings.shard_size):
            found = self._writer.find(task.number, task.ids)
            if found is None:
                yield task
            else:
                self._keep(task.number, found)

    def _keep(self, number: int, shard: ShardInfo) -> None:
        self.shards[number] = shard
        self.reused += shard.rows
        if self._bar is not None and self._bar.total is not None:
            self._bar.total -= shard.rows
