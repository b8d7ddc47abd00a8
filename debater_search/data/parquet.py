"""Rows of Parquet files; a column that Python cannot hold (a date after 9999, an unknown time zone) is named."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from debater_search.data.files import open_seekable, place
from debater_search.errors import DamagedError
from debater_search.tables import ROWS_AT_ONCE, batch_rows


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
            batches = pq.ParquetFile(file).iter_batches(batch_size=ROWS_AT_ONCE)
            while (batch := next(batches, None)) is not None:
                for fields in batch_rows(batch, str(path), place(path, number + 1, "row")):
                    number += 1
                    yield number, fields
        except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
            raise DamagedError(
                f"{place(path, number + 1, 'row')}: this does not read as Parquet.", "Write or copy the file again."
            ) from error
