"""Rows of tables, from files and from callers; values that Python cannot hold (a date after 9999) become strings."""

from collections.abc import Iterator
from typing import Any

from debater_search.errors import InvalidError

ROWS_AT_ONCE = 1000
"""Rows that are Python objects at a time."""

_INDEX = "__index_level_0__"
"""How pandas calls the numbers of its rows, where it gives them away as a column."""


def is_table(given: Any) -> bool:
    """Whether an argument is a table: of pandas, Polars, pyarrow, DuckDB or another library with named columns."""
    return hasattr(given, "columns")


def table_rows(table: Any, name: str) -> Iterator[dict[str, Any]]:
    """The rows of a table in memory, one at a time. `name` is what messages call it.

    Raises InvalidError for a table that Arrow cannot read, and as `batch_rows`.
    """
    if not hasattr(table, "__arrow_c_stream__"):
        raise InvalidError(
            f"{name} is a table of type {type(table).__name__}, which Arrow cannot read.",
            "Update its library (pandas from 2.2 on), or give a list of rows, such as `table.to_dict('records')`.",
        )
    import pyarrow as pa

    try:
        batches = pa.RecordBatchReader.from_stream(table)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InvalidError(f"{name}: Arrow cannot read this table: {error}.", "Give a list of rows.") from error
    first = 0
    for batch in batches:
        for start in range(0, len(batch), ROWS_AT_ONCE):
            yield from batch_rows(batch.slice(start, ROWS_AT_ONCE), name, f"{name}[{first + start}]")
        first += len(batch)


def batch_rows(batch: Any, name: str, first: str) -> list[dict[str, Any]]:
    """The rows of a record batch, without the index of pandas.

    Messages call the table `name` and its first row `first`. Raises InvalidError for two columns of one name, and for
    values that cannot be converted.
    """
    names = [column for column in batch.schema.names if column != _INDEX]
    if len(set(names)) < len(names):
        twice = next(column for column in names if names.count(column) > 1)
        raise InvalidError(f"{name}: two columns are called {twice!r}.", "Rename one of the two.")
    columns = [_values(batch.column(batch.schema.names.index(column)), column, first) for column in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)] if names else []


def _values(column: Any, name: str, first: str) -> list[Any]:
    import pyarrow as pa

    try:
        return list(column.to_pylist())
    except (pa.ArrowException, ValueError, OverflowError, KeyError, TypeError) as error:
        zone = getattr(column.type, "tz", None)
        try:
            return [_iso(value) for value in column.cast(pa.string()).to_pylist()]
        except (pa.ArrowException, ValueError):
            what = f"the time zone {zone!r} is unknown" if zone else f"values of the type {column.type} are not read"
            raise InvalidError(f"{first}: {what} (column {name!r}).", "Convert or remove the column.") from error


def _iso(value: str | None) -> str | None:
    """A timestamp as Arrow writes it, in ISO 8601."""
    if value is None:
        return None
    day, blank, rest = value.partition(" ")
    return f"{day}T{rest.rstrip('0').rstrip('.') if '.' in rest else rest}" if blank else value
