"""`embeddings/`: document vectors as Parquet shards with a manifest; pyarrow, DuckDB and Polars read them as they are.

A shard holds `id: string`, `embedding: fixed_size_list<float32|float16>[dim]` and, where every thinking step is kept,
`thinking_steps: fixed_size_list<…>[steps * dim]`. A shard that has its final name is whole; the manifest comes last.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from debater_search.errors import DebaterError
from debater_search.files import atomic, sha256_file
from debater_search.store.manifest import (
    MANIFEST_NAME,
    MEND,
    CorpusInfo,
    DType,
    EmbeddingsManifest,
    EncoderInfo,
    PassageSettings,
    ShardInfo,
    read_manifest,
    write_manifest,
)

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Shard:
    """Consecutive rows of a store: ids, vectors [rows, dim], and every thinking step [rows, steps, dim] if stored."""

    ids: list[str]
    vectors: np.ndarray
    steps: np.ndarray | None


class EmbeddingStore:
    """Reads finished embeddings folders, a shard at a time; every shard is checked against its hash.

    `manifest` is the first folder's; the rows of `later` ones, made by changes to an index, follow its own.
    """

    def __init__(self, folder: Path, manifest: EmbeddingsManifest, later: "Sequence[EmbeddingStore]" = ()) -> None:
        self.folder, self.manifest, self.later = folder, manifest, later

    @classmethod
    def open(cls, folder: str | Path, *later: str | Path) -> "EmbeddingStore":
        """Open folders of shards by one model.

        Raises:
            DebaterError: the manifest is missing or damaged, or a shard that it names is missing.

        """
        folder = Path(folder)
        manifest = read_manifest(folder / MANIFEST_NAME, EmbeddingsManifest)
        for shard in manifest.shards:
            if not (folder / shard.file).is_file():
                raise DebaterError(f"The shard {folder / shard.file} is missing.", MEND)
        return cls(folder, manifest, [cls.open(other) for other in later])

    def __len__(self) -> int:
        return sum(shard.rows for shard in self.manifest.shards) + sum(map(len, self.later))

    def shards(self) -> Iterator[Shard]:
        """The shards in order.

        Raises:
            DebaterError: a shard is truncated, damaged, or not what the manifest says.

        """
        for store, info in self._places():
            yield store._read(info)

    def holding(self, positions: np.ndarray) -> Iterator[tuple[int, Shard]]:
        """The shards with any of these positions, int64 in ascending order, each with the position of its first row.

        Raises:
            DebaterError: as `shards`.

        """
        start = 0
        for store, info in self._places():
            low, high = np.searchsorted(positions, [start, start + info.rows])
            if low < high:
                yield start, store._read(info)
            start += info.rows

    def _places(self) -> "Iterator[tuple[EmbeddingStore, ShardInfo]]":
        """Every shard's store and place in it, in order."""
        for info in self.manifest.shards:
            yield self, info
        for store in self.later:
            yield from store._places()

    def ids(self) -> list[str]:
        """Every document id, in order."""
        return [id for shard in self.shards() for id in shard.ids]

    def vectors(self) -> np.ndarray:
        """All embeddings, float32 [n, dim]."""
        return np.concatenate([shard.vectors for shard in self.shards()])

    def require_steps(self) -> None:
        """Raise DebaterError where only the last thinking step was stored."""
        if not self.manifest.thinking_steps:
            raise DebaterError(
                f"{self.folder} holds the last thinking step only.", "Index the corpus again with --all-steps."
            )

    def steps(self) -> Iterator[np.ndarray]:
        """Every thinking step, shard by shard, float32 [rows, steps, dim].

        Raises:
            DebaterError: only the last step was stored.

        """
        self.require_steps()
        for shard in self.shards():
            assert shard.steps is not None
            yield shard.steps

    def copy_to(self, folder: Path) -> "EmbeddingStore":
        """Copy the shards, checked against their hashes, and then the manifest.

        Raises:
            DebaterError: a shard is truncated or damaged.

        """
        folder.mkdir(exist_ok=True)
        for info in self.manifest.shards:
            with atomic(folder / info.file) as temporary:
                shutil.copyfile(self.folder / info.file, temporary)
                self._check_hash(temporary, info)
        write_manifest(folder / MANIFEST_NAME, self.manifest)
        return EmbeddingStore(folder, self.manifest)

    def _check_hash(self, path: Path, info: ShardInfo) -> None:
        if sha256_file(path) != info.sha256:
            raise DebaterError(
                f"The shard {self.folder / info.file} is damaged: its hash is not the one in the manifest.", MEND
            )

    def _read(self, info: ShardInfo) -> Shard:
        import pyarrow as pa

        path, manifest = self.folder / info.file, self.manifest
        try:
            self._check_hash(path, info)
            return _read_shard(path, info.rows, manifest.dim, manifest.dtype, manifest.thinking_steps)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DebaterError(f"The shard {path} cannot be read: {error}", MEND) from None


