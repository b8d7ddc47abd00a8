"""Rows of Parquet files; a column that Python cannot hold (a date after 9999, an unknown time zone) is named."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from debater_search.data.files import open_seekable, place
from debater_search.errors import DamagedError, InvalidError

_ROWS_AT_ONCE = 1000


def parquet_rows(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows as (number, fields). Timestamps that Python cannot hold become strings in ISO 8601.

    Raises DamagedError, naming the row, for what does not read as Parquet, and InvalidError, naming the column, for
    values that cannot be converted.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_seekable(path) as file:
        number = 0
        try:
            batches = pq.ParquetFile(file).iter_batches(batch_size=_ROWS_AT_ONCE)
            while (batch := next(batches, None)) is not None:
                for fields in _rows(batch, path, number + 1):
                    number += 1
                    yield number, fields
        except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
            raise DamagedError(
                f"{place(path, number + 1, 'row')}: this does not read as Parquet.", "Write or copy the file again."
            ) from error


def _rows(batch: Any, path: str | Path, first: int) -> list[dict[str, Any]]:
    """The rows of a batch, without the index of pandas."""
    names = [name for name in batch.schema.names if name != "__index_level_0__"]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidError(f"{path}: two columns are called {twice!r}.", "Rename one of the two.")
    columns = [_values(batch.column(batch.schema.names.index(name)), name, path, first) for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)] if names else []


def _values(column: Any, name: str, path: str | Path, first: int) -> list[Any]:
    import pyarrow as pa

    try:
        return list(column.to_pylist())
    except (pa.ArrowException, ValueError, OverflowError, KeyError, TypeError) as error:
        zone = getattr(column.type, "tz", None)
        try:
            return [_iso(value) for value in column.cast(pa.string()).to_pylist()]
        except (pa.ArrowException, ValueError):
            what = f"the time zone {zone!r} is unknown" if zone else f"values of the type {column.type} are not read"
            raise InvalidError(
                f"{place(path, first, 'row')}: {what} (column {name!r}).", "Convert or remove the column."
            ) from error


def _iso(value: str | None) -> str | None:
    """A timestamp as Arrow writes it, in ISO 8601."""
    if value is None:
        return None
    day, blank, rest = value.partition(" ")
    return f"{day}T{rest.rstrip('0').rstrip('.') if '.' in rest else rest}" if blank else value
