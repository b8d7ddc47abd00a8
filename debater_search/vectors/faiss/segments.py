"""A base and the segments that were added to it, searched as one index."""

from collections.abc import Sequence

import numpy as np

from debater_search.vectors.base import Selection
from debater_search.vectors.faiss.index import FaissIndex
from debater_search.vectors.ranking import merged


class SegmentedIndex:
    """Several indexes searched as one: the positions of each follow those of the index before it."""

    def __init__(self, segments: Sequence[FaissIndex]) -> None:
        self.segments = segments
        self._bounds = np.cumsum([0, *(segment.total for segment in segments)])

    def __len__(self) -> int:
        return sum(map(len, self.segments))

    def search(
        self, queries: np.ndarray, k: int, within: Selection | None = None, *, exact: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `VectorIndex.search`."""
        parts = []
        for number, segment in enumerate(self.segments):
            scores, positions = segment.search(queries, k, self._part(within, number), exact=exact)
            if positions.shape[1]:
                parts.append((scores, positions + self._bounds[number]))
        if not parts:
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        return parts[0] if len(parts) == 1 else merged(parts, k)

    def _part(self, within: Selection | None, number: int) -> Selection | None:
        """The selection as a segment sees it, whose own positions begin at 0."""
        if within is None:
            return None
        start, stop = self._bounds[number : number + 2]
        low, high = within.positions.searchsorted([start, stop])
        if within.exclude and low == high:
            return None
        return Selection(within.positions[low:high] - start, within.exclude)