class EmbeddingWriter:
    """Fills an embeddings folder shard by shard; what an interrupted job finished is found by `holds`.

    `thinking_steps` is how many steps to store beside the embedding, 0 for none.
    """

    def __init__(self, folder: Path, dim: int, *, dtype: DType = "float32", thinking_steps: int = 0) -> None:
        self.folder, self.dim, self.dtype, self.thinking_steps = folder, dim, dtype, thinking_steps
        folder.mkdir(exist_ok=True)

    def holds(self, number: int, ids: Sequence[str]) -> bool:
        """Whether this shard is already there, whole, for exactly these documents."""
        import pyarrow as pa

        path = self.folder / shard_name(number)
        try:
            shard = _read_shard(path, len(ids), self.dim, self.dtype, self.thinking_steps)
        except (OSError, ValueError, pa.ArrowException):
            return False
        return shard.ids == list(ids)

    def write(self, number: int, ids: Sequence[str], embeddings: np.ndarray) -> None:
        """Write one shard from vectors [rows, dim], or from every thinking step [rows, steps, dim]."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {"id": pa.array(ids, pa.string())}
        if self.thinking_steps:
            columns["embedding"] = self._column(embeddings[:, -1])
            columns["thinking_steps"] = self._column(embeddings.reshape(len(ids), self.thinking_steps * self.dim))
        else:
            columns["embedding"] = self._column(embeddings)
        with atomic(self.folder / shard_name(number)) as temporary:
            # Page checksums let `holds` trust a shard before there is a manifest with its hash.
            pq.write_table(
                pa.table(columns), temporary, compression="zstd", use_dictionary=False, write_page_checksum=True
            )

    def finish(
        self, shards: int, encoder: EncoderInfo, corpus: CorpusInfo, passages: PassageSettings | None = None
    ) -> EmbeddingStore:
        """Write the manifest over shards 0 … shards - 1; the folder is complete from here on."""
        import pyarrow.parquet as pq

        paths = [self.folder / shard_name(number) for number in range(shards)]
        manifest = EmbeddingsManifest(
            encoder=encoder,
            corpus=corpus,
            dim=self.dim,
            dtype=self.dtype,
            thinking_steps=self.thinking_steps,
            passages=passages,
            shards=[
                ShardInfo(file=path.name, rows=pq.read_metadata(path).num_rows, sha256=sha256_file(path))
                for path in paths
            ],
        )
        write_manifest(self.folder / MANIFEST_NAME, manifest)
        return EmbeddingStore(self.folder, manifest)

    def _column(self, rows: np.ndarray) -> "pa.Array":
        import pyarrow as pa

        flat = np.ascontiguousarray(rows, dtype=self.dtype).reshape(-1)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat), rows.shape[1])


def shard_name(number: int) -> str:
    """The file name of a shard."""
    return f"shard-{number:05d}.parquet"


def _read_shard(path: Path, rows: int, dim: int, dtype: str, thinking_steps: int) -> Shard:
    """Read a shard and hold it to its shape; ValueError or an Arrow exception where it is not what it should be."""
    import pyarrow.parquet as pq

    table = pq.read_table(path, page_checksum_verification=True)
    if table.num_rows != rows:
        raise ValueError(f"{table.num_rows} rows where {rows} should be.")
    vectors = _matrix(table, "embedding", dim, dtype)
    steps = None
    if thinking_steps:
        steps = _matrix(table, "thinking_steps", thinking_steps * dim, dtype).reshape(rows, thinking_steps, dim)
    return Shard(_column_of(table, "id").to_pylist(), vectors, steps)


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
