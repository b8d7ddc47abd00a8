"""Sets of labelled pairs: the negatives of a query, which are rows of their own, join the rows of its positives."""

import json
import logging
from collections.abc import Callable, Iterator
from itertools import islice

from debater_search.data.labels import label_field, pair_label
from debater_search.data.rows import Fields
from debater_search.data.training import NEGATIVE_FIELDS, POSITIVE_FIELDS, QUERY_FIELDS, texts_of
from debater_search.errors import DebaterError

logger = logging.getLogger(__name__)

_LOOKED_AT = 100
"""Rows at the head of a set that tell whether its pairs are labelled."""

Lines = Callable[[], Iterator[bytes]]
Rows = Callable[[], Iterator[tuple[int, Fields]]]


def are_labelled(lines: Lines) -> bool:
    """Whether the first JSON lines of a set have labels."""
    return any(_is_labelled(_parsed(line)) for line in islice(lines(), _LOOKED_AT))


def joined_lines(lines: Lines, name: str) -> Iterator[bytes]:
    """The JSON lines of a set, one for one; a negative that joined a positive leaves a blank line.

    The negatives are held in memory. Those of queries without a positive are left out, with a warning that calls the
    set `name`.
    """
    stream = lines()
    head = list(islice(stream, _LOOKED_AT))
    if not any(_is_labelled(_parsed(line)) for line in head):
        yield from head
        yield from stream
        return
    pairs = _Pairs()
    for line in lines():
        if (fields := _parsed(line)) is not None:
            pairs.note(fields)
    for line in lines():
        fields = _parsed(line)
        joined = pairs.joined(fields) if fields is not None else fields
        if fields is joined:
            yield line
        else:
            yield b"\n" if joined is None else json.dumps(joined).encode() + b"\n"
    pairs.say_left_out(name)


def joined_rows(rows: Rows, name: str) -> Iterator[tuple[int, Fields]]:
    """The numbered rows of a set without the negatives, as `joined_lines`."""
    stream = rows()
    head = list(islice(stream, _LOOKED_AT))
    if not any(_is_labelled(fields) for _, fields in head):
        yield from head
        yield from stream
        return
    pairs = _Pairs()
    for _, fields in rows():
        pairs.note(fields)
    for number, fields in rows():
        joined = pairs.joined(fields)
        if joined is not None:
            yield number, joined
    pairs.say_left_out(name)


class _Pairs:
    """What the pairs of a set say of each query."""

    def __init__(self) -> None:
        self._positives: dict[tuple[str, ...], set[int]] = {}  # hashes of texts
        self._negatives: dict[tuple[str, ...], dict[str, None]] = {}
        self._left_out = 0

    def note(self, fields: Fields) -> None:
        """Read a row; one that cannot be used says nothing."""
        found = _pair(fields)
        if found is None:
            return
        query, texts, label = found
        if label is False:
            self._negatives.setdefault(query, {}).update(dict.fromkeys(texts))
        else:
            self._positives.setdefault(query, set()).update(map(hash, texts))

    def joined(self, fields: Fields) -> Fields | None:
        """A row with the negatives of its query; None if it is a negative. Other rows come back as they are.

        A negative comes back, too, if the whole set has no positive: it is then what is wrong.
        """
        found = _pair(fields)
        if found is None:
            return fields
        query, _, label = found
        positives = self._positives.get(query)
        if label is False:
            self._left_out += positives is None
            return None if self._positives else fields
        more = [text for text in self._negatives.get(query, ()) if hash(text) not in (positives or ())]
        if not more:
            return fields
        own = texts_of(fields, NEGATIVE_FIELDS[:1], "")
        return {**fields, NEGATIVE_FIELDS[0]: [*own, *more]}

    def say_left_out(self, name: str) -> None:
        """Warn of the negatives that joined no row."""
        if self._left_out and self._positives:
            logger.warning(
                "Rows of %s that are left out: %s, whose label says that they are negatives, and whose queries have no "
                "positive.", name, f"{self._left_out:,}",
            )  # fmt: skip


def _pair(fields: Fields) -> tuple[tuple[str, ...], list[str], bool | None] | None:
    try:
        query, texts = texts_of(fields, QUERY_FIELDS, ""), texts_of(fields, POSITIVE_FIELDS, "")
        texts_of(fields, NEGATIVE_FIELDS[:1], "")
        return (tuple(query), texts, pair_label(fields, "")) if query and texts else None
    except DebaterError:
        return None


def _is_labelled(fields: Fields | None) -> bool:
    return fields is not None and label_field(fields) is not None


def _parsed(line: bytes) -> Fields | None:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None
