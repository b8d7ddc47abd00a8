"""One Parquet shard of embeddings: written in small row groups, so that a few rows are read without the rest.

What is wrong with a file is an OSError, a ValueError or an Arrow exception, for the caller to put into words.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

ID, EMBEDDING, STEPS = "id", "embedding", "thinking_steps"
_GROUP = 64  # rows that are read together where a few are wanted


@dataclass(frozen=True)
class Shard:
    """Consecutive rows of a store: ids, vectors [rows, dim], and every thinking step [rows, steps, dim] if stored."""

    ids: list[str]
    vectors: np.ndarray
    steps: np.ndarray | None


def write_shard(file: BinaryIO, ids: Sequence[str], embeddings: np.ndarray, dtype: str) -> str:
    """Write vectors [rows, dim], or every thinking step [rows, steps, dim], of which the last is the embedding.

    Returns the sha256 of the file, in hex, made while writing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {ID: pa.array(ids, pa.string())}
    columns[EMBEDDING] = _column(embeddings if embeddings.ndim == 2 else embeddings[:, -1], dtype)
    if embeddings.ndim == 3:
        columns[STEPS] = _column(embeddings.reshape(len(ids), -1), dtype)
    # Page checksums let `EmbeddingWriter.find` trust a shard before there is a manifest with its hash. Embeddings do
    # not compress (8% by zstd); as they are they are read much faster.
    hashing = _Hashing(file)
    pq.write_table(
        pa.table(columns),
        hashing,
        row_group_size=_GROUP,
        compression="none",
        use_dictionary=False,
        write_page_checksum=True,
    )
    return hashing.digest.hexdigest()


class _Hashing:
    """A file that is written from its beginning to its end, and the sha256 of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.closed = False

    def write(self, data: Any) -> int:
        """Write bytes at the end."""
        self.digest.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """Nothing: the file belongs to whoever opened it."""


def read_groups(
    opened: BinaryIO, rows: np.ndarray, count: int, dim: int, dtype: str, thinking_steps: int
) -> Iterator[tuple[int, np.ndarray]]:
    """The row groups of a shard of `count` rows that hold any of `rows`, each with the number of its first row.

    Vectors [rows, dim], or every one of so many thinking steps [rows, steps, dim].
    """
    import pyarrow.parquet as pq

    name = STEPS if thinking_steps else EMBEDDING
    with pq.ParquetFile(opened, page_checksum_verification=True) as file:
        _require_rows(file.metadata.num_rows, count)
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        ends = np.cumsum(sizes)
        for group in np.unique(np.searchsorted(ends, rows, side="right")).tolist():
            table = file.read_row_group(group, columns=[name], use_threads=False)
            found = _matrix(table, name, dim * max(1, thinking_steps), dtype)
            yield int(ends[group]) - sizes[group], found.reshape(-1, thinking_steps, dim) if thinking_steps else found


def shard_name(number: int) -> str:
    """The file name of a shard."""
    return f"shard-{number:05d}.parquet"


def is_shard_name(name: str) -> bool:
    """Whether a shard has this file name."""
    return re.fullmatch(r"shard-\d{5,}\.parquet", name) is not None


def read_shard(data: bytes, rows: int, dim: int, dtype: str, thinking_steps: int) -> Shard:
    """Parse the bytes of a shard and check their shape."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
    _require_rows(table.num_rows, rows)
    vectors = _matrix(table, EMBEDDING, dim, dtype)
    steps = None
    if thinking_steps:
        steps = _matrix(table, STEPS, thinking_steps * dim, dtype).reshape(rows, thinking_steps, dim)
    return Shard(_column_of(table, ID).to_pylist(), vectors, steps)


def _require_rows(there: int, wanted: int) -> None:
    if there != wanted:
        raise ValueError(f"{there} rows where {wanted} should be.")


def _column(rows: np.ndarray, dtype: str) -> "pa.Array":
    import pyarrow as pa

    flat = np.ascontiguousarray(rows, dtype=dtype).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), rows.shape[1])


def _matrix(table: "pa.Table", name: str, width: int, dtype: str) -> np.ndarray:
    import pyarrow as pa

    column = _column_of(table, name)
    value_type = pa.float16() if dtype == "float16" else pa.float32()
    if column.type.num_fields != 1 or column.type != pa.list_(column.type.field(0).with_type(value_type), width):
        raise ValueError(f"column {name} is {column.type}, not fixed_size_list<{dtype}>[{width}].")
    if column.null_count or column.flatten().null_count:
        raise ValueError(f"column {name} has missing values.")
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return flat.astype(np.float32, copy=False).reshape(len(column), width)


def _column_of(table: "pa.Table", name: str) -> Any:
    if name not in table.column_names:
        raise ValueError(f"no column {name}.")
    return table.column(name).combine_chunks()
