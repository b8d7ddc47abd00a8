"""From a request to rankings, and from a ranking to why it is so."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from debater_search.search import retrieval
from debater_search.search.request import Request
from debater_search.search.retrieval import FUSION_DEPTH, BestPassages, Ranking, reciprocal_rank_fusion
from debater_search.search.snapshot import Snapshot
from debater_search.search.snippet import best_snippet
from debater_search.search.thinking import RESCORE_DEPTH, rescore, step_cosines
from debater_search.types import Document, Explanation, Hit, Place
from debater_search.vectors import Selection


@dataclass(frozen=True)
class Asked:
    """Queries as words and, unless the mode is lexical, as vectors [q, dim]; `but` is a position that is no answer."""

    texts: Sequence[str]
    vectors: np.ndarray | None
    but: int | None = None


@dataclass(frozen=True)
class Found:
    """The k best (position, score) of a query, and the longer rankings that they come from, where they do."""

    best: Ranking
    dense: Ranking | None
    lexical: Ranking | None


def rank(snapshot: Snapshot, request: Request, asked: Asked) -> list[Found]:
    """Answer each query in the mode that is asked for.

    Raises:
        DebaterError: the index has no thinking steps to rescore by, or a file of it cannot be read.

    """
    k = min(request.k, snapshot.manifest.corpus.documents)
    if request.mode == "lexical":
        return [Found(ranking, None, ranking) for ranking in _lexical(snapshot, request, asked, k)]
    if request.mode == "dense":
        by_meaning = _dense(snapshot, request, asked, max(k, RESCORE_DEPTH) if request.rescore else k)
        return [Found(ranking[:k], ranking, None) for ranking in by_meaning]
    depth = max(k, FUSION_DEPTH)  # even where few hits are wanted, so that k does not change the order
    by_meaning, by_words = _dense(snapshot, request, asked, depth), _lexical(snapshot, request, asked, depth)
    return [
        Found(reciprocal_rank_fusion(pair, k, weights=request.weights), *pair)
        for pair in zip(by_meaning, by_words, strict=True)
    ]


def read_hits(snapshot: Snapshot, asked: Asked, found: Found) -> list[Hit]:
    """The documents that were found for a single query, with its snippet of each."""
    positions = [position for position, _ in found.best]
    documents = snapshot.documents.read(positions)
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
        for rank, (document, (_, score), snippet) in enumerate(
            zip(documents, found.best, _snippets(snapshot, asked, documents, positions), strict=True), start=1
        )
    ]


def _snippets(snapshot: Snapshot, asked: Asked, documents: Sequence[Document], positions: Sequence[int]) -> list[str]:
    """The passage of each document that answers, if documents are cut into passages and there is a vector to choose by.

    Elsewhere it is the sentences that share the most words with the query.
    """
    if asked.vectors is None or not isinstance(snapshot.vectors, BestPassages):
        return [best_snippet(asked.texts[0], document.text) for document in documents]
    snippets = []
    for row in snapshot.vectors.best_rows(asked.vectors[0], np.array(positions, np.int64)).tolist():
        (passage,) = snapshot.documents.read_rows(row, row + 1)
        snippets.append(" ".join(passage.text.split()))
    return snippets


def explanations(snapshot: Snapshot, request: Request, asked: Asked, found: Found) -> list[Explanation]:
    """Why each of the best of a single query is there; after dense search its place by words is looked up too."""
    positions = np.array([position for position, _ in found.best], np.int64)
    (lexical,) = _lexical(snapshot, request, asked, FUSION_DEPTH) if found.lexical is None else (found.lexical,)
    steps: list[tuple[float, ...] | None] = [None] * len(positions)
    if asked.vectors is not None and snapshot.store.manifest.thinking_steps:
        cosines = step_cosines(snapshot.store, asked.vectors, np.zeros_like(positions), positions)
        steps = [tuple(row) for row in cosines.tolist()]
    by_meaning, by_words = _places(found.dense or []), _places(lexical)
    return [
        Explanation(by_meaning.get(position), by_words.get(position), row)
        for position, row in zip(positions.tolist(), steps, strict=True)
    ]


def _dense(snapshot: Snapshot, request: Request, asked: Asked, depth: int) -> list[Ranking]:
    assert asked.vectors is not None
    within = None if request.where is None else Selection(snapshot.restriction(request.where).positions)
    rankings = retrieval.dense(snapshot.vectors, asked.vectors, _deeper(depth, asked), within)
    rankings = [_without(ranking, asked.but, depth) for ranking in rankings]
    if request.rescore is None:
        return rankings
    return rescore(rankings, asked.vectors, snapshot.store, request.rescore, max(request.k, RESCORE_DEPTH))


def _lexical(snapshot: Snapshot, request: Request, asked: Asked, depth: int) -> list[Ranking]:
    where = None if request.where is None else snapshot.restriction(request.where).condition
    rankings = retrieval.lexical(snapshot.documents, asked.texts, _deeper(depth, asked), where=where)
    return [_without(ranking, asked.but, depth) for ranking in rankings]


def _deeper(depth: int, asked: Asked) -> int:
    return depth if asked.but is None else depth + 1


def _without(ranking: Ranking, position: int | None, depth: int) -> Ranking:
    if position is None:
        return ranking
    return [hit for hit in ranking if hit[0] != position][:depth]


def _places(ranking: Ranking) -> dict[int, Place]:
    return {position: Place(rank, score) for rank, (position, score) in enumerate(ranking, start=1)}
