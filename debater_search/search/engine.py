"""SearchEngine: opens an index and answers queries. It only reads, and each query reads one committed state."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import numpy as np

from debater_search.coerce import as_queries, as_texts
from debater_search.errors import DebaterError
from debater_search.search.answer import Asked, Found, explanations, rank, read_hits
from debater_search.search.request import EQUAL, Mode, Request, Rescore, Weights, require_texts, require_vectors
from debater_search.search.retrieval import Vectors
from debater_search.search.snapshot import Snapshot
from debater_search.store.documents import DocumentStore
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.manifest import IndexManifest
from debater_search.types import Hit, Query, Run

if TYPE_CHECKING:
    from debater_search.encoder import Encoder

T = TypeVar("T")


class SearchEngine:
    """An open index. The encoder and the vectors are loaded by the first query that needs them.

    Each query sees the last change that was committed before it. `manifest` says what the index is, `documents`,
    `store` and `vectors` give its documents and embeddings, all as the last query saw them; `timings` are the seconds
    that it took to encode, to retrieve and to fetch.
    """

    def __init__(self, folder: Path, snapshot: Snapshot, encoder: "Encoder | None" = None) -> None:
        self.folder, self._snapshot = folder, snapshot
        self.timings: dict[str, float] = {}
        self._given = encoder
        if encoder is not None:
            snapshot.require_made_by(encoder)
            self.encoder = encoder

    @classmethod
    def open(cls, folder: str | Path, *, encoder: "Encoder | None" = None) -> Self:
        """Open an index, with its own encoder (loaded when needed) or with one that is loaded already.

        Where that one is on a GPU ("cuda:N", or "cuda" for all), the vectors are searched there too, if FAISS can.

        Raises:
            DebaterError: there is no such index, it is unfinished or damaged, or another model made it.

        """
        folder = Path(folder)
        return cls(folder, Snapshot.open(folder, _device(encoder)), encoder)

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        mode: Mode = "dense",
        instruction: str | None = None,
        where: str | None = None,
        rescore: Rescore | None = None,
        weights: Weights = EQUAL,
        explain: bool = False,
    ) -> list[Hit]:
        """The k best documents for a query; all that match where there are fewer.

        `instruction` None is the model's own default, "" none. `where` is a filter over the documents' metadata, id and
        title, such as `year >= 2020 and venue in ('ACL', 'SIGIR')`: only documents that pass it are ranked, exactly.
        `rescore` orders the 100 (or k, if more) nearest documents anew by the best ("max") or the "mean" cosine of
        their stored thinking steps. `weights` are those of the dense and the lexical ranking in hybrid mode. With
        `explain` each hit says why it is one: `Hit.explanation`.

        Raises:
            DebaterError: the query is empty, k < 1, the filter is wrong or names a field that no document has, a
                weight is not above 0, or the index has no embeddings for this mode, or no steps to rescore by.

        """
        request = Request(k, mode, where, rescore, weights)
        [query] = as_texts([query], "query")
        require_texts([query])

        def hits(snapshot: Snapshot) -> list[Hit]:
            found, asked = self._rank(snapshot, request, [query], lambda: self._encode(snapshot, [query], instruction))
            return self._hits(snapshot, request, asked, found[0], explain)

        return self._on_one_state(hits)

    def more_like(
        self,
        id: str,
        k: int = 10,
        *,
        mode: Mode = "dense",
        where: str | None = None,
        rescore: Rescore | None = None,
        weights: Weights = EQUAL,
        explain: bool = False,
    ) -> list[Hit]:
        """The k documents most like one of the index, which is not among them; by its stored vector, without a model.

        In the other modes title and text are the query.

        Raises:
            DebaterError: there is no document of this id; else as `search`.

        """
        request = Request(k, mode, where, rescore, weights)

        def hits(snapshot: Snapshot) -> list[Hit]:
            position = snapshot.documents.positions([id]).get(id)
            if position is None:
                raise DebaterError(f"There is no document {id!r} in {self.folder}.", "Hits show the ids there are.")
            (document,) = snapshot.documents.read([position])
            found, asked = self._rank(
                snapshot, request, [document.content], lambda: self._stored(snapshot, position), but=position
            )
            return self._hits(snapshot, request, asked, found[0], explain)

        return self._on_one_state(hits)

    def search_batch(
        self,
        queries: Sequence[Query] | Sequence[str],
        k: int = 10,
        *,
        mode: Mode = "dense",
        instruction: str | None = None,
        where: str | None = None,
        rescore: Rescore | None = None,
        weights: Weights = EQUAL,
        vectors: np.ndarray | None = None,
    ) -> Run:
        """Answer many queries at once: {query id: {document id: score}}, best first; plain strings count "0", "1", ….

        A query without hits has an empty entry. `vectors`, float32 [queries, dim], are the queries encoded already.

        Raises:
            DebaterError: as `search`; or `vectors` are not [queries, dim], or not finite.

        """
        asked = as_queries(queries)
        texts = [query.text for query in asked]
        request = Request(k, mode, where, rescore, weights)
        require_texts(texts)

        def run(snapshot: Snapshot) -> Run:
            rankings, _ = self._rank(
                snapshot, request, texts, lambda: self._encode(snapshot, texts, instruction, vectors)
            )
            with self._timed("fetch"):
                positions = sorted({position for found in rankings for position, _ in found.best})
                ids = dict(zip(positions, snapshot.documents.ids(positions), strict=True))
                return {
                    query.id: {ids[position]: score for position, score in found.best}
                    for query, found in zip(asked, rankings, strict=True)
                }

        return self._on_one_state(run)

    def check(self, *, where: str | None = None, rescore: Rescore | None = None) -> None:
        """Raise DebaterError, before anything is loaded, for what this index cannot filter or rescore by."""
        self._current().check(where, rescore=rescore is not None)

    def close(self) -> None:
        """Close the index's files."""
        self._snapshot.documents.close()

    @property
    def manifest(self) -> IndexManifest:
        """What the index is."""
        return self._snapshot.manifest

    @property
    def documents(self) -> DocumentStore:
        """The documents and their lexical index."""
        return self._snapshot.documents

    @property
    def store(self) -> EmbeddingStore:
        """The embeddings of every position; `live` says which of them have a document."""
        self._snapshot.require_dense()
        return self._snapshot.store

    @property
    def live(self) -> np.ndarray | None:
        """The positions that have a document, int64, in order; None where all have."""
        return self._snapshot.live

    @property
    def vectors(self) -> Vectors:
        """The index that dense retrieval searches."""
        self._snapshot.require_dense()
        return self._snapshot.vectors

    @cached_property
    def encoder(self) -> "Encoder":
        """The model that made the index.

        Raises:
            DebaterError: it cannot be loaded from where it was, or is another one now.

        """
        from debater_search.encoder import Encoder

        made_by = self._snapshot.require_dense()
        try:
            encoder = Encoder.load(**made_by.recipe)
        except DebaterError as error:
            raise DebaterError(
                f"The model of the index {self.folder} cannot be loaded. {error.message}",
                "If it lies elsewhere now, name it with --model.",
            ) from error
        self._snapshot.require_made_by(encoder)
        return encoder

    def _on_one_state(self, work: Callable[[Snapshot], T]) -> T:
        """The work done on one committed state of the index."""
        while True:
            snapshot = self._current()
            try:
                return work(snapshot)
            except DebaterError:
                if snapshot.is_current():  # else files that were not open yet may have gone with a change: once more
                    raise

    def _rank(
        self,
        snapshot: Snapshot,
        request: Request,
        texts: Sequence[str],
        vectors: Callable[[], np.ndarray],
        *,
        but: int | None = None,
    ) -> tuple[list[Found], Asked]:
        """What is found for each text, and what was asked; `vectors` [q, dim] are made only if the mode needs them."""
        self.timings = {"encode": 0.0, "retrieve": 0.0, "fetch": 0.0}
        snapshot.check(request.where, rescore=request.rescore is not None)
        encoded = None
        if request.mode != "lexical":
            snapshot.require_dense()
            encoded = vectors()
            _ = snapshot.vectors  # opened before time is taken
        asked = Asked(texts, encoded, but)
        with self._timed("retrieve"):
            return rank(snapshot, request, asked), asked

    def _hits(self, snapshot: Snapshot, request: Request, asked: Asked, found: Found, explained: bool) -> list[Hit]:
        with self._timed("fetch"):
            hits = read_hits(snapshot, asked, found)
        if not explained:
            return hits
        reasons = explanations(snapshot, request, asked, found)
        return [replace(hit, explanation=reason) for hit, reason in zip(hits, reasons, strict=True)]

    def _encode(
        self, snapshot: Snapshot, texts: Sequence[str], instruction: str | None, ready: np.ndarray | None = None
    ) -> np.ndarray:
        """The queries' vectors; the encoder comes before the vectors: on CUDA torch must be imported before faiss."""
        encoder = self.encoder
        with self._timed("encode"):
            vectors = encoder.encode_queries(list(texts), instruction=instruction) if ready is None else ready
            return require_vectors(vectors, len(texts), snapshot.require_dense().dim)

    def _stored(self, snapshot: Snapshot, position: int) -> np.ndarray:
        """A document's own vector, [1, dim]."""
        with self._timed("encode"):
            ((start, vectors),) = snapshot.store.around(np.array([position]))
            return vectors[[position - start]]

    def _current(self) -> Snapshot:
        """The index as it is now; opened again if a change was committed."""
        if not self._snapshot.is_current():
            snapshot = Snapshot.open(self.folder, _device(self._given))
            if self._given is not None:
                snapshot.require_made_by(self._given)
            loaded, made_by = vars(self).get("encoder"), snapshot.manifest.encoder
            if loaded is not None and (made_by is None or loaded.fingerprint != made_by.fingerprint):
                del self.encoder  # `index --force` put another model's index here
            self._snapshot = snapshot
        return self._snapshot

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings[stage] = time.perf_counter() - start


def _device(encoder: "Encoder | None") -> str:
    """Where vectors are searched: on the GPU of an encoder that was loaded on one, else on the CPU."""
    return "cpu" if encoder is None else str(encoder.device)
