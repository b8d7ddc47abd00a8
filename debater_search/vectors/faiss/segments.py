"""A base and the segments that were added to it, searched as one index."""

from collections.abc import Sequence

import numpy as np

from debater_search.vectors.base import Selection
from debater_search.vectors.faiss.index import FaissIndex
from debater_search.vectors.ranking import merged

_SMALL = 10_000
"""Vectors of the last segments that are copied into one in memory: a search of each segment takes 30 µs by itself."""


class SegmentedIndex:
    """Several indexes searched as one: the positions of each follow those of the index before it.

    The first may be of any type; the others are exact.
    """

    def __init__(self, base: FaissIndex, later: Sequence[FaissIndex]) -> None:
        self.segments = segments = [base, *_joined(later)]
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


def _joined(segments: Sequence[FaissIndex]) -> list[FaissIndex]:
    """The same segments, the last small ones as one."""
    rows, kept = 0, len(segments)
    while kept and rows + segments[kept - 1].total <= _SMALL:
        kept -= 1
        rows += segments[kept].total
    if len(segments) - kept < 2:
        return list(segments)
    joined = FaissIndex(segments[0].dim)
    for segment in segments[kept:]:
        joined.append(segment)
    return [*segments[:kept], joined]
