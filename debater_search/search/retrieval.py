"""The retrieval modes as functions: each gives, for every query, a ranking of (position, score), best first."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from debater_search.store.documents import DocumentStore
from debater_search.vectors import VectorIndex

Ranking = list[tuple[int, float]]

# Both rankings are fused to this depth even where fewer hits are wanted, so that k does not change the order.
FUSION_DEPTH = 1000


def dense(index: VectorIndex, queries: np.ndarray, k: int) -> list[Ranking]:
    """Cosine between query and document vectors; queries [q, dim]."""
    scores, positions = index.search(queries, k)
    return [list(zip(p, s, strict=True)) for p, s in zip(positions.tolist(), scores.tolist(), strict=True)]


def lexical(documents: DocumentStore, queries: Sequence[str], k: int) -> list[Ranking]:
    """BM25 over title and text."""
    return [documents.search(query, k) for query in queries]


def hybrid(
    index: VectorIndex, documents: DocumentStore, vectors: np.ndarray, queries: Sequence[str], k: int
) -> list[Ranking]:
    """Dense and lexical rankings fused by reciprocal rank."""
    depth = max(k, FUSION_DEPTH)
    pairs = zip(dense(index, vectors, depth), lexical(documents, queries, depth), strict=True)
    return [reciprocal_rank_fusion(pair, k) for pair in pairs]


def reciprocal_rank_fusion(rankings: Iterable[Ranking], k: int, *, constant: int = 60) -> Ranking:
    """Sum over the rankings of 1 / (constant + rank), ranks from 1; ties by position.

    Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods",
    SIGIR 2009.
    """
    fused: dict[int, float] = defaultdict(float)
    for ranking in rankings:
        for rank, (position, _) in enumerate(ranking, start=1):
            fused[position] += 1 / (constant + rank)
    return sorted(fused.items(), key=lambda hit: (-hit[1], hit[0]))[:k]
