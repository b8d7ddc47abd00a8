"""The retrieval modes as functions: each gives, for every query, a ranking of (position, score), best first."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from debater_search.search.request import EQUAL
from debater_search.store.documents import Condition, DocumentStore
from debater_search.vectors import VectorIndex

Ranking = list[tuple[int, float]]

FUSION_DEPTH = 1000  # of the two rankings that hybrid search fuses, at least


class BaseAndDelta:
    """Two vector indexes searched as one: the positions of the second follow those of the first."""

    def __init__(self, base: VectorIndex, delta: VectorIndex) -> None:
        self.base, self.delta = base, delta

    def __len__(self) -> int:
        return len(self.base) + len(self.delta)

    def search(
        self, queries: np.ndarray, k: int, *, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `VectorIndex.search`."""
        first = len(self.base)
        in_base = in_delta = None
        if allowed is not None:
            in_base, in_delta = allowed[allowed < first], allowed[allowed >= first] - first
        base_scores, base_positions = self.base.search(queries, k, allowed=in_base)
        delta_scores, delta_positions = self.delta.search(queries, k, allowed=in_delta)
        scores = np.hstack([base_scores, delta_scores])
        positions = np.hstack([base_positions, delta_positions + first])
        order = np.lexsort((positions, -scores))[:, :k]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(positions, order, axis=1)


class BestPassages:
    """An index of passages that answers with documents, each by the best of its passages.

    `owners`, int64 [rows], is the position of each row's document, -1 where it was deleted.
    """

    def __init__(self, index: VectorIndex | BaseAndDelta, owners: np.ndarray) -> None:
        self.index, self.owners = index, owners
        self._documents = len(np.unique(owners[owners >= 0]))

    def __len__(self) -> int:
        return self._documents

    def search(
        self, queries: np.ndarray, k: int, *, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `VectorIndex.search`, with positions of documents, also in `allowed`."""
        rows = None if allowed is None else np.flatnonzero(np.isin(self.owners, allowed))
        k = min(k, len(self) if allowed is None else len(allowed))
        all_rows = len(self.owners) if rows is None else len(rows)
        wide = min(2 * k, all_rows)
        while True:  # look further until there are passages of k different documents
            scores, found = self.index.search(queries, wide, allowed=rows)
            owners = self.owners[found]
            first = [np.sort(np.unique(documents, return_index=True)[1])[:k] for documents in owners]
            if wide == all_rows or all(len(columns) == k for columns in first):
                break
            wide = min(2 * wide, all_rows)
        best = np.array(first, np.int64).reshape(len(queries), k)
        return np.take_along_axis(scores, best, axis=1), np.take_along_axis(owners, best, axis=1)

    def best_row(self, query: np.ndarray, position: int) -> int:
        """The row of a document's passage that is nearest to a query [dim]."""
        _, rows = self.index.search(query[None], 1, allowed=np.flatnonzero(self.owners == position))
        return int(rows[0, 0])


Vectors = VectorIndex | BaseAndDelta | BestPassages


def dense(index: Vectors, queries: np.ndarray, k: int, *, allowed: np.ndarray | None = None) -> list[Ranking]:
    """Cosine between query and document vectors; queries [q, dim]; only positions that are `allowed`, where given."""
    scores, positions = index.search(queries, k, allowed=allowed)
    return [list(zip(p, s, strict=True)) for p, s in zip(positions.tolist(), scores.tolist(), strict=True)]


def lexical(
    documents: DocumentStore, queries: Sequence[str], k: int, *, where: Condition | None = None
) -> list[Ranking]:
    """BM25 over title and text; only documents that `where` allows, where given."""
    return [documents.search(query, k, where=where) for query in queries]


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
