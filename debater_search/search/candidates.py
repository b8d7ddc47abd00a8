"""Candidates of queries, by vectors and by words: for each query a ranking of (position, score), best first."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from debater_search.search.request import EQUAL
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


def reciprocal_rank_fusion(
    rankings: Iterable[Ranking], k: int, *, weights: Iterable[float] = EQUAL, constant: int = 60
) -> Ranking:
    """Sum over the rankings of weight / (constant + rank), ranks from 1; ties by position.

    Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods",
    SIGIR 2009.
    """
    fused: dict[int, float] = defaultdict(float)
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, (position, _) in enumerate(ranking, start=1):
            fused[position] += weight / (constant + rank)
    return sorted(fused.items(), key=lambda hit: (-hit[1], hit[0]))[:k]
