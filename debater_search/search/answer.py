"""From the ranking of a query to its hits, and to the reasons for them."""

from collections.abc import Sequence

import numpy as np

from debater_search.search.candidates import FUSION_DEPTH, Queries, Ranking
from debater_search.search.passages import BestPassages
from debater_search.search.ranking import Ranker, Rankings
from debater_search.search.reorder.steps import step_cosines
from debater_search.search.snapshot import Snapshot
from debater_search.search.snippet import best_snippet
from debater_search.types import Document, Explanation, Hit, RankedScore


def read_hits(snapshot: Snapshot, queries: Queries, best: Ranking) -> list[Hit]:
    """The documents of a ranking for a single query, with a snippet of each."""
    positions = [position for position, _ in best]
    documents = snapshot.documents.read(positions)
    snippets = _snippets(snapshot, queries, documents, positions)
    return [
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
    ]


def _snippets(
    snapshot: Snapshot, queries: Queries, documents: Sequence[Document], positions: Sequence[int]
) -> list[str]:
    """The passage of each document nearest to the query, if documents are cut into passages and there is a vector.

    Otherwise the sentence that shares most words with the query; the first one if the query has no words.
    """
    if queries.vectors is None or not isinstance(snapshot.vectors, BestPassages):
        text = queries.texts[0] if queries.texts else ""
        return [best_snippet(text, document.text) for document in documents]
    snippets = []
    for row in snapshot.vectors.best_rows(queries.vectors[0], np.array(positions, np.int64)).tolist():
        (passage,) = snapshot.documents.read_rows(row, row + 1)
        snippets.append(" ".join(passage.text.split()))
    return snippets


def explanations(ranker: Ranker, queries: Queries, rankings: Rankings) -> list[Explanation]:
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
    return [
        Explanation(by_vectors.get(position), by_words.get(position), row)
        for position, row in zip(positions.tolist(), steps, strict=True)
    ]


def _ranks(ranking: Ranking) -> dict[int, RankedScore]:
    return {position: RankedScore(rank, score) for rank, (position, score) in enumerate(ranking, start=1)}
