"""The vectors of an index: from embeddings to a record in its manifest, by way of whichever backend keeps them."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from debater_search.errors import DebaterError, UnavailableError
from debater_search.store.documents import DocumentStore
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.manifest import MANIFEST_NAME, IndexManifest, VectorRecord, read_manifest
from debater_search.store.rows import deleted_rows
from debater_search.vectors import BACKENDS, VectorSettings, backend

logger = logging.getLogger(__name__)


def build_vectors(
    folder: Path, store: EmbeddingStore, settings: VectorSettings, generation: int = 0, *, backend_name: str = "faiss"
) -> VectorRecord:
    """Build the vector index of a store's embeddings in the folder of an index."""
    return backend(backend_name).build(folder, _Chunks(store), store.manifest.dim, settings, generation)


def rebuild_vectors(folder: Path, store: EmbeddingStore, record: VectorRecord, generation: int) -> VectorRecord:
    """Build the vector index of other embeddings as the one of `record` was built."""
    keeper = backend(record.backend)
    return build_vectors(folder, store, keeper.settings(record), generation, backend_name=record.backend)


def extend_vectors(folder: Path, record: VectorRecord, store: EmbeddingStore, generation: int) -> VectorRecord:
    """Add the vectors of a store's embeddings, in order, after those that are there."""
    return backend(record.backend).extend(folder, record, _Chunks(store), generation)


def drop_vectors(folder: Path, record: VectorRecord, rows: np.ndarray, generation: int) -> VectorRecord:
    """Drop the vectors of these rows."""
    return backend(record.backend).drop(folder, record, rows, generation) if len(rows) else record


def remove_superseded(folder: Path, manifest: IndexManifest) -> None:
    """Remove the vectors that `compact` replaced one generation ago; only the writer of an index may."""
    if manifest.superseded is not None:
        backend(manifest.superseded.backend).remove(folder, manifest.superseded)


def remove_vectors(folder: Path) -> None:
    """Remove the vectors of an index whose folder goes, for they may lie elsewhere. An unfinished index has none."""
    try:
        manifest = read_manifest(folder / MANIFEST_NAME, IndexManifest)
    except DebaterError:
        return
    remove_superseded(folder, manifest)
    if manifest.vectors is not None:
        backend(manifest.vectors.backend).remove(folder, manifest.vectors)


def remove_lost(folder: Path) -> None:
    """Remove what killed changes left with the backends, of which no manifest tells."""
    for make in BACKENDS.values():
        make().remove_lost(folder, None)


def forget_vectors(folder: Path) -> None:
    """Remove the vectors of an index that was replaced; a server that does not answer keeps them, which is said."""
    try:
        remove_vectors(folder)
    except UnavailableError as error:
        logger.warning("The vectors of the index before this one were not removed. %s", error)


def unlisted_rows(folder: Path, manifest: IndexManifest) -> np.ndarray:
    """Rows without a document that the vector record does not list as dropped: none but in an index of version 1."""
    if manifest.vectors is None or manifest.vectors.dropped >= manifest.deleted:
        return np.empty(0, np.int64)
    documents = DocumentStore(folder / manifest.documents, manifest.generation)
    try:
        return deleted_rows(documents, manifest.rows)
    finally:
        documents.close()


class _Chunks:
    """The vectors of a store, shard by shard, as often as they are asked for."""

    def __init__(self, store: EmbeddingStore) -> None:
        self._store = store

    def __iter__(self) -> Iterator[np.ndarray]:
        return (shard.vectors for shard in self._store.shards())
