"""Search in a collection of Milvus, with the exactness and the order that the seam asks for."""

from collections.abc import Iterator

import numpy as np

from debater_search.vectors.base import Selection
from debater_search.vectors.milvus.collection import LIMIT, Collection, Scored, among, span
from debater_search.vectors.milvus.kinds import TYPES
from debater_search.vectors.ranking import (
    Look,
    all_different,
    contains,
    first_kept,
    in_order,
    merged,
    narrowed,
    others,
    ranked,
    without,
)

_PIECE = 16_000  # positions that one filter lists; Milvus takes 3 ms for 3,000 and 60 to 90 ms for 20,000
_MORE = 1.5  # times the hits that a filter lets through on average
_BYTES = 32_000_000  # of vectors in one answer; a server sends 100 MB at most
_READ = 1000  # positions whose vectors are read and compared here, where the type is approximate


class MilvusIndex:
    """`VectorIndex` over a collection that holds at least the positions 0 to `rows` - 1.

    Type `flat` is exact under every filter. The others are exact if `within` names at most 1,000 positions; of more
    they find what Milvus finds under a filter of positions (recall@10 of HNSW .94 at a tenth of 20,000 vectors, in
    milvus-lite: benchmarks/scale.md).
    """

    def __init__(self, collection: Collection, rows: int, dropped: np.ndarray, type: str, breadth: int | None) -> None:
        self._collection, self._rows, self._dropped = collection, rows, dropped
        self._kind, self.breadth = TYPES[type], breadth
        self._exact = self._kind.breadth is None

    def __len__(self) -> int:
        return self._rows - len(self._dropped)

    def search(
        self, queries: np.ndarray, k: int, within: Selection | None = None, *, exact: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `VectorIndex.search`; `exact` reads all vectors of an approximate type."""
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        allowed, left_out = narrowed(within, self._dropped, self._rows)
        there = self._rows - len(left_out) if allowed is None else len(allowed)
        k = min(k, there)
        if k == 0 or len(queries) == 0:
            return np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        if self._exact:
            return ranked(self._look(allowed, left_out), queries, k, there)
        if exact or k >= LIMIT or (allowed is not None and len(allowed) <= _READ):
            return ranked(self._scan(allowed, left_out), queries, k, there)
        scores, positions = self._look(allowed, left_out)(queries, k)
        if not all_different(scores):
            scores, positions = in_order(scores, positions)
        short = positions[:, -1] < 0  # the index led to fewer than k vectors
        if short.any():
            scores[short], positions[short] = ranked(self._scan(allowed, left_out), queries[short], k, there)
        return scores, positions

    def read(self, positions: np.ndarray) -> np.ndarray:
        """The vectors at these positions, int64 ascending, float32 [n, dim]."""
        pieces = [self._collection.read(among(piece))[0] for piece in _pieces(positions)]
        return np.concatenate(pieces)

    def _look(self, allowed: np.ndarray | None, left_out: np.ndarray) -> Look:
        """Search as the collection is indexed."""
        if allowed is None:
            return without(self._nearest, left_out, self._rows) if len(left_out) else self._nearest
        return lambda queries, k: self._among(queries, k, allowed)

    def _nearest(self, queries: np.ndarray, k: int) -> Scored:
        """The k best of all rows of this state, dropped ones included."""
        if k > LIMIT:
            return self._scan(None, self._dropped[:0])(queries, k)
        scores, positions = self._ask(queries, k, "")
        if positions.max() >= self._rows:  # a writer at work, or one that was killed, has written behind them
            return self._ask(queries, k, span(0, self._rows))
        return scores, positions

    def _among(self, queries: np.ndarray, k: int, allowed: np.ndarray) -> Scored:
        """The k best of these positions: by a filter of them, or, where they are many, among the best of all."""
        if len(allowed) > _PIECE:
            wide = int(_MORE * k * self._rows / len(allowed)) + k
            if wide <= LIMIT:
                scores, positions = self._nearest(queries, wide)
                kept = contains(allowed, positions)
                if kept.sum(axis=1).min() >= k:
                    return first_kept(scores, positions, kept, k)
        return merged([self._padded(queries, k, piece) for piece in _pieces(allowed)], k)

    def _padded(self, queries: np.ndarray, k: int, piece: np.ndarray) -> Scored:
        return self._ask(queries, min(k, len(piece)), among(piece))

    def _ask(self, queries: np.ndarray, k: int, where: str) -> Scored:
        parameters = {}
        if self._kind.breadth and self.breadth:
            parameters = {self._kind.breadth: max(self.breadth, k) if self._kind.at_least_k else self.breadth}
        return self._collection.search(queries, k, where, parameters)

    def _scan(self, allowed: np.ndarray | None, left_out: np.ndarray) -> Look:
        """Read the vectors that may be found, piece by piece, and compare here."""

        def look(queries: np.ndarray, k: int) -> Scored:
            best: Scored | None = None
            wanted = others(left_out, self._rows) if allowed is None else allowed
            for piece in _pieces(wanted, min(_PIECE, max(1, _BYTES // queries[0].nbytes))):
                whole = piece[-1] - piece[0] + 1 == len(piece)
                vectors, positions = self._collection.read(span(piece[0], piece[-1] + 1) if whole else among(piece))
                scored = queries @ vectors.T, np.broadcast_to(positions, (len(queries), len(positions)))
                best = merged([scored] if best is None else [best, scored], k)
            assert best is not None  # a search of nothing ends before
            return best

        return look


def _pieces(positions: np.ndarray, size: int = _PIECE) -> Iterator[np.ndarray]:
    for start in range(0, len(positions), size):
        yield positions[start : start + size]
