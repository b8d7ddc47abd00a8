"""Fold what was added to an index and what was deleted from it into a new base."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from debater_search.errors import DamagedError
from debater_search.files import atomic
from debater_search.indexing.encoding import SHARD_SIZE
from debater_search.indexing.vectors import rebuild_vectors, remove_superseded
from debater_search.notebook import table
from debater_search.progress import progress as show_progress
from debater_search.store.corpus import write_documents
from debater_search.store.documents import DocumentStore
from debater_search.store.embedding_writer import EmbeddingWriter
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.folders import require_undamaged
from debater_search.store.generations import changing, documents_name, embeddings_name
from debater_search.store.lexical import language_of
from debater_search.store.manifest import (
    EMBEDDINGS_NAME,
    INDEX_SCHEMA_VERSION,
    MANIFEST_NAME,
    MEND,
    IndexManifest,
    ShardInfo,
    VectorRecord,
    write_manifest,
)


@dataclass
class Compaction:
    """What `compact` did: how many added documents it folded in, and how many deleted rows it dropped.

    `converted` says that the documents had an earlier layout.
    """

    folder: Path
    generation: int
    documents: int
    folded: int
    dropped: int
    converted: bool

    def __repr__(self) -> str:
        """Folder, number of documents, what was folded in and dropped, and the generation."""
        return (
            f"Compaction({str(self.folder)!r}, {self.documents:,} documents: {self.folded:,} folded in, "
            f"{self.dropped:,} dropped, generation {self.generation})"
        )

    def _repr_html_(self) -> str:
        counts = (self.documents, self.folded, self.dropped, self.generation)
        columns = ("folder", "documents", "folded in", "dropped", "generation")
        return table(columns, [(str(self.folder), *(f"{count:,}" for count in counts))])


def compact(folder: str | Path, *, wait: float = 0, progress: bool = False) -> Compaction:
    """Make one base of an index's base, additions and deletions. Nothing is encoded; ids and vectors stay the same.

    A documents' database of an earlier layout becomes one of today, with its table of fields. `wait` is for how many
    seconds another writer is waited for, `math.inf` for as long as it takes.

    Raises:
        DebaterError: there is no such index, it is damaged, or another writer is at work. It is as it was.

    Examples:
        >>> from debater_search.indexing import compact, delete
        >>> change = delete("indexes/notes", "heat")
        >>> compact("indexes/notes").dropped
        1
    """
    folder = Path(folder)
    with changing(folder, wait=wait) as before:
        folded, dropped = before.vectors.added if before.vectors else 0, before.deleted
        remove_superseded(folder, before)
        after = before.model_copy(deep=True)
        after.superseded, after.schema_version = None, INDEX_SCHEMA_VERSION
        documents = DocumentStore(folder / before.documents, before.generation)
        converted = not documents.has_field_table
        if folded or dropped or converted:
            after.generation += 1
            after.documents, after.deleted = documents_name(after.generation), 0
            if before.content is None:
                require_undamaged(folder / before.documents, before)
            with atomic(folder / after.documents) as temporary:
                written = write_documents(
                    temporary,
                    documents.sound_documents(),
                    documents.spans if documents.split else None,
                    generation=after.generation,
                    language=language_of(documents.language.name),
                )
            after.corpus.documents, after.corpus.fingerprint = written.documents, written.fingerprint
            after.content = written.content
            if before.vectors is not None and (folded or dropped):
                after.superseded = before.vectors
                after.vectors = _rewrite_embeddings(folder, before, after, before.vectors, documents, progress)
            after.files = {}
            write_manifest(folder / MANIFEST_NAME, after)
        documents.close()
        return Compaction(folder, after.generation, after.corpus.documents, folded, dropped, converted)


def _rewrite_embeddings(
    folder: Path,
    before: IndexManifest,
    after: IndexManifest,
    record: VectorRecord,
    documents: DocumentStore,
    show: bool,
) -> VectorRecord:
    """Write the rows that still have a document into new shards, and index them as the base was indexed."""
    assert after.encoder is not None
    store = EmbeddingStore.open(*(folder / name for name in before.embeddings))
    after.embeddings = [embeddings_name(after.generation)]
    place = folder / after.embeddings[0]
    shutil.rmtree(place, ignore_errors=True)  # a killed change of other texts may have left shards under this name
    writer = EmbeddingWriter(
        place,
        store.manifest.dim,
        dtype=store.manifest.dtype,
        thinking_steps=store.manifest.thinking_steps,
    )
    made: list[ShardInfo] = []
    with show_progress("Compacting", len(store) - before.deleted, "rows", enabled=show) as bar:
        for ids, vectors in _full_shards(_live_rows(store, documents)):
            made.append(writer.write(len(made), ids, vectors))
            bar.advance(len(ids))
    shards = writer.finish(made, after.encoder, after.corpus, store.manifest.passages)
    return rebuild_vectors(folder, shards, record, after.generation)


Rows = tuple[list[str], np.ndarray]
"""Ids, and as many vectors [n, dim] or thinking steps [n, steps, dim]."""


def _live_rows(store: EmbeddingStore, documents: DocumentStore) -> Iterator[Rows]:
    """The rows that still have a document, shard by shard."""
    positions = np.array([position for position, _ in documents.rows()], np.int64)
    start = 0
    for shard in store.shards():
        here = positions[np.searchsorted(positions, start) : np.searchsorted(positions, start + len(shard.ids))]
        ids = [shard.ids[position - start] for position in here]
        if ids != documents.row_ids(start, start + len(shard.ids)):
            raise DamagedError(f"The ids of {EMBEDDINGS_NAME} and documents are not the same.", MEND)
        yield ids, (shard.vectors if shard.steps is None else shard.steps)[here - start]
        start += len(shard.ids)


def _full_shards(pieces: Iterator[Rows]) -> Iterator[Rows]:
    """The same rows in pieces of SHARD_SIZE; the last may be shorter."""
    ids: list[str] = []
    parts: list[np.ndarray] = []
    for more, vectors in pieces:
        ids, parts = ids + more, [*parts, vectors]
        while len(ids) >= SHARD_SIZE:
            rows = np.concatenate(parts)
            yield ids[:SHARD_SIZE], rows[:SHARD_SIZE]
            ids, parts = ids[SHARD_SIZE:], [rows[SHARD_SIZE:]]
    if ids:
        yield ids, np.concatenate(parts)
