"""What a value of metadata is, whatever the file that it came from: a number, a boolean, a date or a text.

The values of a document's fields become rows (key, type, value): those of nested objects under their path
(`specs.weight_g`), each element of a list by itself. A text that spells a number has a second row, as a number; a date
has two rows, as an instant and as a text.
"""

import json
import math
import re
import sys
from calendar import monthrange
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import date
from typing import Any, Literal, get_args

Type = Literal[
    "number", "text", "boolean", "date", "date text", "spelled number", "object", "missing", "long", "several"
]  # fmt: skip
"""`date`: microseconds since 1970, UTC. `missing`: null, blank or empty. `long`: too long to be stored twice.
`several`: no value, but the mark of a document with more than one, as in a list."""

TYPES: tuple[Type, ...] = get_args(Type)

FieldRow = tuple[str, Type, str | int | float]

_SECOND_ROWS = ("date", "spelled number")

MAX_TEXT = 200  # characters of a value; longer ones are read in the metadata
MAX_ROWS = 64  # of a field with all that it holds

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})(?:-([0-9]{2})(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?"
    r" ?([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?)?"
)
_YEAR = re.compile("[0-9]{4}")
_SECOND = 1_000_000  # microseconds
_DAY = 86_400 * _SECOND
_EPOCH = date(1970, 1, 1).toordinal()

Span = tuple[int, int]
"""The instants that a date means: the first one, and the one behind the last."""


def rows_of(metadata: str) -> set[FieldRow]:
    """The rows of a document's metadata, given as JSON. A field that is too long is one row of type `long`."""
    rows: set[FieldRow] = set()
    if metadata == "{}":
        return rows
    for key, value in json.loads(metadata).items():
        own: set[FieldRow] = set()
        for row in _rows(storable(key), value):
            own.add(row)
            if len(own) > MAX_ROWS or (isinstance(row[2], str) and len(row[2]) > MAX_TEXT):
                own = {(storable(key), "long", "")}
                break
        rows |= own
    values = Counter(key for key, type, _ in rows if type not in _SECOND_ROWS)
    return rows.union((key, "several", "") for key, count in values.items() if count > 1)


def all_rows_of(metadata: str, keys: Collection[str] | None = None) -> list[FieldRow]:
    """All rows of the metadata, or of some of its own keys, however long."""
    fields = json.loads(metadata)
    chosen = fields if keys is None else [key for key in keys if key in fields]
    return [row for key in chosen for row in _rows(storable(key), fields[key])]


def holders_of(fields: Iterable[str]) -> list[str]:
    """The fields, and the objects that they may lie in."""
    parts = [field.split(".") for field in fields]
    return [".".join(names[:length]) for names in parts for length in range(1, len(names) + 1)]


def text_rows(key: str, text: str) -> list[FieldRow]:
    """The rows of a field that holds a text."""
    return list(_rows(key, text))


def number_of(text: str) -> int | float | None:
    """The number that a text spells, None if it spells none; integers beyond 64 bits become floats."""
    text = text.strip()
    if len(text) > MAX_TEXT or not _NUMBER.fullmatch(text):
        return None
    if text.lstrip("+-").isdigit():
        return _bounded(int(text))
    number = float(text)
    return number if math.isfinite(number) else None


def truth_of(text: str) -> bool | None:
    """The boolean that a text spells, None if it spells none."""
    return {"true": True, "false": False}.get(text.strip().lower())


def span_of(text: str) -> Span | None:
    """The instants of a year, a month, a day or a time in ISO 8601, UTC if no zone is given; None for other texts."""
    text = text.strip()
    if _YEAR.fullmatch(text):
        return year_span(int(text))
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute = (int(part or 0) for part in found.groups()[:5])
    second, fraction, zone = found[6], found[7], found[8]
    try:
        if not found[3]:
            start = date(year, month, 1).toordinal() - _EPOCH
            return start * _DAY, (start + monthrange(year, month)[1]) * _DAY
        start = (date(year, month, day).toordinal() - _EPOCH) * _DAY
    except ValueError:
        return None
    if not found[4]:
        return start, start + _DAY
    if hour > 23 or minute > 59 or int(second or 0) > 59 or int((zone or "")[1:3] or 0) > 23:
        return None
    start += (60 * hour + minute) * 60 * _SECOND + int(second or 0) * _SECOND
    start += int((fraction or "").ljust(6, "0")[:6]) - _offset(zone)
    return start, start + (1 if fraction else _SECOND if second else 60 * _SECOND)


def year_span(year: int) -> Span | None:
    """The instants of a year; None for a number that is none."""
    if not 1 <= year <= 9999:
        return None
    return (date(year, 1, 1).toordinal() - _EPOCH) * _DAY, (date(year, 12, 31).toordinal() + 1 - _EPOCH) * _DAY


def date_text(instant: int) -> str:
    """An instant as ISO 8601, in UTC; a day if it is the first of one."""
    days, rest = divmod(instant, _DAY)
    day = date.fromordinal(min(max(days + _EPOCH, 1), date.max.toordinal())).isoformat()
    seconds, fraction = divmod(rest, _SECOND)
    time = f"T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{f'.{fraction:06}' if fraction else ''}Z"
    return day + time if rest else day


def storable(text: str) -> str:
    """The text without halves of surrogate pairs, which no database takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _rows(key: str, value: Any) -> Iterator[FieldRow]:
    """The rows of a field and of what it holds; no recursion, for metadata may be nested deeply."""
    waiting: list[tuple[str, Any]] = [(key, value)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict) and value:
            yield key, "object", ""
            waiting += ((f"{key}.{storable(name)}", part) for name, part in value.items())
        elif isinstance(value, list) and value:
            waiting += ((key, part) for part in value)
        elif isinstance(value, bool):
            yield key, "boolean", int(value)
        elif isinstance(value, int | float):
            yield key, "number", _bounded(value)
        elif isinstance(value, str) and value.strip():
            yield from _text_rows(key, storable(value))
        else:
            yield key, "missing", ""


def _text_rows(key: str, text: str) -> Iterator[FieldRow]:
    span = None if _YEAR.fullmatch(text) else span_of(text)
    yield key, "text" if span is None else "date text", text
    if span is not None:
        yield key, "date", span[0]
    elif (number := number_of(text)) is not None:
        yield key, "spelled number", number


def _bounded(number: int | float) -> int | float:
    """A number that SQLite holds: integers beyond 64 bits become floats."""
    if isinstance(number, float) or -(2**63) <= number < 2**63:
        return number
    try:
        return float(number)
    except OverflowError:
        return sys.float_info.max if number > 0 else -sys.float_info.max


def _offset(zone: str | None) -> int:
    """The microseconds that a zone is ahead of UTC."""
    if zone is None or zone in "Zz":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return (-1 if zone[0] == "-" else 1) * (60 * int(digits[:2]) + int(digits[2:])) * 60 * _SECOND
