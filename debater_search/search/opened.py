"""An open index: its newest state, its model, and the parts of both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from debater_search.coerce import require_whole
from debater_search.encoder.protocol import TextEncoder, require_encoder
from debater_search.errors import MissingError
from debater_search.inputs import as_ids
from debater_search.search.latest import LatestSnapshot
from debater_search.search.marks import QueryMarks
from debater_search.search.model import QueryModel
from debater_search.search.ranking import Ranker
from debater_search.search.request import Request, Rescore
from debater_search.search.snapshot import Snapshot
from debater_search.store.documents import DocumentStore
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.folders import index_folder
from debater_search.store.manifest import IndexManifest
from debater_search.types import Document, DocumentPage
from debater_search.vectors import VectorIndex


class OpenIndex:
    """What `SearchEngine` answers from. Model and vectors are loaded by the first query that needs them.

    `manifest`, `documents`, `store`, `vectors` and `live` belong to the state that was opened last.
    """

    def __init__(self, folder: str | Path, encoder: TextEncoder | None = None, *, follow: bool = True) -> None:
        require_encoder(encoder)
        self.folder = index_folder(folder)
        self._model = QueryModel(encoder)
        self._latest = LatestSnapshot(self.folder, self._model.device, self._model.check, follow=follow)

    @classmethod
    def open(cls, folder: str | Path, *, encoder: TextEncoder | None = None, follow: bool = True) -> Self:
        """Open an index, with its own encoder (loaded when needed) or with one that is loaded already.

        `folder` is its folder, or its name in `indexes/`.
        If that one is on a GPU ("cuda:N", or "cuda" for all), the vectors are searched there too, if FAISS can.
        Without `follow` a query does not look for changes: `refresh` does, so that no query waits for one.

        Raises:
            DebaterError: there is no such index, it is unfinished or damaged, or another model made it.

        Examples:
            >>> with SearchEngine.open("indexes/notes") as engine:
            ...     engine.search("heat", k=1)[0].title
            'Heat'
        """
        return cls(folder, encoder, follow=follow)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        """Folder, number of documents and model, without loading anything."""
        made_by = self.manifest.encoder
        model = f"model {made_by.name!r}" if made_by else "words only"
        return f"{type(self).__name__}({str(self.folder)!r}, {self.manifest.corpus.documents:,} documents, {model})"

    def __len__(self) -> int:
        """The number of documents, by the manifest."""
        return self.manifest.corpus.documents

    def get(self, id: str | int) -> Document:
        """The document of this id: title, text and metadata.

        Raises:
            MissingError: there is no such document.

        Examples:
            >>> engine.get("heat").title, len(engine)
            ('Heat', 3)
        """
        [wanted] = as_ids([id], "id")
        document = self._latest.run(lambda snapshot: snapshot.documents.find(wanted))
        if document is None:
            raise MissingError(f"There is no document {wanted!r} in {self.folder}.", "Hits show the ids of documents.")
        return document

    def browse(self, where: str | None = None, k: int = 10, *, offset: int = 0) -> DocumentPage:
        """The first k documents that a filter allows, after `offset` others: no query, no ranking, no model.

        They come in the order in which they were added. Without a filter these are all documents.

        Raises:
            InvalidError: the filter is wrong, k < 1 or offset < 0.
            MissingError: no document has a field that the filter names.

        Examples:
            >>> page = engine.browse("year >= 1960", k=5)
            >>> [document.id for document in page.documents], page.total
            (['heat'], 1)
        """
        k = Request(k, where=where).k
        require_whole(offset, "offset", 0)

        def read(snapshot: Snapshot) -> DocumentPage:
            with snapshot.documents.reading():
                restriction = None if where is None else snapshot.restriction(where)
                positions = (
                    snapshot.documents.live_positions() if restriction is None else restriction.selection.positions
                )
                found = snapshot.documents.read(positions[int(offset) :][:k].tolist())
            notes = () if restriction is None else restriction.notes
            return DocumentPage(found, len(positions), snapshot.manifest.generation, notes)

        return self._latest.run(read)

    def facets(self, fields: Sequence[str], where: str | None = None, *, values: int = 10) -> dict[str, Any]:
        """Count the values of fields among all documents, or those that a filter allows, as `indexing.facets` does.

        Examples:
            >>> engine.facets(["year"])["fields"][0]["max"]
            1962
        """
        from debater_search.indexing.description import facets_in

        return self._latest.run(lambda snapshot: facets_in(snapshot.documents, self.folder, fields, where, values))

    def check(self, *, where: str | None = None, rescore: Rescore | None = None) -> None:
        """Raise DebaterError, before anything is loaded, for a filter or a rescoring that this index cannot follow.

        Examples:
            >>> engine.check(where="year >= 1950")  # the index can follow this filter
        """
        request = Request(where=where, rescore=rescore)
        self._latest.run(lambda snapshot: Ranker(snapshot, request))

    def warm_up(self, *, model: bool = True, queries: int | None = None) -> None:
        """Load the model, unless `model` is False, and the vectors, so that no query waits for them.

        `queries` is how many come at a time, None for many. For a few, as on a command line, small models are loaded
        without torch, whose import takes longer than they do. The vectors are those of the newest state, also where
        changes are committed meanwhile.

        Raises:
            DebaterError: the index has no embeddings; the model or a file of the vectors cannot be loaded.

        Examples:
            >>> engine.warm_up()  # the next query loads nothing
        """
        if queries is not None:
            require_whole(queries, "queries", 1)
        if model:  # before the vectors: on CUDA torch must be imported before faiss
            self._latest.run(lambda snapshot: self._model.for_queries(snapshot, queries))
        self._latest.run(lambda snapshot: snapshot.require_dense() and snapshot.vectors)

    def refresh(self) -> None:
        """Open the newest state if a change was committed, while queries go on with the one before.

        Raises:
            DebaterError: the index is gone or damaged, or another model than the one given made its newest state.

        Examples:
            >>> engine = SearchEngine.open("indexes/notes", follow=False)
            >>> change = engine.delete("heat")
            >>> engine.refresh()  # also after changes by other processes
            >>> engine.manifest.corpus.documents
            2
        """
        self._latest.refresh()

    def marks(self, query: str) -> QueryMarks:
        """What finds the words of a query in texts, by the rules of this index.

        Examples:
            >>> engine.marks("heat").spans("Heat flows.")
            [(0, 4)]
        """
        return QueryMarks(query, self.documents.language)

    def close(self) -> None:
        """Close the index's files; a query of a closed engine raises InvalidError."""
        self._latest.close()

    @property
    def manifest(self) -> IndexManifest:
        """What the index is."""
        return self._snapshot.manifest

    @property
    def documents(self) -> DocumentStore:
        """The documents and their lexical index."""
        self._latest.require_open()
        return self._snapshot.documents

    @property
    def store(self) -> EmbeddingStore:
        """The embeddings of every position; `live` says which of them have a document."""
        self._snapshot.require_dense()
        return self._snapshot.store

    @property
    def live(self) -> np.ndarray | None:
        """The positions that have a document, int64, in order; None if all have."""
        return self._snapshot.live

    @property
    def vectors(self) -> VectorIndex:
        """The index that dense retrieval searches."""
        self._snapshot.require_dense()
        return self._snapshot.vectors

    @property
    def encoder(self) -> TextEncoder:
        """The model that made the index, loaded if it is not yet.

        Raises:
            DebaterError: it cannot be loaded from where it was, or has changed.

        """
        return self._model.of(self._snapshot)

    @property
    def _snapshot(self) -> Snapshot:
        return self._latest.last
