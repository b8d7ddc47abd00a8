"""What the values of metadata fields are: counts among some documents (facets), and a description of each field."""

import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal
from itertools import count, pairwise
from typing import Any, Literal

import numpy as np

from debater_search.errors import InvalidError
from debater_search.store.documents import DocumentStore
from debater_search.store.filters import UnknownFieldError
from debater_search.store.values import date_text
from debater_search.types import Count, Facet, RangeCount

FieldType = Literal["number", "text", "boolean", "date", "mixed", "object", "long", "missing"]
"""`mixed`: of several types, unless nine of ten values are numbers, or dates. `object`: its own fields are listed
beside it. `long`: texts over 200 characters, or lists over 64 elements, which are not counted."""

_COUNTED = "type IN ('text', 'date text', 'number', 'boolean')"
_NUMBERS = "FROM fields WHERE key = ? AND type = 'number'"
NEARLY_ALL = 0.9  # of a field's values
_PERIODS = ("%Y-%m-%d", "%Y-%m", "%Y")
_LARGEST = 300  # powers of ten; numbers above are not counted in ranges

_PLAIN: dict[str, FieldType] = {"text": "text", "date text": "date", "number": "number", "boolean": "boolean"}


Ask = Callable[..., list[Any]]
"""The rows of a statement about `fields`, with values for its question marks."""


@dataclass(frozen=True)
class FieldDescription:
    """A field: in how many `documents` it has a value, and which.

    `min` and `max` are there for numbers and dates, which are ISO 8601 in UTC; for other types the most frequent
    `values`, and how many `distinct` values there are. Only `count_values` counts numbers and dates. `lists` is True
    where a document has more than one value, else None.
    """

    name: str
    type: FieldType
    documents: int
    min: int | float | str | None = None
    max: int | float | str | None = None
    values: list[Count] | None = None
    distinct: int | None = None
    ranges: list[RangeCount] | None = None
    lists: Literal[True] | None = None

    @property
    def facet(self) -> Facet:
        """The counts as a part of a search's answer."""
        return Facet(self.documents, self.values or [], self.ranges or [])


def require_countable(documents: DocumentStore, facets: Sequence[str]) -> None:
    """Raise DebaterError unless the values of these fields can be counted."""
    if not documents.has_field_table:
        raise InvalidError("This index has no table of fields to count values in.", "Compact it: debater compact INDEX")
    for field in facets:
        if not documents.has_field(field):
            raise UnknownFieldError(field, documents.fields())


def describe_fields(documents: DocumentStore, limit: int = 10) -> Iterator[FieldDescription]:
    """Each metadata field, in order of names, with its `limit` most frequent values; none without the table."""
    if not documents.has_field_table:
        return
    with documents.reading():
        for name in documents.fields():
            yield _described(documents.field_rows, name, limit)


def count_values(
    documents: DocumentStore, name: str, among: np.ndarray | None = None, limit: int = 10
) -> FieldDescription:
    """A field of the documents at some positions, or of all, with the documents per value, whatever its type.

    An element of a list counts by itself.

    Numbers with more than `limit` different values are counted in at most so many ranges (two at least). The values of
    dates are days, months or years: the shortest of these periods that at most `limit` values need. There must be the
    table of fields.
    """
    with documents.reading(), _rows_of(documents, name, among) as ask:
        field = _described(ask, name, limit)
        if field.type == "date":
            return replace(field, **_periods(ask, name, limit))
        if field.type != "number":
            return field
        [(distinct,)] = ask(f"SELECT count(DISTINCT value) {_NUMBERS}", name)
        if distinct > limit and (edges := _edges(field.min, field.max, limit)):
            return replace(field, distinct=distinct, ranges=_ranges(ask, name, edges))
        return replace(field, distinct=distinct, values=_most_frequent(ask, _NUMBERS, name, limit))


@contextmanager
def _rows_of(documents: DocumentStore, name: str, among: np.ndarray | None) -> Iterator[Ask]:
    """What statements about a field read: its rows on disk, or, read once, those of the documents at some positions."""
    if among is None:
        yield documents.field_rows
        return
    with closing(sqlite3.connect(":memory:")) as few:
        few.execute("CREATE TABLE fields (key, type, value, position)")
        few.executemany("INSERT INTO fields VALUES (?, ?, ?, ?)", documents.field_rows_of(name, among))
        yield lambda sql, *values: few.execute(sql, values).fetchall()


