"""From queries to rankings, hits and runs, with the seconds that each stage takes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from debater_search.search.candidates import FUSION_DEPTH, Queries, Ranking
from debater_search.search.marks import QueryMarks
from debater_search.search.passages import BestPassages, nearest_passages
from debater_search.search.ranking import Ranker, Rankings
from debater_search.search.reorder.steps import step_cosines
from debater_search.search.snapshot import Snapshot
from debater_search.search.snippet import best_snippet, without_heading
from debater_search.search.timings import Timings
from debater_search.store.facets import count_values
from debater_search.types import Document, Explanation, Facets, Hit, Hits, Query, RankedScore, Run


def ranked(ranker: Ranker, queries: Queries, timings: Timings) -> list[Rankings]:
    """Rank documents for each query."""
    if ranker.request.uses_vectors:
        # Opened before time is taken, and after the model: on CUDA torch must be imported before faiss.
        _ = ranker.snapshot.vectors
    with timings.of("retrieve"):
        rankings = ranker.rank(queries)
    if ranker.rerank is None:
        return rankings
    with timings.of("rerank"):
        return ranker.reranked(queries, rankings)


def hits_of(ranker: Ranker, queries: Queries, rankings: Rankings, timings: Timings) -> Hits:
    """The hits of a single query, explained if the request says so."""
    with timings.of("fetch"):
        hits = _read_hits(ranker.snapshot, queries, rankings.best)
    if not ranker.request.explain:
        return hits
    reasons = _explanations(ranker, queries, rankings)
    return Hits(replace(hit, explanation=reason) for hit, reason in zip(hits, reasons, strict=True))


def notes_of(ranker: Ranker, queries: Queries, hits: Hits) -> tuple[str, ...]:
    """What is to be said of a single query: of its filter, and if it is the id of a document that is not the first hit.

    Rankings look at titles and texts only. Documents like one (`queries.excluded`) have no query of words.
    """
    asked = queries.texts[0].strip() if queries.texts and queries.excluded is None else ""
    if not asked or (hits and hits[0].id == asked) or not ranker.snapshot.documents.positions([asked]):
        return ranker.notes
    return (*ranker.notes, id_note(asked))


def id_note(id: str) -> str:
    """What is said of a query that is the id of a document."""
    return f"The query is the id of a document: {id!r}. Searches do not look at ids: get the document by its id."


def facets_of(ranker: Ranker, rankings: Rankings) -> Facets | None:
    """How often each value of the request's facets comes among the best documents; None if it names no facets."""
    if not ranker.request.facets:
        return None
    positions = np.array([position for position, _ in rankings.counted], np.int64)
    documents = ranker.snapshot.documents
    return Facets(
        len(positions), {name: count_values(documents, name, positions).facet for name in ranker.request.facets}
    )


def run_of(ranker: Ranker, queries: Sequence[Query], rankings: Sequence[Rankings], timings: Timings) -> Run:
    """The run of many queries."""
    with timings.of("fetch"):
        positions = sorted({position for ranking in rankings for position, _ in ranking.best})
        ids = dict(zip(positions, ranker.snapshot.documents.ids(positions), strict=True))
        return {
            query.id: {ids[position]: score for position, score in ranking.best}
            for query, ranking in zip(queries, rankings, strict=True)
        }


def _read_hits(snapshot: Snapshot, queries: Queries, best: Ranking) -> Hits:
    """The documents of a ranking for a single query, with a snippet of each."""
    positions = [position for position, _ in best]
    documents = snapshot.documents.read(positions)
    snippets = _snippets(snapshot, queries, documents, positions)
    return Hits(
        Hit(
            rank=rank,
            id=document.id,
            score=score,
            title=document.title,
            text=document.text,
            snippet=snippet,
            metadata=document.metadata,
        )
        for rank, (document, (_, score), snippet) in enumerate(zip(documents, best, snippets, strict=True), start=1)
    )


def _snippets(
    snapshot: Snapshot, queries: Queries, documents: Sequence[Document], positions: Sequence[int]
) -> list[str]:
    """The passage of each document nearest to the query, if documents are cut into passages and there is a vector.

    Otherwise the sentence that shares most words with the query; the first one if the query has no words.
    """
    if queries.vectors is None or not isinstance(snapshot.vectors, BestPassages):
        marks = QueryMarks(queries.texts[0] if queries.texts else "", snapshot.documents.language)
        return [best_snippet(marks, without_heading(document.text, document.title)) for document in documents]
    passages = nearest_passages(snapshot.vectors, snapshot.documents, queries.vectors[0], positions)
    return [
        " ".join(without_heading(passage.text, document.title).split())
        for passage, document in zip(passages, documents, strict=True)
    ]


def _explanations(ranker: Ranker, queries: Queries, rankings: Rankings) -> list[Explanation]:
    """Why each of the best documents of a single query is a hit; after dense search its rank by words is looked up."""
    positions = np.array([position for position, _ in rankings.best], np.int64)
    lexical = rankings.lexical
    if lexical is None and queries.texts is not None:
        (lexical,) = ranker.lexical(queries, FUSION_DEPTH)
    steps: list[tuple[float, ...] | None] = [None] * len(positions)
    if queries.vectors is not None and ranker.snapshot.store.manifest.thinking_steps:
        cosines = step_cosines(ranker.snapshot.store, queries.vectors, np.zeros_like(positions), positions)
        steps = [tuple(row) for row in cosines.tolist()]
    by_vectors, by_words = _ranks(rankings.dense or []), _ranks(lexical or [])
    by_reading = _ranks(rankings.reranked or [])
    return [
        Explanation(by_vectors.get(position), by_words.get(position), row, by_reading.get(position))
        for position, row in zip(positions.tolist(), steps, strict=True)
    ]


def _ranks(ranking: Ranking) -> dict[int, RankedScore]:
    return {position: RankedScore(rank, score) for rank, (position, score) in enumerate(ranking, start=1)}
