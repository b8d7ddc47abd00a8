"""SearchEngine: opens an index and answers queries. It only reads, and each query reads one committed state."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, get_args

import numpy as np

from debater_search.errors import DebaterError
from debater_search.search import retrieval
from debater_search.search.filters import parse_filter, require_fields
from debater_search.search.retrieval import Ranking, Vectors
from debater_search.search.snapshot import Snapshot
from debater_search.search.snippet import best_snippet
from debater_search.store.documents import Condition, DocumentStore
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.manifest import EncoderInfo, IndexManifest
from debater_search.types import Hit, Query, Run

if TYPE_CHECKING:
    from debater_search.encoder import Encoder

Mode = Literal["dense", "lexical", "hybrid"]
MODES: tuple[Mode, ...] = get_args(Mode)


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
            self.encoder = self._require_same(encoder, snapshot)

    @classmethod
    def open(cls, folder: str | Path, *, encoder: "Encoder | None" = None) -> Self:
        """Open an index, with its own encoder (loaded when needed) or with one that is loaded already.

        Raises:
            DebaterError: there is no such index, it is unfinished or damaged, or another model made it.

        """
        folder = Path(folder)
        return cls(folder, Snapshot.open(folder), encoder)

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        mode: Mode = "dense",
        instruction: str | None = None,
        where: str | None = None,
    ) -> list[Hit]:
        """The k best documents for a query; all that match where there are fewer.

        `instruction` None is the model's own default, "" none. `where` is a filter over the documents' metadata, id and
        title, such as `year >= 2020 and venue in ('ACL', 'SIGIR')`: only documents that pass it are ranked, exactly.

        Raises:
            DebaterError: the query is empty, k < 1, the filter is wrong or names a field that no document has, or the
                index has no embeddings for this mode.

        """
        snapshot, (ranking,) = self._retrieve([query], k, mode, instruction, where)
        with self._timed("fetch"):
            documents = snapshot.documents.read([position for position, _ in ranking])
            return [
                Hit(
                    rank=rank,
                    id=document.id,
                    score=score,
                    title=document.title,
                    text=document.text,
                    snippet=best_snippet(query, document.text),
                    metadata=document.metadata,
                )
                for rank, (document, (_, score)) in enumerate(zip(documents, ranking, strict=True), start=1)
            ]

    def search_batch(
        self,
        queries: Sequence[Query] | Sequence[str],
        k: int = 10,
        *,
        mode: Mode = "dense",
        instruction: str | None = None,
        where: str | None = None,
        vectors: np.ndarray | None = None,
    ) -> Run:
        """Answer many queries at once: {query id: {document id: score}}, best first; plain strings count "0", "1", ….

        A query without hits has an empty entry. `vectors`, float32 [queries, dim], are the queries encoded already.

        Raises:
            DebaterError: as `search`.

        """
        given: list[Query | str] = list(queries)
        asked = [Query(str(i), query) if isinstance(query, str) else query for i, query in enumerate(given)]
        snapshot, rankings = self._retrieve([query.text for query in asked], k, mode, instruction, where, vectors)
        with self._timed("fetch"):
            found = sorted({position for ranking in rankings for position, _ in ranking})
            ids = dict(zip(found, snapshot.documents.ids(found), strict=True))
            return {
                query.id: {ids[position]: score for position, score in ranking}
                for query, ranking in zip(asked, rankings, strict=True)
            }

    def check_filter(self, where: str) -> None:
        """Raise DebaterError if a filter is wrong or names a field that no document has."""
        _condition(where, self._current().documents)

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
        self._dense_index()
        return self._snapshot.store

    @property
    def live(self) -> np.ndarray | None:
        """The positions that have a document, int64, in order; None where all have."""
        return self._snapshot.live

    @property
    def vectors(self) -> Vectors:
        """The index that dense retrieval searches."""
        self._dense_index()
        return self._snapshot.vectors

    @cached_property
    def encoder(self) -> "Encoder":
        """The model that made the index.

        Raises:
            DebaterError: it cannot be loaded from where it was, or is another one now.

        """
        from debater_search.encoder import Encoder

        made_by = self._dense_index()
        try:
            encoder = Encoder.load(**made_by.recipe)
        except DebaterError as error:
            raise DebaterError(
                f"The model of the index {self.folder} cannot be loaded. {error.message}",
                "If it lies elsewhere now, name it with --model.",
            ) from error
        return self._require_same(encoder, self._snapshot)

    def _retrieve(
        self,
        queries: Sequence[str],
        k: int,
        mode: Mode,
        instruction: str | None,
        where: str | None,
        encoded: np.ndarray | None = None,
    ) -> tuple[Snapshot, list[Ranking]]:
        """The rankings, and the state of the index that they were found in."""
        _check(queries, k, mode)
        while True:
            snapshot = self._current()
            try:
                return snapshot, self._rank(snapshot, queries, k, mode, instruction, where, encoded)
            except DebaterError:
                if snapshot.is_current():  # else files that were not open yet may have gone with a change: once more
                    raise

    def _rank(
        self,
        snapshot: Snapshot,
        queries: Sequence[str],
        k: int,
        mode: Mode,
        instruction: str | None,
        where: str | None,
        encoded: np.ndarray | None,
    ) -> list[Ranking]:
        documents = snapshot.documents
        condition = None if where is None else _condition(where, documents)
        k = min(k, snapshot.manifest.corpus.documents)
        self.timings = {"encode": 0.0, "retrieve": 0.0, "fetch": 0.0}
        if mode == "lexical":
            with self._timed("retrieve"):
                return retrieval.lexical(documents, queries, k, where=condition)
        # The encoder comes before the vectors: on CUDA torch must be imported before faiss.
        encoder = self.encoder
        with self._timed("encode"):
            if encoded is None:
                encoded = encoder.encode_queries(list(queries), instruction=instruction)
        vectors = snapshot.vectors
        with self._timed("retrieve"):
            allowed = snapshot.allowed(condition)
            if mode == "dense":
                return retrieval.dense(vectors, encoded, k, allowed=allowed)
            return retrieval.hybrid(vectors, documents, encoded, queries, k, allowed=allowed, where=condition)

    def _current(self) -> Snapshot:
        """The index as it is now; opened again if a change was committed."""
        if not self._snapshot.is_current():
            snapshot = Snapshot.open(self.folder)
            if self._given is not None:
                self._require_same(self._given, snapshot)
            loaded, made_by = vars(self).get("encoder"), snapshot.manifest.encoder
            if loaded is not None and (made_by is None or loaded.fingerprint != made_by.fingerprint):
                del self.encoder  # `index --force` put another model's index here
            self._snapshot = snapshot
        return self._snapshot

    def _dense_index(self, snapshot: Snapshot | None = None) -> EncoderInfo:
        made_by = (snapshot or self._snapshot).manifest.encoder
        if made_by is None:
            raise DebaterError(
                f"The index {self.folder} holds words only, no embeddings.",
                "Search it with --mode lexical, or index the corpus with a model.",
            )
        return made_by

    def _require_same(self, encoder: "Encoder", snapshot: Snapshot) -> "Encoder":
        made_by = self._dense_index(snapshot)
        if encoder.fingerprint != made_by.fingerprint:
            raise DebaterError(
                f"The index {self.folder} was made by {made_by}, not by {EncoderInfo.of(encoder)}.",
                "Search it with the model that made it, or index the corpus again with this one.",
            )
        return encoder

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings[stage] = time.perf_counter() - start


def _condition(where: str, documents: DocumentStore) -> Condition:
    tree, fields = parse_filter(where)
    require_fields(fields, documents)
    return tree.condition()


def _check(queries: Sequence[str], k: int, mode: str) -> None:
    if mode not in MODES:
        raise DebaterError(f"There is no search mode {mode!r}.", f"Modes: {', '.join(MODES)}.")
    if k < 1:
        raise DebaterError(f"{k} hits cannot be returned.", "Ask for 1 or more with -k.")
    for number, query in enumerate(queries, start=1):
        if not query.strip():
            which = "The query" if len(queries) == 1 else f"Query {number} of {len(queries)}"
            raise DebaterError(f"{which} is empty.", "Ask something.")
