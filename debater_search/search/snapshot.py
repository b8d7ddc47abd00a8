"""One committed state of an index, as its manifest names it."""

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from debater_search.errors import DebaterError
from debater_search.search.filters import parse_filter, require_fields
from debater_search.search.retrieval import BestPassages, Excluding
from debater_search.store.documents import DocumentStore
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.folders import open_manifest
from debater_search.store.manifest import MANIFEST_NAME, EncoderInfo, IndexManifest
from debater_search.store.rows import owners_of
from debater_search.vectors import VectorIndex, backend

if TYPE_CHECKING:
    from debater_search.encoder import Encoder


class Snapshot:
    """What an index holds by one manifest. None of its files ever changes: who holds it sees no half of a change."""

    def __init__(self, folder: Path, manifest: IndexManifest, identity: os.stat_result, device: str = "cpu") -> None:
        self.folder, self.manifest, self._device = folder, manifest, device
        self.documents = DocumentStore(folder / manifest.documents, manifest.generation)
        self._identity = identity
        self._restriction: Restriction | None = None

    @classmethod
    def open(cls, folder: Path, device: str = "cpu") -> Self:
        """The index as it is now; on `device` "cuda" or "cuda:N" its vectors are searched there, where FAISS can.

        Raises:
            DebaterError: there is no such index, or it is unfinished or damaged.

        """
        while True:
            identity = _identity(folder)
            try:
                manifest = open_manifest(folder)
                # A writer may have committed since `identity` was taken: then the next query opens once more, no harm.
                return cls(folder, manifest, identity or (folder / MANIFEST_NAME).stat(), device)
            except (DebaterError, FileNotFoundError):
                if _same(_identity(folder), identity):  # else a writer removed what an older manifest names
                    raise

    def is_current(self) -> bool:
        """Whether no change was committed since; also while `index --force` has moved the folder away for a moment."""
        now = _identity(self.folder)
        return now is None or _same(now, self._identity)

    @cached_property
    def store(self) -> EmbeddingStore:
        """The embeddings of all rows."""
        return EmbeddingStore.open(*(self.folder / name for name in self.manifest.embeddings))

    @cached_property
    def vectors(self) -> VectorIndex:
        """The index that dense retrieval searches; it finds documents only, deleted ones never."""
        record, rows = self.manifest.vectors, self.manifest.rows
        assert record is not None  # `require_dense` comes first
        index = backend(record.backend).open(self.folder, record, self._device)
        owners = None
        if self.documents.split or record.dropped < self.manifest.deleted:
            owners = owners_of(self.documents, rows)
        if owners is not None and record.dropped < self.manifest.deleted:  # made before records listed what was dropped
            index = Excluding(index, np.flatnonzero(owners < 0))
        return BestPassages(index, owners) if owners is not None and self.documents.split else index

    @cached_property
    def live(self) -> np.ndarray | None:
        """The positions that have a document, int64, in order; None where all have."""
        return np.array(self.documents.positions_where(), np.int64) if self.manifest.deleted else None

    def require_dense(self) -> EncoderInfo:
        """What made the embeddings; DebaterError where there are none."""
        if self.manifest.encoder is None:
            raise DebaterError(
                f"The index {self.folder} holds words only, no embeddings.",
                "Search it with --mode lexical, or index the corpus with a model.",
            )
        return self.manifest.encoder

    def require_made_by(self, encoder: "Encoder") -> None:
        """Raise DebaterError, naming both, where another encoder made the embeddings."""
        made_by = self.require_dense()
        if encoder.fingerprint != made_by.fingerprint:
            raise DebaterError(
                f"The index {self.folder} was made by {made_by}, not by {EncoderInfo.of(encoder)}.",
                "Search it with the model that made it, or index the corpus again with this one.",
            )

    def check(self, where: str | None, *, rescore: bool) -> None:
        """Raise DebaterError for a filter that this index cannot follow, or where it has no steps to rescore by."""
        if where is not None:
            self.restriction(where)
        if rescore:
            self.require_dense()
            self.store.require_steps()

    def restriction(self, where: str) -> "Restriction":
        """What a filter allows; the last one is kept, for queries come one after the other under the same filter.

        Raises:
            DebaterError: the filter is wrong, or names a field that no document has.

        """
        restriction = self._restriction
        if restriction is None or restriction.where != where:
            self._restriction = restriction = Restriction(where, self.documents)
        return restriction


class Restriction:
    """A filter over the documents of a snapshot."""

    def __init__(self, where: str, documents: DocumentStore) -> None:
        tree, fields = parse_filter(where)
        require_fields(fields, documents)
        self.where, self.condition, self._documents = where, tree.condition(), documents

    @cached_property
    def positions(self) -> np.ndarray:
        """The positions of the documents that pass, int64, in order."""
        return np.array(self._documents.positions_where(self.condition), np.int64)


def _identity(folder: Path) -> os.stat_result | None:
    try:
        return (folder / MANIFEST_NAME).stat()
    except OSError:
        return None


def _same(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    """Whether a manifest is the one it was: every commit makes a new file."""
    if one is None or other is None:
        return one is other
    return (one.st_dev, one.st_ino, one.st_mtime_ns, one.st_size) == (
        other.st_dev,
        other.st_ino,
        other.st_mtime_ns,
        other.st_size,
    )
