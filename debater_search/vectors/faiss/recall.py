"""What an approximate index finds of what exact search finds: measured, and tuned to a target."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from debater_search.vectors.base import VectorIndex
from debater_search.vectors.faiss.index import FaissIndex

DEPTHS = (10, 100)
_QUERIES = 400
_NOISE = 1.0  # length of what is added to a document of length 1
_EQUAL = 1e-5  # scores nearer than this may be the same, summed in another order
_K_FACTORS = (2, 4, 8, 16, 32, 64)
_LADDER = sorted({round(2 ** (step / 2)) for step in range(40)})


@dataclass(frozen=True)
class RecallTest:
    """Queries [q, dim], the document that each was made of, and the scores of the exact ranking without it [q, 100]."""

    queries: np.ndarray
    own: np.ndarray
    exact: np.ndarray

    @classmethod
    def sample(cls, rows: np.ndarray, floats: VectorIndex, *, seed: int = 0) -> Self:
        """Make queries of random documents, rows [n, dim] of `floats`, which is exact.

        Noise as long as the document itself turns each by 45 degrees, out of the region where documents lie, as
        questions are; and the document is left out of its own ranking.
        """
        random = np.random.default_rng(seed)
        own = np.sort(random.choice(len(rows), min(_QUERIES, len(rows)), replace=False))
        noise = random.standard_normal((len(own), rows.shape[1]))
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        queries = rows[own] + _NOISE * noise
        queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
        return cls(queries, own, _others(floats, queries, own, min(max(DEPTHS), len(rows) - 1)))

    def recall(self, index: VectorIndex, depth: int) -> float:
        """The share of the exact top `depth` that the index finds; equal scores are as good as each other."""
        depth = min(depth, self.exact.shape[1])
        if depth == 0:
            return 1.0
        found = _others(index, self.queries, self.own, depth)
        return float((found >= self.exact[:, depth - 1 : depth] - _EQUAL).mean())


def tune(index: FaissIndex, test: RecallTest, target: float) -> bool:
    """Set the least search parameters with which recall@10 reaches the target; False where even the most do not.

    Codes may lose half of what may be lost at all, which sets the number of candidates that are rescored; lists or
    graph the rest.
    """
    if index.exact:
        return True

    def reached(wanted: float) -> bool:
        return test.recall(index, DEPTHS[0]) >= wanted

    index.configure(breadth=index.widest)
    for k_factor in _K_FACTORS if "k_factor" in index.parameters else ():
        index.configure(k_factor=k_factor)
        if reached((1 + target) / 2):
            break
    if not reached(target):
        return False
    steps = _steps(index.widest)

    def enough(breadth: int) -> bool:
        index.configure(breadth=breadth)
        return reached(target)

    index.configure(breadth=steps[bisect_left(steps, True, hi=len(steps) - 1, key=enough)] if steps else None)
    return True


def _steps(widest: int) -> Sequence[int]:
    return [step for step in _LADDER if step < widest] + [widest] if widest else []


def _others(index: VectorIndex, queries: np.ndarray, own: np.ndarray, depth: int) -> np.ndarray:
    """Scores of the best `depth` vectors other than a query's own [q, depth]."""
    scores, positions = index.search(queries, depth + 1)
    scores = np.where(positions == own[:, None], -np.inf, scores)
    return -np.sort(-scores, axis=1)[:, :depth]
