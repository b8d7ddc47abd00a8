"""What the values of metadata fields are: counts among some documents (facets), and a description of each field."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from debater_search.errors import InvalidError
from debater_search.store.documents import DocumentStore
from debater_search.store.filters import UnknownFieldError
from debater_search.store.values import date_text
from debater_search.types import Count, Facet

FieldType = Literal["number", "text", "boolean", "date", "mixed", "object", "long", "missing"]
"""`mixed`: of several types. `object`: its own fields are listed beside it. `long`: texts over 200 characters, or lists
over 64 elements, which are not counted."""

_COUNTED = "type IN ('text', 'date text', 'number', 'boolean')"
_PLAIN: dict[str, FieldType] = {"text": "text", "date text": "date", "number": "number", "boolean": "boolean"}


@dataclass(frozen=True)
class FieldDescription:
    """A field: in how many `documents` it has a value, and which.

    `min` and `max` are there for numbers and dates, which are ISO 8601 in UTC; for other types the most frequent
    `values`, and how many `distinct` values there are.
    """

    name: str
    type: FieldType
    documents: int
    min: int | float | str | None = None
    max: int | float | str | None = None
    values: list[Count] | None = None
    distinct: int | None = None


def require_countable(documents: DocumentStore, facets: Sequence[str]) -> None:
    """Raise DebaterError unless the values of these fields can be counted."""
    if not documents.has_field_table:
        raise InvalidError("This index has no table of fields to count values in.", "Compact it: debater compact INDEX")
    for field in facets:
        if not documents.has_field(field):
            raise UnknownFieldError(field, documents.fields())


def facet(documents: DocumentStore, name: str, among: np.ndarray | None = None, limit: int = 10) -> Facet:
    """Count the values of a field among documents at some positions, or all; an element of a list counts by itself.

    There must be the table of fields (`documents.has_field_table`).
    """
    with documents.reading() as connection:
        where = f"FROM fields WHERE key = ? AND {_COUNTED}"
        if among is not None:
            where += f" AND {connection.membership(among)}(position)"
        of = _count(documents, where, name)
        return Facet(of, _most_frequent(documents, where, name, limit))


def describe_fields(documents: DocumentStore, limit: int = 10) -> Iterator[FieldDescription]:
    """Each metadata field, in order of names, with its `limit` most frequent values; none without the table."""
    if not documents.has_field_table:
        return
    with documents.reading():
        for name in documents.fields():
            yield _described(documents, name, limit)


def _described(documents: DocumentStore, name: str, limit: int) -> FieldDescription:
    values = "SELECT type, value FROM fields WHERE key = ? GROUP BY type, value"
    sql = f"SELECT type, count(*), min(value), max(value) FROM ({values}) GROUP BY type"
    rows = {type: row for type, *row in documents.field_rows(sql, name) if type not in ("missing", "several")}
    count = _count(documents, f"FROM fields WHERE key = ? AND ({_COUNTED} OR type IN ('object', 'long'))", name)
    counted = [type for type in _PLAIN if type in rows]
    if not counted:
        return FieldDescription(name, "object" if "object" in rows else "long" if "long" in rows else "missing", count)
    type = _PLAIN[counted[0]] if len(counted) == 1 and not {"object", "long"} & rows.keys() else "mixed"
    if type == "number":
        return FieldDescription(name, type, count, *rows["number"][1:])
    if type == "date":
        _, first, last = rows["date"]
        return FieldDescription(name, type, count, date_text(first), date_text(last))
    frequent = _most_frequent(documents, f"FROM fields WHERE key = ? AND {_COUNTED}", name, limit)
    return FieldDescription(name, type, count, values=frequent, distinct=sum(rows[kind][0] for kind in counted))


def _count(documents: DocumentStore, where: str, name: str) -> int:
    """The documents that have the rows of a field; only where some have several must they be told apart."""
    several = "SELECT EXISTS (SELECT 1 FROM fields WHERE key = ? AND type = 'several')"
    what = "DISTINCT position" if documents.field_rows(several, name)[0][0] else "*"
    return int(documents.field_rows(f"SELECT count({what}) {where}", name)[0][0])


def _most_frequent(documents: DocumentStore, where: str, name: str, limit: int) -> list[Count]:
    order = "GROUP BY type, value ORDER BY count(*) DESC, type, value LIMIT ?"
    rows = documents.field_rows(f"SELECT type, value, count(*) {where} {order}", name, limit)
    return [(bool(value) if type == "boolean" else value, count) for type, value, count in rows]
