"""What an approximate index finds of what exact search finds, measured with queries made of documents."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from debater_search.vectors.base import VectorIndex

DEPTHS = (10, 100)
_QUERIES = 400
_NOISE = 1.0  # length of what is added to a document of length 1
_EQUAL = 1e-5  # scores nearer than this may be the same, summed in another order


@dataclass(frozen=True)
class RecallTest:
    """Queries [q, dim], the document that each was made of, and the scores of the exact ranking without it [q, 100]."""

    queries: np.ndarray
    own: np.ndarray
    exact: np.ndarray

    @classmethod
    def sample(cls, rows: np.ndarray, floats: VectorIndex, *, seed: int = 0) -> Self:
        """Make queries of random documents, rows [n, dim] of `floats`, which is exact."""
        own = sample_positions(len(rows), seed=seed)
        return cls.of(own, rows[own], floats, seed=seed)

    @classmethod
    def of(cls, own: np.ndarray, documents: np.ndarray, floats: VectorIndex, *, seed: int = 0) -> Self:
        """Make a query of each of these documents [q, dim], whose positions in `floats`, which is exact, are `own`.

        Noise as long as the document itself turns each by 45 degrees, out of the region where documents lie, as
        questions are; and the document is left out of its own ranking.
        """
        noise = np.random.default_rng(seed + 1).standard_normal(documents.shape)
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        queries = documents + _NOISE * noise
        queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
        return cls(queries, own, _others(floats, queries, own, min(max(DEPTHS), len(floats) - 1)))

    def recall(self, index: VectorIndex, depth: int) -> float:
        """The share of the exact top `depth` that the index finds; equal scores are as good as each other."""
        depth = min(depth, self.exact.shape[1])
        if depth == 0:
            return 1.0
        found = _others(index, self.queries, self.own, depth)
        return float((found >= self.exact[:, depth - 1 : depth] - _EQUAL).mean())


def _others(index: VectorIndex, queries: np.ndarray, own: np.ndarray, depth: int) -> np.ndarray:
    """Scores of the best `depth` vectors other than a query's own [q, depth]."""
    scores, positions = index.search(queries, depth + 1)
    scores = np.where(positions == own[:, None], -np.inf, scores)
    return -np.sort(-scores, axis=1)[:, :depth]


def sample_positions(total: int, *, seed: int = 0) -> np.ndarray:
    """Positions of the documents that a test makes queries of, int64 ascending."""
    return np.sort(np.random.default_rng(seed).choice(total, min(_QUERIES, total), replace=False))
