"""Scores by the stored thinking steps: they reorder candidates and explain hits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from debater_search.search.candidates import Queries, Ranking
from debater_search.search.request import Rescore
from debater_search.store.embeddings import EmbeddingStore

RESCORE_DEPTH = 100
"""Candidates per query whose steps are read, at least: they are scattered over the shards, a millisecond each."""

_AT_ONCE = 512  # pairs of a query and a document whose vectors are in memory together


@dataclass(frozen=True)
class ThinkingSteps:
    """Reorders the first `depth` candidates by the best ("max") or the "mean" cosine of their thinking steps."""

    store: EmbeddingStore
    rescore: Rescore
    depth: int

    def __call__(self, rankings: list[Ranking], queries: Queries) -> list[Ranking]:
        """As `Reorder`."""
        assert queries.vectors is not None  # only dense candidates are reordered by steps
        return rescore(rankings, queries.vectors, self.store, self.rescore, self.depth)


def rescore(
    rankings: Sequence[Ranking], queries: np.ndarray, store: EmbeddingStore, how: Rescore, depth: int
) -> list[Ranking]:
    """Order the first `depth` of each ranking by the best or the mean cosine of their thinking steps; ties by position.

    Candidates behind them stay where they are. Queries are [q, dim].

    Raises:
        DebaterError: only the last step was stored.

    """
    heads = [ranking[:depth] for ranking in rankings]
    rows = np.repeat(np.arange(len(heads)), [len(head) for head in heads])
    positions = np.array([position for head in heads for position, _ in head], np.int64)
    cosines = step_cosines(store, queries, rows, positions)
    scores = iter((cosines.max(axis=1) if how == "max" else cosines.mean(axis=1)).tolist())
    return [
        sorted(((position, next(scores)) for position, _ in head), key=lambda hit: (-hit[1], hit[0])) + ranking[depth:]
        for head, ranking in zip(heads, rankings, strict=True)
    ]


def step_cosines(store: EmbeddingStore, queries: np.ndarray, rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Cosine between query `rows[i]` of `queries` [q, dim] and each step of the document at `positions[i]`: [i, steps].

    Rows that are near each other are read together.

    Raises:
        DebaterError: only the last step was stored.

    """
    cosines = np.empty((len(positions), store.manifest.thinking_steps), np.float32)
    order = np.argsort(positions, kind="stable")
    ordered = positions[order]
    for start, steps in store.around(ordered, steps=True):
        low, high = np.searchsorted(ordered, [start, start + len(steps)])
        for first in range(low, high, _AT_ONCE):
            pairs = order[first : min(first + _AT_ONCE, high)]
            chosen = steps[positions[pairs] - start]  # [pairs, steps, dim]
            cosines[pairs] = np.einsum("psd,pd->ps", chosen, queries[rows[pairs]], optimize=True)
    return cosines
