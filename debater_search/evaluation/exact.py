"""Exact search over stored vectors, read in several ways at once, a shard at a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from debater_search.progress import progress
from debater_search.types import Run

if TYPE_CHECKING:
    from debater_search.store.embeddings import EmbeddingStore

Block = tuple[np.ndarray, np.ndarray]
"""Positions, int64 [rows], and what is stored there: vectors [rows, dim], or thinking steps [rows, steps, dim]."""

Read = Callable[[np.ndarray], Iterable[np.ndarray]]
"""What a block stores → scores [queries, rows] by each of several readings of it."""

Ranked = tuple[np.ndarray, np.ndarray]
"""Scores and positions of documents, both [queries, ≤ k], best first."""


def live_blocks(
    store: "EmbeddingStore", live: np.ndarray | None, *, steps: bool = False, show: bool = False
) -> Iterator[Block]:
    """The rows of a store that have a document, shard by shard: vectors or, with `steps`, every thinking step.

    `live` are their positions, int64 in order; None where all have one. `show` has a progress line.

    Raises DebaterError if steps are wanted and the store holds the last one only.
    """
    start = 0
    with progress("Searching", len(store), "documents", enabled=show) as bar:
        for block in store.steps() if steps else (shard.vectors for shard in store.shards()):
            stop = start + len(block)
            if live is None:
                yield np.arange(start, stop), block
            else:
                low, high = np.searchsorted(live, [start, stop])
                yield live[low:high], block[live[low:high] - start]
            bar.advance(stop - start)
            start = stop


def search_blocks(
    query_ids: Sequence[str], ids: Sequence[str], blocks: Iterable[Block], read: Read, k: int
) -> list[Run]:
    """The best k documents of every query by each reading of the blocks: one run for each, ties by position.

    `ids` are those of all positions.
    """
    best: list[Ranked] = []  # of each reading
    nothing = np.empty((len(query_ids), 0)), np.empty((len(query_ids), 0), dtype=np.int64)
    for rows, block in blocks:
        positions = np.broadcast_to(rows, (len(query_ids), len(rows)))
        for number, scores in enumerate(read(block)):
            if number == len(best):
                best.append(nothing)
            best[number] = _best(best[number], scores, positions, k)
    names = np.array(ids, dtype=object)
    return [
        {
            query_id: dict(zip(names[positions[row]], scores[row].tolist(), strict=True))
            for row, query_id in enumerate(query_ids)
        }
        for scores, positions in best
    ]


def _best(known: Ranked, scores: np.ndarray, positions: np.ndarray, k: int) -> Ranked:
    """The best k of what is known and what is new, best first."""
    scores, positions = np.hstack([known[0], scores]), np.hstack([known[1], positions])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(positions, order, axis=1)
