"""A batch cut into forward passes of like lengths, so that little of what the model multiplies is padding."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from debater_search.encoder.batching import longest_first, token_batches

KINDS = ("document", "query")
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
    """That the model multiplies: padded, unless it packs texts of this kind."""
    counts: bool = True
    """False: encoded only because another process has one chunk more."""


def cut(texts: Sequence[Text], budget: int, *, least: int = 0, packed: Collection[str] = ()) -> list[Chunk]:
    """Forward passes of one kind and at most `budget` tokens.

    They are padded less than `MOST_PADDING` in all, unless that takes passes of fewer than `least` tokens. Texts of
    the `packed` kinds are laid end to end: nothing is padded, and passes are filled with tokens of texts alone.
    """
    lengths = [len(text.ids) for text in texts]
    chunks: list[Chunk] = []
    padded: list[list[int]] = []
    for kind in KINDS:
        at = [i for i, text in enumerate(texts) if text.kind == kind]
        batches = _filled if kind in packed else token_batches
        passes = [[at[row] for row in rows] for rows in batches([lengths[i] for i in at], budget)]
        if kind in packed:
            chunks += [Chunk(positions, kind, sum(lengths[i] for i in positions)) for positions in passes]
        else:
            padded += [sorted(positions, key=lengths.__getitem__) for positions in passes]
    tightened = _tightened(padded, lengths, least)
    return chunks + [Chunk(positions, texts[positions[0]].kind, _size(positions, lengths)) for positions in tightened]


def _filled(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """As `token_batches`, for sequences that are laid end to end."""
    rows: list[int] = []
    tokens = 0
    for row in longest_first(lengths):
        if rows and tokens + lengths[row] > budget:
            yield rows
            rows, tokens = [], 0
        rows.append(row)
        tokens += lengths[row]
    if rows:
        yield rows


def padding(tokens: float, padded: float) -> float:
    """Share of `padded` tokens that are not among `tokens`."""
    return 1 - tokens / padded if padded else 0.0


def _tightened(passes: list[list[int]], lengths: Sequence[int], least: int) -> list[list[int]]:
    """Split, where it saves the most, until the padding is small enough, but not below `least` padded tokens.

    Each pass comes sorted by length.
    """
    tokens = sum(lengths[i] for positions in passes for i in positions)
    splits = [_best_split(positions, lengths, least) for positions in passes]
    while padding(tokens, sum(_size(p, lengths) for p in passes)) > MOST_PADDING:
        worst = int(np.argmax([saved for saved, _ in splits]))
        saved, at = splits[worst]
        if not saved:
            break
        halves = [passes[worst][:at], passes[worst][at:]]
        passes[worst : worst + 1] = halves
        splits[worst : worst + 1] = [_best_split(half, lengths, least) for half in halves]
    return passes


def _best_split(positions: list[int], lengths: Sequence[int], least: int) -> tuple[int, int]:
    """(padded tokens saved, where) by cutting a pass in two of `least` tokens or more; (0, 0) if that is impossible."""
    sizes = np.array([lengths[i] for i in positions])
    before = np.arange(1, len(sizes))
    saved = before * (sizes[-1] - sizes[:-1])  # those before the cut are padded to the last of them only
    saved[(before * sizes[:-1] < least) | ((len(sizes) - before) * sizes[-1] < least)] = 0
    return (int(saved.max()), int(saved.argmax()) + 1) if saved.any() else (0, 0)


def _size(positions: Sequence[int], lengths: Sequence[int]) -> int:
    return len(positions) * max(lengths[i] for i in positions)
