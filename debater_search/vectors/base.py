"""The seam between the engine and whatever keeps its vectors."""

from pathlib import Path
from typing import Protocol, Self

import numpy as np


class VectorIndex(Protocol):
    """Vectors numbered from 0 in the order they were added, searched by inner product."""

    def __len__(self) -> int: ...

    def add(self, vectors: np.ndarray) -> None:
        """Append vectors, float32 [n, dim]."""
        ...

    def search(
        self, queries: np.ndarray, k: int, *, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores and positions of the best vectors for queries [q, dim]: both [q, min(k, len)].

        Best first; equal scores in the order of their positions, also across the cut at k. `allowed`, int64 [n] of
        different positions, keeps to these vectors: both results are [q, min(k, n)], and the search is exact.
        """
        ...

    def save(self, path: Path) -> None:
        """Write the index to a file; the caller makes it atomic."""
        ...

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read an index that `save` wrote; DebaterError where the file is missing or damaged."""
        ...
