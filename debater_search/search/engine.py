"""SearchEngine: opens an index, answers queries and makes changes. Each query reads one committed state."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Unpack

import numpy as np

from debater_search.encoder.protocol import PairScorer, TextEncoder
from debater_search.inputs import GivenQueries, as_queries, as_query_texts
from debater_search.search.answer import facets_of, hits_of, notes_of, ranked, run_of
from debater_search.search.opened import OpenIndex
from debater_search.search.ranking import Ranker
from debater_search.search.reader import query_reader, text_reader
from debater_search.search.request import (
    DEFAULT_WEIGHTS,
    BatchOptions,
    GivenQuery,
    ManyOptions,
    Mode,
    Request,
    Rescore,
    SearchOptions,
    Weights,
    require_options,
)
from debater_search.search.snapshot import Snapshot
from debater_search.search.timings import Timings
from debater_search.types import Answer, BatchAnswer, Hits, Like, Run

if TYPE_CHECKING:
    from debater_search.indexing import Change
    from debater_search.indexing.documents import GivenCorpus


class SearchEngine(OpenIndex):
    """An open index, which many threads may share. Model and vectors are loaded by the first query that needs them.

    A query sees the last change that was committed before it. Only in the moment between a commit and the end of the
    change, while one thread opens the new state, may queries of others see the one before: `Answer.generation` says
    which.

    Examples:
        >>> from debater_search import SearchEngine
        >>> engine = SearchEngine.open("indexes/notes")
        >>> for hit in engine("what carries an aircraft?", k=1):
        ...     print(hit.rank, hit.id, hit.title)
        1 wings Wings
    """

    def __init__(self, folder: str | Path, encoder: TextEncoder | None = None, *, follow: bool = True) -> None:
        super().__init__(folder, encoder, follow=follow)
        self._changing = Lock()

    def answer(
        self,
        query: GivenQuery,
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
            query: a text or a `Query`; a vector by the index's model, float32 [dim], which is normalised and ranked by
                cosines, without a model, in dense mode only; or `Like(id)`: documents like this one, which is not among
                them. Dense search takes its stored vector, lexical search its title and text; neither loads a model.
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
            the generation of the index; notes: that a comparison of the filter can never be true, or that the query is
            the id of a document; the facets.

        Raises:
            InvalidError: the query is empty, zero or not a vector of the index, k < 1, the filter is wrong, a weight is
                not above 0, or the index has no embeddings for this mode.
            MissingError: there is no document with the id of `Like`, or none with a field that the filter or the
                facets name.
            DebaterError: the index has no steps to rescore by; its model or a file of it cannot be loaded.

        Examples:
            >>> answer = engine.answer("heat", k=1, where="year >= 1960", explain=True)
            >>> answer.hits[0].id, answer.hits[0].explanation.lexical.rank, answer.generation
            ('heat', 1, 0)
        """
        request = Request(k, mode, instruction, where, rescore, weights, explain, exact, rerank, rerank_depth, facets)
        timings, read = Timings(), query_reader(self._model, query, request, vector)

        def answer(snapshot: Snapshot) -> Answer:
            ranker = Ranker(snapshot, request)  # refuses a request before a model is loaded
            queries = read(snapshot, timings)
            with snapshot.documents.reading():  # no change takes documents away between ranking and reading
                (rankings,) = ranked(ranker, queries, timings)
                hits = hits_of(ranker, queries, rankings, timings)
                counts = facets_of(ranker, rankings)
                notes = notes_of(ranker, queries, hits)
            return Answer(hits, timings.seconds, snapshot.manifest.generation, notes, counts)

        return self._latest.run(answer)

    def answer_batch(
        self,
        queries: GivenQueries,
        k: int = 10,
        *,
        vectors: np.ndarray | None = None,
        **options: Unpack[BatchOptions],
    ) -> BatchAnswer:
        """Answer many queries at once: {query id: {document id: score}}, best first; plain strings count "0", "1", ….

        Queries are strings, `Query` objects, (id, text), objects with an `id` and a `text`, or one mapping {id: text}.
        A query without hits has an empty entry. `vectors`, float32 [queries, dim], are the queries encoded already;
        then no model is loaded. The other options are those of `answer`.

        Raises:
            DebaterError: as `answer`; or `vectors` are not [queries, dim], not finite, or zero.

        Examples:
            >>> answer = engine.answer_batch({"q1": "heat", "q2": "wings"}, k=1)
            >>> {query: list(documents) for query, documents in answer.run.items()}
            {'q1': ['heat'], 'q2': ['wings']}
        """
        require_options("answer_batch", options, BatchOptions)
        named = as_queries(queries)
        request, timings = Request(k, **options), Timings()
        read = text_reader(self._model, [query.text for query in named], request, vectors)

        def answer(snapshot: Snapshot) -> BatchAnswer:
            ranker = Ranker(snapshot, request)
            queries = read(snapshot, timings)
            with snapshot.documents.reading():
                run = run_of(ranker, named, ranked(ranker, queries, timings), timings)
            return BatchAnswer(run, timings.seconds, snapshot.manifest.generation, ranker.notes)

        return self._latest.run(answer)

    def search(self, query: GivenQuery, k: int = 10, **options: Unpack[SearchOptions]) -> Hits:
        """The hits of `answer`, which describes arguments and errors: a list of `Hit`. `engine(query)` is the same.

        Examples:
            >>> engine.search("heat", k=1)[0].id
            'heat'
        """
        require_options("search", options, SearchOptions)
        return self.answer(query, k, **options).hits

    __call__ = search

    async def asearch(self, query: GivenQuery, k: int = 10, **options: Unpack[SearchOptions]) -> Hits:
        """As `search`, in a thread, so that the event loop goes on.

        Examples:
            >>> import asyncio
            >>> asyncio.run(engine.asearch("heat", k=1))[0].id
            'heat'
        """
        import asyncio  # it takes longer to import than a query to answer

        return await asyncio.to_thread(self.search, query, k, **options)

    def more_like(self, id: str, k: int = 10, **options: Unpack[SearchOptions]) -> Hits:
        """The documents most like one of the index: the hits of `answer(Like(id), …)`.

        Examples:
            >>> "heat" in [hit.id for hit in engine.more_like("heat")]
            False
        """
        require_options("more_like", options, SearchOptions)
        return self.answer(Like(id), k, **options).hits

    def search_batch(
        self,
        queries: GivenQueries,
        k: int = 10,
        *,
        vectors: np.ndarray | None = None,
        **options: Unpack[BatchOptions],
    ) -> Run:
        """The run of `answer_batch`, which describes arguments and errors: ids and scores, for evaluation.

        Examples:
            >>> list(engine.search_batch(["heat", "wings"], k=1))
            ['0', '1']
        """
        require_options("search_batch", options, BatchOptions)
        return self.answer_batch(queries, k, vectors=vectors, **options).run

    def search_many(
        self,
        queries: GivenQueries,
        k: int = 10,
        *,
        vectors: np.ndarray | None = None,
        **options: Unpack[ManyOptions],
    ) -> list[Hits]:
        """The hits of many queries, which are encoded together: one list per query, in the order of the queries.

        Arguments and errors are those of `answer_batch`; ids of queries may be missing or equal.

        Examples:
            >>> [hits[0].title for hits in engine.search_many(["heat", "wings"], k=1)]
            ['Heat', 'Wings']
        """
        require_options("search_many", options, ManyOptions)
        texts, request, timings = as_query_texts(queries, "queries"), Request(k, **options), Timings()
        read = text_reader(self._model, texts, request, vectors)

        def answer(snapshot: Snapshot) -> list[Hits]:
            ranker = Ranker(snapshot, request)
            queries = read(snapshot, timings)
            with snapshot.documents.reading():
                rankings = ranked(ranker, queries, timings)
                return [hits_of(ranker, queries.only(n), ranking, timings) for n, ranking in enumerate(rankings)]

        return self._latest.run(answer)

    def check(self, **options: Unpack[BatchOptions]) -> None:
        """Raise DebaterError, before anything is loaded, for options of `answer` that this index cannot follow."""
        request = Request(**options)
        self._latest.run(lambda snapshot: Ranker(snapshot, request))

    def add(self, documents: "GivenCorpus", *, progress: bool = False) -> "Change":
        """Add documents to the index as `indexing.add` does; searches of this engine find them when it returns.

        Changes of one engine wait for each other; while another process changes the index, this raises BusyError.

        Examples:
            >>> engine.add([("lift", "Lift", "Lift comes from air that flows around a wing.")]).added
            1
            >>> engine("where does lift come from?", k=1)[0].id
            'lift'
        """
        from debater_search.indexing import add

        with self._changing:
            change = add(self.folder, documents, encoder=self._documents_encoder(), progress=progress)
            self.refresh()
        return change

    def update(self, corpus: "GivenCorpus", *, progress: bool = False) -> "Change":
        """Make the index hold exactly these documents, as `indexing.update` does; else as `add`.

        Examples:
            >>> change = engine.update([("heat", "Heat flows from hot to cold."), ("snow", "Snow is cold.")])
            >>> change.documents, change.added
            (2, 1)
        """
        from debater_search.indexing import update

        with self._changing:
            change = update(self.folder, corpus, encoder=self._documents_encoder(), progress=progress)
            self.refresh()
        return change

    def delete(self, ids: str | Iterable[str | int] | None = None, *, where: str | None = None) -> "Change":
        """Delete documents as `indexing.delete` does; no search of this engine finds them any more.

        Examples:
            >>> change = engine.delete(["heat", "unheard-of"])
            >>> change.deleted, change.unknown
            (1, ['unheard-of'])
        """
        from debater_search.indexing import delete

        with self._changing:
            self._latest.require_open()
            change = delete(self.folder, ids, where=where)
            self.refresh()
        return change

    def _documents_encoder(self) -> TextEncoder | None:
        return self._latest.run(self._model.for_documents)
