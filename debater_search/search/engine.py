"""SearchEngine: opens an index and answers queries. It only reads, and each query reads one committed state."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, Unpack

import numpy as np

from debater_search.coerce import as_queries, as_texts
from debater_search.encoder.protocol import PairScorer, TextEncoder
from debater_search.errors import MissingError
from debater_search.search.answer import facets_of, hits_of, ranked, run_of
from debater_search.search.candidates import Queries
from debater_search.search.latest import LatestSnapshot
from debater_search.search.marks import QueryMarks
from debater_search.search.model import QueryModel, TextVectors
from debater_search.search.ranking import Ranker
from debater_search.search.request import (
    DEFAULT_WEIGHTS,
    BatchOptions,
    Mode,
    Request,
    Rescore,
    SearchOptions,
    Weights,
    as_vectors,
    require_no_words,
    require_texts,
)
from debater_search.search.snapshot import Snapshot
from debater_search.search.timings import Timings
from debater_search.store.documents import DocumentStore
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.manifest import IndexManifest
from debater_search.types import Answer, BatchAnswer, Hit, Like, Query, Run
from debater_search.vectors import VectorIndex


class SearchEngine:
    """An open index, which many threads may share. Model and vectors are loaded by the first query that needs them.

    A query sees the last change that was committed before it. Only in the moment between a commit and the end of the
    change, while one thread opens the new state, may queries of others see the one before: `Answer.generation` says
    which. `manifest`, `documents`, `store`, `vectors`
    and `live` belong to the state that was opened last.
    """

    def __init__(self, folder: str | Path, encoder: TextEncoder | None = None, *, follow: bool = True) -> None:
        self.folder = Path(folder)
        self._model = QueryModel(encoder)
        self._latest = LatestSnapshot(self.folder, self._model.device, self._model.check, follow=follow)

    @classmethod
    def open(cls, folder: str | Path, *, encoder: TextEncoder | None = None, follow: bool = True) -> Self:
        """Open an index, with its own encoder (loaded when needed) or with one that is loaded already.

        If that one is on a GPU ("cuda:N", or "cuda" for all), the vectors are searched there too, if FAISS can.
        Without `follow` a query does not look for changes: `refresh` does, so that no query waits for one.

        Raises:
            DebaterError: there is no such index, it is unfinished or damaged, or another model made it.

        """
        return cls(folder, encoder, follow=follow)

    def answer(
        self,
        query: str | np.ndarray | Like,
        k: int = 10,
        *,
        mode: Mode = "dense",
        instruction: str | None = None,
        where: str | None = None,
        rescore: Rescore | None = None,
        weights: Weights = DEFAULT_WEIGHTS,
        explain: bool = False,
        exact: bool = False,
        rerank: PairScorer | None = None,
        rerank_depth: int | None = None,
        facets: Sequence[str] = (),
        vector: np.ndarray | None = None,
    ) -> Answer:
        """The k best documents for a query; all that match if there are fewer.

        Args:
            query: a text; a vector by the index's model, float32 [dim], which is ranked by inner products, without a
                model, in dense mode only; or `Like(id)`: documents like this one, which is not among them. Dense search
                takes its stored vector, lexical search its title and text; neither loads a model.
            k: hits, 1 or more.
            mode: compare vectors, words (BM25), or both, fused by a weighted mean of their scaled scores.
            instruction: what the model is told before a text; None for the model's own default, "" for nothing.
            where: a filter over the documents' metadata, id and title, such as
                `year >= 2020 and venue in ('ACL', 'SIGIR')`: only documents that it allows are hits. Ranking by words
                is exact under every filter. Ranking by vectors is exact if the filter allows at most 50,000 documents
                (passages, if documents are cut into passages). If it allows more, an approximate type of index stays
                approximate: measured at 60,000 of 120,000, recall@10 is 0.99 for a random choice and 0.79 (hnsw) to
                0.88 (ivf, sq8) for the documents farthest from the queries (benchmarks/vectors.md).
            rescore: reorder the 100 (or k, if more) nearest documents by the best ("max") or the "mean" cosine of their
                stored thinking steps.
            weights: weights of the dense and of the lexical ranking in hybrid mode.
            explain: give each hit an explanation: its ranks by vectors and by words, its cosine at each stored step.
            exact: compare with every document that the filter allows, whatever the type of the vector index: slower,
                and recall is 1.
            rerank: a `Reranker`, which reads the best candidates together with the query and puts them in its order.
                Of documents that are cut into passages it reads the best passage. `Hit.score` is then its score.
            rerank_depth: candidates that it reads. None: 20 if it is on a CPU, 100 on a GPU. Hits behind them keep
                their order; their scores, 1 apart below the last one's, say nothing else.
            facets: metadata fields whose values are counted among the best 1,000 documents.
            vector: the query's text encoded already, float32 [dim]; then no model is loaded.

        Returns:
            The hits, best first, equal scores in the order of the documents; the seconds for encoding the query
            (`encode`), ranking (`retrieve`), reranking (`rerank`, if asked for) and reading the documents (`fetch`);
            the generation of the index; notes, such as that a comparison of the filter can never be true; the facets.

        Raises:
            InvalidError: the query is empty or not a vector of the index, k < 1, the filter is wrong, a weight is not
                above 0, or the index has no embeddings for this mode.
            MissingError: there is no document with the id of `Like`, or none with a field that the filter or the
                facets name.
            DebaterError: the index has no steps to rescore by; its model or a file of it cannot be loaded.

        """
        request = Request(
            k, mode, instruction, where, rescore, weights, explain, exact, rerank, rerank_depth, tuple(facets)
        )
        timings, read = Timings(), self._reader(query, request, vector)

        def answer(snapshot: Snapshot) -> Answer:
            ranker = Ranker(snapshot, request)  # refuses a request before a model is loaded
            queries = read(snapshot, timings)
            with snapshot.documents.reading():  # no change takes documents away between ranking and reading
                (rankings,) = ranked(ranker, queries, timings)
                hits = hits_of(ranker, queries, rankings, timings)
                counts = facets_of(ranker, rankings)
            return Answer(hits, timings.seconds, snapshot.manifest.generation, ranker.notes, counts)

        return self._latest.run(answer)

    def answer_batch(
        self,
        queries: Sequence[Query] | Sequence[str],
        k: int = 10,
        *,
        vectors: np.ndarray | None = None,
        **options: Unpack[BatchOptions],
    ) -> BatchAnswer:
        """Answer many queries at once: {query id: {document id: score}}, best first; plain strings count "0", "1", ….

        A query without hits has an empty entry. `vectors`, float32 [queries, dim], are the queries encoded already;
        then no model is loaded. The other options are those of `answer`.

        Raises:
            DebaterError: as `answer`; or `vectors` are not [queries, dim], or not finite.

        """
        named = as_queries(queries)
        request, timings = Request(k, **options), Timings()
        read = self._text_reader([query.text for query in named], request, vectors)

        def answer(snapshot: Snapshot) -> BatchAnswer:
            ranker = Ranker(snapshot, request)
            queries = read(snapshot, timings)
            with snapshot.documents.reading():
                run = run_of(ranker, named, ranked(ranker, queries, timings), timings)
            return BatchAnswer(run, timings.seconds, snapshot.manifest.generation, ranker.notes)

        return self._latest.run(answer)

    def search(self, query: str | np.ndarray, k: int = 10, **options: Unpack[SearchOptions]) -> list[Hit]:
        """The hits of `answer`, which describes arguments and errors."""
        return self.answer(query, k, **options).hits

    def more_like(self, id: str, k: int = 10, **options: Unpack[SearchOptions]) -> list[Hit]:
        """The documents most like one of the index: the hits of `answer(Like(id), …)`."""
        return self.answer(Like(id), k, **options).hits

    def search_batch(
        self,
        queries: Sequence[Query] | Sequence[str],
        k: int = 10,
        *,
        vectors: np.ndarray | None = None,
        **options: Unpack[BatchOptions],
    ) -> Run:
        """The run of `answer_batch`, which describes arguments and errors."""
        return self.answer_batch(queries, k, vectors=vectors, **options).run

    def check(self, **options: Unpack[BatchOptions]) -> None:
        """Raise DebaterError, before anything is loaded, for options of `answer` that this index cannot follow."""
        request = Request(**options)
        self._latest.run(lambda snapshot: Ranker(snapshot, request))

    def warm_up(self, *, model: bool = True, queries: int | None = None) -> None:
        """Load the model, unless `model` is False, and the vectors, so that no query waits for them.

        `queries` is how many come at a time, None for many. For a few, as on a command line, debater-small is loaded
        without torch, whose import takes longer than they do. The vectors are those of the newest state, also where
        changes are committed meanwhile. Raises DebaterError if there are none, or something cannot be loaded.
        """
        if model:  # before the vectors: on CUDA torch must be imported before faiss
            self._latest.run(lambda snapshot: self._model.for_queries(snapshot, queries))
        self._latest.run(lambda snapshot: snapshot.require_dense() and snapshot.vectors)

    def refresh(self) -> None:
        """Open the newest state if a change was committed, while queries go on with the one before.

        Raises:
            DebaterError: the index is gone or damaged, or another model than the one given made its newest state.

        """
        self._latest.refresh()

    def marks(self, query: str) -> QueryMarks:
        """What finds the words of a query in texts, by the rules of this index."""
        return QueryMarks(query, self.documents.language)

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

    def _reader(self, query: str | np.ndarray | Like, request: Request, vector: np.ndarray | None) -> "Reader":
        """A function that reads a query for a state of the index; InvalidError for one that no state can answer."""
        if isinstance(query, Like):
            return lambda snapshot, timings: _like(snapshot, request, query, timings)
        if not isinstance(query, np.ndarray):
            vectors = None if vector is None else vector[None]
            return self._text_reader(as_texts([query], "query"), request, vectors)
        require_no_words(request)
        return lambda snapshot, timings: Queries(None, as_vectors([query], 1, snapshot.require_dense().dim))

    def _text_reader(self, texts: list[str], request: Request, vectors: np.ndarray | None = None) -> "Reader":
        require_texts(texts)
        if not request.uses_vectors:
            return lambda snapshot, timings: Queries(texts, None)
        if vectors is not None:
            return lambda snapshot, timings: Queries(
                texts, as_vectors(vectors, len(texts), snapshot.require_dense().dim)
            )
        encoded = TextVectors(self._model, texts, request.instruction)
        return lambda snapshot, timings: Queries(texts, encoded.of(snapshot, timings))


Reader = Callable[[Snapshot, Timings], Queries]


def _like(snapshot: Snapshot, request: Request, like: Like, timings: Timings) -> Queries:
    """A document's title and text, and its stored vector if the mode needs it."""
    position = snapshot.documents.positions([like.id]).get(like.id)
    if position is None:
        raise MissingError(f"There is no document {like.id!r} in {snapshot.folder}.", "Hits show the ids of documents.")
    (document,) = snapshot.documents.read([position])
    if not request.uses_vectors:
        return Queries([document.content], None, position)
    snapshot.require_dense()
    with timings.of("encode"):
        ((start, vectors),) = snapshot.store.around(np.array([position]))
        return Queries([document.content], vectors[[position - start]], position)
