"""One committed state of an index, as its manifest names it."""

import os
from pathlib import Path
from typing import Self

import numpy as np

from debater_search.encoder.protocol import TextEncoder
from debater_search.errors import DebaterError, InvalidError
from debater_search.identity import EncoderInfo, require_same
from debater_search.search.once import once
from debater_search.search.passages import BestPassages, Excluding
from debater_search.search.restrictions import Restriction, Restrictions
from debater_search.store.comparisons import COLUMNS
from debater_search.store.documents import DocumentStore
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.filters import UnknownFieldError
from debater_search.store.folders import open_manifest
from debater_search.store.manifest import MANIFEST_NAME, IndexManifest
from debater_search.store.rows import owners_of
from debater_search.vectors import VectorIndex, backend


class Snapshot:
    """One committed state of an index; many threads may share it. Its files never change.

    Embeddings and vectors are opened by the first query that needs them.
    """

    def __init__(self, folder: Path, manifest: IndexManifest, identity: os.stat_result, device: str = "cpu") -> None:
        self.folder, self.manifest, self._device = folder, manifest, device
        self.documents = DocumentStore(folder / manifest.documents, manifest.generation)
        self._identity = identity
        self._restrictions = Restrictions(self.documents)

    @classmethod
    def open(cls, folder: Path, device: str = "cpu") -> Self:
        """Open the newest state; on `device` "cuda" or "cuda:N" its vectors are searched there, if FAISS can.

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

    @once
    def store(self) -> EmbeddingStore:
        """The embeddings of all rows."""
        return EmbeddingStore.open(*(self.folder / name for name in self.manifest.embeddings))

    @once
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

    @once
    def live(self) -> np.ndarray | None:
        """The positions that have a document, int64, in order; None where all have."""
        return self.documents.live_positions() if self.manifest.deleted else None

    def require_dense(self) -> EncoderInfo:
        """The model that made the embeddings; InvalidError if the index has no embeddings."""
        if self.manifest.encoder is None:
            raise InvalidError(
                f"The index {self.folder} holds words only, no embeddings.",
                "Search it in mode 'lexical', or index the corpus with a model.",
            )
        return self.manifest.encoder

    def require_made_by(self, encoder: TextEncoder) -> None:
        """Raise InvalidError, naming both models, if another one made the embeddings."""
        require_same(encoder, self.require_dense(), self.folder)

    def restriction(self, where: str) -> Restriction:
        """The documents that a filter allows; the last filters are cached.

        Raises:
            InvalidError: the filter is wrong.
            MissingError: no document has a field that it names.

        """
        try:
            return self._restrictions.get(where)
        except UnknownFieldError as error:
            for role, columns in self.manifest.corpus.columns.items():
                if role in COLUMNS and error.field in columns:
                    error.hint = f"The column {error.field} is the {role} of the documents: write {role}."
            raise

    def require_steps(self) -> None:
        """Raise DebaterError if the index holds no thinking steps to rescore by."""
        self.require_dense()
        self.store.require_steps()

    def warm_up(self, other: "Snapshot") -> None:
        """Open the vectors if `other` has them open, so that the next query need not wait for them."""
        if "vectors" in vars(other) and self.manifest.vectors is not None:
            _ = self.vectors


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
