"""`embeddings/`: document vectors as Parquet shards with a manifest; pyarrow, DuckDB and Polars read them as they are.

A shard holds `id: string`, `embedding: fixed_size_list<float32|float16>[dim]` and, where every thinking step is kept,
`thinking_steps: fixed_size_list<…>[steps * dim]`. A shard that has its final name is whole; the manifest comes last.
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from debater_search.errors import DamagedError, InvalidError
from debater_search.files import atomic, sha256_file
from debater_search.identity import EncoderInfo
from debater_search.store.manifest import (
    MANIFEST_NAME,
    MEND,
    CorpusInfo,
    DType,
    EmbeddingsManifest,
    PassageSettings,
    ShardInfo,
    read_manifest,
    write_manifest,
)
from debater_search.store.shard import Shard, read_groups, read_shard, shard_name, write_shard


class EmbeddingStore:
    """Reads finished embeddings folders, a shard at a time; every shard is checked against its hash.

    `manifest` is the first folder's; the rows of `later` ones, made by changes to an index, follow its own.
    """

    def __init__(self, folder: Path, manifest: EmbeddingsManifest, later: "Sequence[EmbeddingStore]" = ()) -> None:
        self.folder, self.manifest, self.later = folder, manifest, later
        self._checked: set[str] = set()  # shards whose hash was compared: they never change

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
                raise DamagedError(f"The shard {folder / shard.file} is missing.", MEND)
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

    def around(self, positions: np.ndarray, *, steps: bool = False) -> Iterator[tuple[int, np.ndarray]]:
        """Read no more than a few rows around each of these positions, int64 in ascending order.

        Gives vectors [rows, dim], or with `steps` every thinking step [rows, steps, dim], each time with the position
        of the first. A shard's hash is compared when it is first read, and from then on the checksums of its pages.

        Raises:
            DebaterError: as `shards`; or steps are asked for and only the last one was stored.

        """
        if steps:
            self.require_steps()
        start = 0
        for store, info in self._places():
            low, high = np.searchsorted(positions, [start, start + info.rows])
            if low < high:
                for first, rows in store._read_groups(info, positions[low:high] - start, steps=steps):
                    yield start + first, rows
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
            raise InvalidError(
                f"{self.folder} holds only the last thinking step.",
                "Index the corpus again with --all-steps.",
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
                self._require_hash(sha256_file(temporary), info)
        write_manifest(folder / MANIFEST_NAME, self.manifest)
        return EmbeddingStore(folder, self.manifest)

    def _require_hash(self, sha256: str, info: ShardInfo) -> None:
        if sha256 != info.sha256:
            raise DamagedError(
                f"The shard {self.folder / info.file} is damaged: its hash is not the one in the manifest.", MEND
            )

    def _read(self, info: ShardInfo) -> Shard:
        manifest = self.manifest
        with self._reading(info) as path:
            data = path.read_bytes()
            self._require_hash(hashlib.sha256(data).hexdigest(), info)
            return read_shard(data, info.rows, manifest.dim, manifest.dtype, manifest.thinking_steps)

    def _read_groups(self, info: ShardInfo, rows: np.ndarray, *, steps: bool) -> Iterator[tuple[int, np.ndarray]]:
        manifest = self.manifest
        thinking_steps = manifest.thinking_steps if steps else 0
        with self._reading(info) as path:
            if info.file not in self._checked:
                self._require_hash(sha256_file(path), info)
                self._checked.add(info.file)
            yield from read_groups(path, rows, info.rows, manifest.dim, manifest.dtype, thinking_steps)

    @contextmanager
    def _reading(self, info: ShardInfo) -> Iterator[Path]:
        """The path of a shard; what cannot be read of it is a sentence."""
        import pyarrow as pa

        path = self.folder / info.file
        try:
            yield path
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DamagedError(f"The shard {path} cannot be read: {error}", MEND) from None


class EmbeddingWriter:
    """Fills an embeddings folder shard by shard; `find` gives what an interrupted job finished.

    `thinking_steps` is how many steps to store beside the embedding, 0 for none.
    """

    def __init__(self, folder: Path, dim: int, *, dtype: DType = "float32", thinking_steps: int = 0) -> None:
        self.folder, self.dim, self.dtype, self.thinking_steps = folder, dim, dtype, thinking_steps
        folder.mkdir(exist_ok=True)

    def find(self, number: int, ids: Sequence[str]) -> ShardInfo | None:
        """The shard of this number if it is there, undamaged, with exactly these ids; else None."""
        import pyarrow as pa

        path = self.folder / shard_name(number)
        try:
            data = path.read_bytes()
            shard = read_shard(data, len(ids), self.dim, self.dtype, self.thinking_steps)
        except (OSError, ValueError, pa.ArrowException):
            return None
        if shard.ids != list(ids):
            return None
        return ShardInfo(file=path.name, rows=len(ids), sha256=hashlib.sha256(data).hexdigest())

    def write(self, number: int, ids: Sequence[str], embeddings: np.ndarray) -> ShardInfo:
        """Write one shard from vectors [rows, dim], or from every thinking step [rows, steps, dim]."""
        path = self.folder / shard_name(number)
        with atomic(path) as temporary:
            sha256 = write_shard(temporary, ids, embeddings, self.dtype)
        return ShardInfo(file=path.name, rows=len(ids), sha256=sha256)

    def finish(
        self,
        shards: Sequence[ShardInfo],
        encoder: EncoderInfo,
        corpus: CorpusInfo,
        passages: PassageSettings | None = None,
    ) -> EmbeddingStore:
        """Write the manifest over these shards, in their order; the folder is complete from here on."""
        manifest = EmbeddingsManifest(
            encoder=encoder,
            corpus=corpus,
            dim=self.dim,
            dtype=self.dtype,
            thinking_steps=self.thinking_steps,
            passages=passages,
            shards=list(shards),
        )
        write_manifest(self.folder / MANIFEST_NAME, manifest)
        return EmbeddingStore(self.folder, manifest)
