"""Candidates of queries, by vectors and by words: for each query a ranking of (position, score), best first."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from debater_search.search.request import DEFAULT_WEIGHTS, Weights
from debater_search.store.documents import DocumentStore
from debater_search.vectors import Selection, VectorIndex

Ranking = list[tuple[int, float]]

FUSION_DEPTH = 1000
"""Candidates of each ranking that hybrid search fuses, at least."""


@dataclass(frozen=True)
class Queries:
    """Queries as texts, as vectors, float32 [q, dim], or as both; `excluded` is a position that no query may find."""

    texts: Sequence[str] | None
    vectors: np.ndarray | None
    excluded: int | None = None

    def only(self, number: int) -> "Queries":
        """One of the queries."""
        texts = None if self.texts is None else [self.texts[number]]
        vectors = None if self.vectors is None else self.vectors[number : number + 1]
        return Queries(texts, vectors, self.excluded)

    def without_excluded(self, rankings: list[Ranking], depth: int) -> list[Ranking]:
        """The rankings without the excluded position, cut to `depth`."""
        if self.excluded is None:
            return rankings
        return [[hit for hit in ranking if hit[0] != self.excluded][:depth] for ranking in rankings]

    def depth_for(self, depth: int) -> int:
        """The depth that leaves `depth` candidates once the excluded position is gone."""
        return depth if self.excluded is None else depth + 1


def dense(
    index: VectorIndex, queries: np.ndarray, k: int, within: Selection | None = None, *, exact: bool = False
) -> list[Ranking]:
    """Cosine between query and document vectors; queries [q, dim]; only documents that `within` selects.

    `exact` compares with every one of these vectors, whatever the type of the index.
    """
    scores, positions = index.search(queries, k, within, exact=exact)
    return [list(zip(p, s, strict=True)) for p, s in zip(positions.tolist(), scores.tolist(), strict=True)]


def lexical(documents: DocumentStore, queries: Sequence[str], k: int, within: Selection | None = None) -> list[Ranking]:
    """BM25 over title and text; only documents that `within` selects, if it is given."""
    positions = None if within is None else within.positions
    return [documents.search(query, k, within=positions) for query in queries]


def convex_combination(dense: Ranking, lexical: Ranking, k: int, *, weights: Weights = DEFAULT_WEIGHTS) -> Ranking:
    """The k best by a weighted mean of cosine and BM25, each scaled to at most 1; ties by position.

    Cosines are scaled from the last candidate (0) to the best (1), BM25 from 0. A document that only one ranking holds
    has 0 in the other. As the scores count, a document that is far ahead by vectors stays ahead of one whose words
    happen to match, which ranks alone cannot tell.

    Bruch, Gai and Ingber, "An analysis of fusion functions for hybrid retrieval", ACM TOIS 42, 2023.
    """
    lowest = dense[:FUSION_DEPTH][-1][1] if dense else 0.0  # at one depth, so that k does not change the order
    fused: dict[int, float] = defaultdict(float)
    for ranking, weight, zero in zip((dense, lexical), weights, (lowest, 0.0), strict=True):
        for position, score in _scaled(ranking, zero):
            fused[position] += weight / sum(weights) * score
    return sorted(fused.items(), key=lambda hit: (-hit[1], hit[0]))[:k]


def _scaled(ranking: Ranking, zero: float) -> Iterator[tuple[int, float]]:
    """The scores of a ranking with `zero` at 0 and the best at 1; all 1 where they are equal.

    No candidate counts more than one before it: those behind the reordered ones have scores of another kind.
    """
    positions, scores = zip(*ranking, strict=True) if ranking else ((), ())
    span = scores[0] - zero if scores else 0.0
    for position, score in zip(positions, accumulate(scores, min), strict=True):
        yield position, (score - zero) / span if span > 0 else 1.0
