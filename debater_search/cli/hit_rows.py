"""Hits as the rows of a CSV file: the columns of --json, and one for each metadata field."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from debater_search.types import Hit, Query

_COLUMNS = ("rank", "id", "score", "title", "text", "snippet")
_OF_QUERIES = ("query_id", "query")


def hit_rows(hits: Sequence[Hit]) -> Iterator[list[str]]:
    """The head and a row for each hit of one query."""
    return _rows((), [((), hits)])


def query_rows(answers: Sequence[tuple[Query, Sequence[Hit]]]) -> Iterator[list[str]]:
    """The head and a row for each hit of several queries, with the id and the text of its query in front."""
    return _rows(_OF_QUERIES, [((query.id, query.text), hits) for query, hits in answers])


def _rows(leading: tuple[str, ...], answers: Sequence[tuple[tuple[str, ...], Sequence[Hit]]]) -> Iterator[list[str]]:
    fields = dict.fromkeys(name for _, hits in answers for hit in hits for name in hit.metadata)
    taken = {*leading, *_COLUMNS}
    yield [*leading, *_COLUMNS, *(f"metadata.{name}" if name in taken else name for name in fields)]
    for before, hits in answers:
        for hit in hits:
            values = [getattr(hit, name) for name in _COLUMNS] + [hit.metadata.get(name) for name in fields]
            yield [*before, *map(_cell, values)]


def _cell(value: Any) -> str:
    """A text as it stands, also if a spreadsheet would read it as a formula: a file of data must not change data."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)
