"""What any backend needs to rank as the seam asks: ties in the order of positions, dropped vectors left out."""

from collections.abc import Callable

import numpy as np

from debater_search.vectors.base import Selection

# Queries [q, dim] and a number of hits → scores and positions [q, hits], best first, -1 where there are no more.
Look = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]

NONE = np.empty(0, np.int64)
"""No position."""

_SPARE = 4  # hits that are fetched beyond k, at least, where vectors are left out


def ranked(look: Look, queries: np.ndarray, k: int, there: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of the `there` vectors that `look` can find, equal scores in the order of their positions.

    A library cuts ties at k as it likes: look further until the cut falls between two different scores.
    """
    wide = min(k + 1, there)
    scores, positions = look(queries, wide)
    if all_different(scores):
        return scores[:, :k], positions[:, :k]
    best_scores, best_positions = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    pending = np.arange(len(queries))
    while True:
        scores, positions = in_order(scores, positions)
        best_scores[pending], best_positions[pending] = scores[:, :k], positions[:, :k]
        pending = pending[scores[:, k - 1] == scores[:, -1]]
        if wide == there or not len(pending):
            return best_scores, best_positions
        wide = min(2 * wide, there)
        scores, positions = look(queries[pending], wide)


def without(look: Look, left_out: np.ndarray, total: int) -> Look:
    """A `look` over `total` vectors that does not find those at the positions `left_out`, int64 ascending.

    It fetches a few hits more than are wanted, in proportion to what is left out, and twice as many while that is too
    few. This costs next to nothing, where a selector slows down every comparison.
    """
    crowd = total / max(1, total - len(left_out))

    def look_past(queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        wide = min(int(k * crowd) + _SPARE, k + len(left_out), total)
        while True:
            scores, positions = look(queries, wide)
            kept = ~contains(left_out, positions)
            if kept[:, :k].all():
                return scores[:, :k], positions[:, :k]
            found = kept & (positions >= 0)
            if wide >= min(k + len(left_out), total) or found.sum(axis=1).min() >= k or (positions[:, -1] < 0).all():
                return first_kept(scores, positions, found, k)
            wide = min(2 * wide, k + len(left_out), total)

    return look_past


def narrowed(within: Selection | None, dropped: np.ndarray, total: int) -> tuple[np.ndarray | None, np.ndarray]:
    """The positions that may be found; or None and those that may not, if they are few enough to look past them.

    `dropped`, int64 ascending, are never found.
    """
    left_out = dropped
    if within is not None:
        low, high = within.positions.searchsorted([0, total])
        named = within.positions[low:high]
        if not within.exclude:
            return (named[~contains(left_out, named)] if len(left_out) else named), NONE
        left_out = np.union1d(left_out, named)
    return (None, left_out) if 2 * len(left_out) <= total else (others(left_out, total), NONE)


def others(positions: np.ndarray, total: int) -> np.ndarray:
    """All positions but these, ascending."""
    mask = np.ones(total, np.bool_)
    mask[positions] = False
    return np.flatnonzero(mask)


def merged(parts: list[tuple[np.ndarray, np.ndarray]], k: int) -> tuple[np.ndarray, np.ndarray]:
    """One ranking of the k best out of several, each scores and positions [q, any]."""
    scores, positions = in_order(np.hstack([part[0] for part in parts]), np.hstack([part[1] for part in parts]))
    return scores[:, :k], positions[:, :k]


def all_different(scores: np.ndarray) -> bool:
    """Whether each row of scores falls strictly."""
    return bool((scores[:, 1:] < scores[:, :-1]).all())


def in_order(scores: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best first, equal scores by position."""
    order = np.lexsort((positions, -scores))
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(positions, order, axis=1)


def contains(ascending: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Whether each value is in a sorted array, bool of the shape of `values`."""
    if not len(ascending):
        return np.zeros(values.shape, np.bool_)
    places = np.minimum(ascending.searchsorted(values), len(ascending) - 1)
    return np.asarray(ascending[places] == values)


def first_kept(scores: np.ndarray, positions: np.ndarray, kept: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The first k columns of each row that are kept; -inf and -1 where there are fewer."""
    order = np.argsort(~kept, axis=1, kind="stable")[:, :k]
    there = np.take_along_axis(kept, order, axis=1)
    scores = np.where(there, np.take_along_axis(scores, order, axis=1), np.float32(-np.inf))
    return scores, np.where(there, np.take_along_axis(positions, order, axis=1), -1)
