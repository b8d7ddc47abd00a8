"""SearchEngine: opens an index and answers queries. It only reads."""

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
from debater_search.search.folders import open_manifest
from debater_search.search.retrieval import Ranking
from debater_search.search.snippet import best_snippet
from debater_search.store.documents import DOCUMENTS_NAME, Condition, DocumentStore
from debater_search.store.embeddings import EMBEDDINGS_NAME, EmbeddingStore
from debater_search.store.manifest import VECTORS_FILE, EncoderInfo, IndexManifest
from debater_search.types import Hit, Query, Run
from debater_search.vectors import FaissIndex, VectorIndex

if TYPE_CHECKING:
    from debater_search.encoder import Encoder

Mode = Literal["dense", "lexical", "hybrid"]
MODES: tuple[Mode, ...] = get_args(Mode)


class SearchEngine:
    """An open index. The encoder and the vectors are loaded by the first query that needs them.

    `manifest` says what the index is, `documents` and `store` give its documents and embeddings, and `timings` the
    seconds that the last query took to encode, to retrieve and to fetch.
    """

    def __init__(self, folder: Path, manifest: IndexManifest, encoder: "Encoder | None" = None) -> None:
        self.folder, self.manifest = folder, manifest
        self.documents = DocumentStore(folder / DOCUMENTS_NAME)
        self.timings: dict[str, float] = {}
        if encoder is not None:
            self.encoder = self._same_model(encoder)

    @classmethod
    def open(cls, folder: str | Path, *, encoder: "Encoder | None" = None) -> Self:
        """Open an index, with its own encoder (loaded when needed) or with one that is loaded already.

        Raises:
            DebaterError: there is no such index, it is unfinished or damaged, or another model made it.

        """
        folder = Path(folder)
        return cls(folder, open_manifest(folder), encoder)

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
        ranking = self._retrieve([query], k, mode, instruction, where)[0]
        with self._timed("fetch"):
            documents = self.documents.read([position for position, _ in ranking])
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
        rankings = self._retrieve([query.text for query in asked], k, mode, instruction, where, vectors)
        with self._timed("fetch"):
            found = sorted({position for ranking in rankings for position, _ in ranking})
            ids = dict(zip(found, self.documents.ids(found), strict=True))
            return {
                query.id: {ids[position]: score for position, score in ranking}
                for query, ranking in zip(asked, rankings, strict=True)
            }

    def check_filter(self, where: str) -> None:
        """Raise DebaterError if a filter is wrong or names a field that no document has."""
        self._condition(where)

    def close(self) -> None:
        """Close the index's files."""
        self.documents.close()

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
        return self._same_model(encoder)

    @cached_property
    def store(self) -> EmbeddingStore:
        """The documents' embeddings."""
        self._dense_index()
        return EmbeddingStore.open(self.folder / EMBEDDINGS_NAME)

    @cached_property
    def vectors(self) -> VectorIndex:
        """The index that dense retrieval searches."""
        self._dense_index()
        return FaissIndex.load(self.folder / VECTORS_FILE)

    def _retrieve(
        self,
        queries: Sequence[str],
        k: int,
        mode: Mode,
        instruction: str | None,
        where: str | None,
        encoded: np.ndarray | None = None,
    ) -> list[Ranking]:
        _check(queries, k, mode)
        condition = None if where is None else self._condition(where)
        k = min(k, len(self.documents))
        self.timings = {"encode": 0.0, "retrieve": 0.0, "fetch": 0.0}
        if mode == "lexical":
            with self._timed("retrieve"):
                return retrieval.lexical(self.documents, queries, k, where=condition)
        # The encoder comes before the vectors: on CUDA torch must be imported before faiss.
        encoder = self.encoder
        with self._timed("encode"):
            if encoded is None:
                encoded = encoder.encode_queries(list(queries), instruction=instruction)
        vectors = self.vectors
        with self._timed("retrieve"):
            allowed = None if condition is None else np.array(self.documents.positions_where(condition), np.int64)
            if mode == "dense":
                return retrieval.dense(vectors, encoded, k, allowed=allowed)
            return retrieval.hybrid(vectors, self.documents, encoded, queries, k, allowed=allowed, where=condition)

    def _condition(self, where: str) -> Condition:
        tree, fields = parse_filter(where)
        require_fields(fields, self.documents)
        return tree.condition()

    def _dense_index(self) -> EncoderInfo:
        if self.manifest.encoder is None:
            raise DebaterError(
                f"The index {self.folder} holds words only, no embeddings.",
                "Search it with --mode lexical, or index the corpus with a model.",
            )
        return self.manifest.encoder

    def _same_model(self, encoder: "Encoder") -> "Encoder":
        made_by = self._dense_index()
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


def _check(queries: Sequence[str], k: int, mode: str) -> None:
    if mode not in MODES:
        raise DebaterError(f"There is no search mode {mode!r}.", f"Modes: {', '.join(MODES)}.")
    if k < 1:
        raise DebaterError(f"{k} hits cannot be returned.", "Ask for 1 or more with -k.")
    for number, query in enumerate(queries, start=1):
        if not query.strip():
            which = "The query" if len(queries) == 1 else f"Query {number} of {len(queries)}"
            raise DebaterError(f"{which} is empty.", "Ask something.")