def _periods(ask: Ask, name: str, limit: int) -> dict[str, Any]:
    """The days, months or years of a field's dates in their order; the most frequent years if there are too many."""
    rows: list[Count] = []
    for period in _PERIODS:
        sql = (
            "SELECT strftime(?2, value / 1000000.0, 'unixepoch') AS period, count(DISTINCT position) "
            "FROM fields WHERE key = ?1 AND type = 'date' GROUP BY period ORDER BY period"
        )
        rows = ask(sql, name, period)
        if len(rows) <= limit:
            break
    shown = sorted(sorted(rows, key=lambda row: -row[1])[:limit])
    return {"values": shown, "distinct": len(rows)}


def _ranges(ask: Ask, name: str, edges: list[int | float]) -> list[RangeCount]:
    sql = f"SELECT count(DISTINCT position) {_NUMBERS} AND value >= ? AND value < ?"
    return [(low, high, int(ask(sql, name, low, high)[0][0])) for low, high in pairwise(edges)]


def _edges(low: Any, high: Any, limit: int) -> list[int | float]:
    """The limits of at most `limit` ranges (two at least) of equal, round length from `low` to above `high`.

    They are decimal multiples, so that 0.3 is the number that people write. Empty if the numbers are too large.
    """
    first, last = Decimal(low), Decimal(high)
    exponent = ((last - first) / limit).adjusted()
    if max(first.adjusted(), last.adjusted()) >= _LARGEST:
        return []
    for step in (Decimal(digit).scaleb(exponent + more) for more in count() for digit in (1, 2, 5)):
        start, stop = (int((bound / step).to_integral_value(ROUND_FLOOR)) for bound in (first, last))
        if stop - start < max(limit, 2):
            multiples = [number * step for number in range(start, stop + 2)]
            edges = [int(edge) if step >= 1 and abs(edge) < 2**63 else float(edge) for edge in multiples]
            return edges if edges[-1] > high else [*edges[:-1], math.nextafter(high, math.inf)]
    return []


def _described(ask: Ask, name: str, limit: int) -> FieldDescription:
    values = "SELECT type, value, count(*) AS rows FROM fields WHERE key = ? GROUP BY type, value"
    sql = f"SELECT type, count(*), min(value), max(value), sum(rows) FROM ({values}) GROUP BY type"
    rows = {type: row for type, *row in ask(sql, name) if type != "missing"}
    several = rows.pop("several", None)
    documents_with = sum(row[3] for type, row in rows.items() if type in (*_PLAIN, "object", "long"))
    if several:  # a document with several values counts once
        counted = f"FROM fields WHERE key = ? AND ({_COUNTED} OR type IN ('object', 'long'))"
        documents_with = ask(f"SELECT count(DISTINCT position) {counted}", name)[0][0]
    kinds = [type for type in _PLAIN if type in rows]
    if not kinds:
        type: FieldType = "object" if "object" in rows else "long" if "long" in rows else "missing"
        return FieldDescription(name, type, documents_with)
    type = _usual(kinds, rows) if not {"object", "long"} & rows.keys() else "mixed"
    field = FieldDescription(name, type, documents_with, lists=True if several else None)
    if type == "number":
        low, high = rows["number"][1:3]
        return replace(field, min=low, max=high)
    if type == "date":
        _, first, last, _ = rows["date"]
        return replace(field, min=date_text(first), max=date_text(last))
    frequent = _most_frequent(ask, f"FROM fields WHERE key = ? AND {_COUNTED}", name, limit)
    return replace(field, values=frequent, distinct=sum(rows[kind][0] for kind in kinds))


def _usual(kinds: list[str], rows: dict[str, list[Any]]) -> FieldType:
    """The type of a field's values; also the type of nearly all where it is a number or a date."""
    usual = max(kinds, key=lambda kind: rows[kind][3])
    share = rows[usual][3] / sum(rows[kind][3] for kind in kinds)
    return _PLAIN[usual] if share == 1 or (share >= NEARLY_ALL and usual in ("number", "date text")) else "mixed"


def _most_frequent(ask: Ask, where: str, name: str, limit: int) -> list[Count]:
    order = "GROUP BY type, value ORDER BY count(*) DESC, type, value LIMIT ?"
    rows = ask(f"SELECT type, value, count(*) {where} {order}", name, limit)
    return [(bool(value) if type == "boolean" else value, count) for type, value, count in rows]
