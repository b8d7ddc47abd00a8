"""A batch cut into forward passes of like lengths, so that little of what the model multiplies is padding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from debater_search.encoder.batching import token_batches

MOST_PADDING = 0.05
"""Share of padded tokens above which a batch is cut into more passes."""


@dataclass(frozen=True)
class Text:
    """A tokenized text and how it is read."""

    ids: list[int]
    kind: str


@dataclass(frozen=True)
class Chunk:
    """Positions of texts that are encoded together."""

    positions: list[int]
    kind: str
    tokens: int
    """Padded."""
    counts: bool = True
    """False: encoded only because another process has one chunk more."""


def cut(texts: Sequence[Text], budget: int) -> list[Chunk]:
    """Forward passes of one kind and at most `budget` padded tokens, padded less than `MOST_PADDING` in all."""
    lengths = [len(text.ids) for text in texts]
    passes: list[list[int]] = []
    for kind in ("document", "query"):
        at = [i for i, text in enumerate(texts) if text.kind == kind]
        passes += [[at[row] for row in rows] for rows in token_batches([lengths[i] for i in at], budget)]
    passes = _tightened([sorted(positions, key=lengths.__getitem__) for positions in passes], lengths)
    return [Chunk(positions, texts[positions[0]].kind, _size(positions, lengths)) for positions in passes]


def padding(tokens: float, padded: float) -> float:
    """Share of `padded` tokens that are not among `tokens`."""
    return 1 - tokens / padded if padded else 0.0


def _tightened(passes: list[list[int]], lengths: Sequence[int]) -> list[list[int]]:
    """Split, where it saves the most, until the padding is small enough. Each pass comes sorted by length."""
    tokens = sum(lengths)
    splits = [_best_split(positions, lengths) for positions in passes]
    while padding(tokens, sum(_size(p, lengths) for p in passes)) > MOST_PADDING:
        worst = int(np.argmax([saved for saved, _ in splits]))
        _, at = splits[worst]
        halves = [passes[worst][:at], passes[worst][at:]]
        passes[worst : worst + 1] = halves
        splits[worst : worst + 1] = [_best_split(half, lengths) for half in halves]
    return passes


def _best_split(positions: list[int], lengths: Sequence[int]) -> tuple[int, int]:
    """(padded tokens saved, where) by cutting a pass in two."""
    sizes = np.array([lengths[i] for i in positions])
    before = np.arange(1, len(sizes))
    saved = before * (sizes[-1] - sizes[:-1])  # those before the cut are padded to the last of them only
    return (int(saved.max()), int(saved.argmax()) + 1) if len(saved) else (0, 0)


def _size(positions: Sequence[int], lengths: Sequence[int]) -> int:
    return len(positions) * max(lengths[i] for i in positions)
