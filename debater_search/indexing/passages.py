"""Cut long documents into passages of at most so many tokens, at the ends of sentences where that is possible."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

from debater_search.encoder.protocol import TextEncoder, Tokenizing
from debater_search.errors import InvalidError
from debater_search.sentences import SENTENCE_END
from debater_search.store.manifest import PassageSettings
from debater_search.types import Document, Span

_PIECE = 100_000  # characters that are tokenized at once
_SEAMS = 2  # tokens that a passage may have more than the same words inside their document
_LEAST = 8  # tokens of text that a passage must have room for


class Splitter:
    """Makes passages that the model of `encoder` reads whole: title, text and all else within `settings.tokens`.

    Raises InvalidError for settings that this model cannot follow, and for an encoder that does not show its tokens.
    """

    def __init__(self, encoder: TextEncoder, settings: PassageSettings) -> None:
        if not isinstance(encoder, Tokenizing):
            raise InvalidError(
                f"{encoder.name} cannot cut documents into passages: it does not show its tokens.",
                "Leave `passages` out, or use a model that `Encoder.load` loads.",
            )
        self._encoder: Tokenizing = encoder
        self._settings = settings
        (frame,) = encoder.token_ids([""], "document")
        self._room = settings.tokens - len(frame) - _SEAMS
        longest = encoder.document_length
        if settings.tokens > longest:
            raise InvalidError(
                f"Passages of {settings.tokens} tokens are too long: the model reads {longest}.",
                f"Use `passages` of {longest} or fewer.",
            )
        if self._room < 2 * _LEAST:
            raise InvalidError(
                f"Passages of {settings.tokens} tokens are too short: {len(frame)} are the model's own.",
                f"Use `passages` of {len(frame) + _SEAMS + 2 * _LEAST} or more.",
            )
        if settings.overlap > settings.tokens // 2:
            raise InvalidError(
                f"Passages of {settings.tokens} tokens cannot overlap by {settings.overlap}.",
                "Use an `overlap` of at most half a passage.",
            )

    def __call__(self, documents: Sequence[Document]) -> list[list[Span]]:
        """The passages of each document, one or more; every word of the text is in one."""
        titles = self._encoder.token_offsets([document.title for document in documents])
        return [
            self._split(document, title, self._offsets(document.text))
            for document, title in zip(documents, titles, strict=True)
        ]

    def _offsets(self, text: str) -> np.ndarray:
        starts = range(0, max(1, len(text)), _PIECE)
        pieces = self._encoder.token_offsets([text[start : start + _PIECE] for start in starts])
        return np.concatenate([start + piece for start, piece in zip(starts, pieces, strict=True)])

    def _split(self, document: Document, title: np.ndarray, tokens: np.ndarray) -> list[Span]:
        whole = Span(len(document.title), 0, len(document.text))
        if len(title) + len(tokens) <= self._room:
            return [whole]
        # The title stands before every passage, but takes no more than half of it.
        kept = min(len(title), self._room // 2 if len(tokens) else self._room)
        characters = int(title[kept - 1, 1]) if kept < len(title) else whole.title
        if not len(tokens):
            return [Span(characters, 0, whole.stop)]
        room = self._room - kept
        # A token may hold the blank before its word.
        starts = [start + (start < stop and document.text[start].isspace()) for start, stop in tokens.tolist()]
        bounds = _bounds(document.text, starts)
        return [
            Span(characters, starts[begin], int(tokens[end - 1, 1]))
            for begin, end in _cuts(len(tokens), bounds, room, min(self._settings.overlap, room // 2))
        ]


def _bounds(text: str, starts: Sequence[int]) -> list[list[int]]:
    """The tokens that begin a sentence, and those that begin a word, in order; `starts` is where they begin."""
    sentences = {bisect_left(starts, match.end()) for match in SENTENCE_END.finditer(text)}
    words = [token for token, start in enumerate(starts) if start == 0 or text[start - 1].isspace()]
    return [sorted(sentences), words]


def _cuts(tokens: int, bounds: list[list[int]], room: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each passage, in tokens: as long as `room` allows, but for half of it, to end at a bound."""
    begin = 0
    while tokens - begin > room:
        end = _last(bounds, begin + room // 2 + 1, begin + room)
        yield begin, end
        begin = _first(bounds, end - overlap, end)
    yield begin, tokens


def _last(bounds: list[list[int]], low: int, high: int) -> int:
    """The last bound from `low` to `high`, of the first kind that has one there; else `high`."""
    for kind in bounds:
        found = bisect_right(kind, high)
        if found and kind[found - 1] >= low:
            return kind[found - 1]
    return high


def _first(bounds: list[list[int]], low: int, high: int) -> int:
    """The first bound from `low` to before `high`, of the first kind that has one there; else `low`."""
    for kind in bounds:
        found = bisect_left(kind, low)
        if found < len(kind) and kind[found] < high:
            return kind[found]
    return low
