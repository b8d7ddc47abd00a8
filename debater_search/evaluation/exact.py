"""Exact search over stored vectors, scored in several ways at once, shard by shard."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from debater_search.progress import progress
from debater_search.types import Run

if TYPE_CHECKING:
    from debater_search.store.embeddings import EmbeddingStore

Block = tuple[np.ndarray, np.ndarray]
"""Positions, int64 [rows], and the vectors [rows, dim] or thinking steps [rows, steps, dim] stored there."""

Read = Callable[[np.ndarray], Iterable[np.ndarray]]
"""Vectors or thinking steps of a block → its scores [queries, rows], once per way of scoring."""

Ranked = tuple[np.ndarray, np.ndarray]
"""Scores and positions of documents, both [queries, ≤ k], best first."""


def live_blocks(
    store: "EmbeddingStore", live: np.ndarray | None, *, steps: bool = False, show: bool = False
) -> Iterator[Block]:
    """The rows of a store that have a document, shard by shard: vectors or, with `steps`, all thinking steps.

    `live` are their positions, int64 in ascending order; None if all rows have one. `show` shows a progress line.

    Raises DebaterError if `steps` is set and the store holds only the last step.
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
    """The best k documents per query: one run per way of scoring that `read` has; ties are ordered by position.

    `ids` holds the document id of each position.
    """
    best: list[Ranked] = []  # per way of scoring
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
    """The best k of known and new documents, best first."""
    scores, positions = np.hstack([known[0], scores]), np.hstack([known[1], positions])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(positions, order, axis=1)
