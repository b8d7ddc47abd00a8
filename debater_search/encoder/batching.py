"""Batches cut by token budget: sequences of like length together, little padding, bounded memory."""

from collections.abc import Iterator, Sequence

import numpy as np


def longest_first(lengths: Sequence[int]) -> list[int]:
    """Positions into `lengths`, the longest first, so that memory peaks at once and not at the end."""
    return sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))


def rows_within(budget: int, longest: int) -> int:
    """How many rows of `longest` tokens make a batch of `budget` padded tokens; at least 1."""
    return max(1, budget // max(1, longest))


def token_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Cut sequences, longest first, into batches of at most `budget` padded tokens (rows x longest row).

    Yields lists of positions into `lengths`; each position comes exactly once. A sequence longer than the budget is a
    batch of its own.
    """
    order = longest_first(lengths)
    while order:
        rows = rows_within(budget, lengths[order[0]])
        yield order[:rows]
        order = order[rows:]


def pad(sequences: Sequence[Sequence[int]], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Right-pad token ids. Returns ids [n, longest] and lengths [n], both int64."""
    lengths = np.array([len(s) for s in sequences], dtype=np.int64)
    ids = np.full((len(sequences), int(lengths.max(initial=1))), pad_id, dtype=np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
    return ids, lengths
