"""`embeddings/`: document vectors as Parquet shards with a manifest; pyarrow, DuckDB and Polars read them as they are.

A shard holds `id: string`, `embedding: fixed_size_list<float32|float16>[dim]` and, where every thinking step is kept,
`thinking_steps: fixed_size_list<…>[steps * dim]`. A shard that has its final name is whole; the manifest comes last.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from debater_search.errors import DamagedError, InvalidError, MissingError
from debater_search.store.manifest import (
    MANIFEST_NAME,
    MEND,
    EmbeddingsManifest,
    ShardInfo,
    manifest_bytes,
    parse_manifest,
    read_manifest,
)
from debater_search.store.places import Folder, Place, place_at
from debater_search.store.shard import Shard, read_groups, read_shard

_PIECE = 1 << 20  # bytes that are copied at once


class EmbeddingStore:
    """Reads finished embeddings, a shard at a time; every shard is checked against its hash.

    `manifest` is that of the first place; the rows of `later` ones, made by changes to an index, follow its own.
    """

    def __init__(self, place: Place, manifest: EmbeddingsManifest, later: "Sequence[EmbeddingStore]" = ()) -> None:
        self.place, self.manifest, self.later = place, manifest, later
        self._checked: set[str] = set()  # shards whose hash was compared: they never change

    @classmethod
    def open(cls, where: str | Path | Place, *later: str | Path | Place) -> "EmbeddingStore":
        """Open folders of shards by one model, or addresses of such places on object storage.

        Raises:
            DebaterError: the manifest is missing or damaged, or a shard that it names is missing.

        """
        place = place_at(where)
        manifest = _manifest_of(place)
        there = place.names()
        for shard in manifest.shards:
            if shard.file not in there:
                raise DamagedError(f"The shard {place}/{shard.file} is missing.", MEND)
        return cls(place, manifest, [cls.open(other) for other in later])

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
                f"{self.place} holds only the last thinking step.",
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
        copy = Folder(folder)
        copy.make()
        for info in self.manifest.shards:
            with self._reading(info) as source, copy.writing(info.file) as target:
                self._require_hash(_hash_of(source, target), info)
        write_place_manifest(copy, self.manifest)
        return EmbeddingStore(copy, self.manifest)

    def _require_hash(self, sha256: str, info: ShardInfo) -> None:
        if sha256 != info.sha256:
            raise DamagedError(
                f"The shard {self.place}/{info.file} is damaged: its hash is not the one in the manifest.", MEND
            )

    def _read(self, info: ShardInfo) -> Shard:
        manifest = self.manifest
        with self._reading(info) as file:
            data = file.read()
            self._require_hash(hashlib.sha256(data).hexdigest(), info)
            return read_shard(data, info.rows, manifest.dim, manifest.dtype, manifest.thinking_steps)

    def _read_groups(self, info: ShardInfo, rows: np.ndarray, *, steps: bool) -> Iterator[tuple[int, np.ndarray]]:
        manifest = self.manifest
        thinking_steps = manifest.thinking_steps if steps else 0
        with self._reading(info) as file:
            if info.file not in self._checked:
                self._require_hash(_hash_of(file), info)
                self._checked.add(info.file)
                file.seek(0)
            yield from read_groups(file, rows, info.rows, manifest.dim, manifest.dtype, thinking_steps)

    @contextmanager
    def _reading(self, info: ShardInfo) -> Iterator[BinaryIO]:
        """A shard, open; what cannot be read of it is a sentence."""
        import pyarrow as pa

        try:
            with self.place.reading(info.file) as file:
                yield file
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DamagedError(f"The shard {self.place}/{info.file} cannot be read: {error}", MEND) from None


def _manifest_of(place: Place) -> EmbeddingsManifest:
    if isinstance(place, Folder):
        return read_manifest(place.path / MANIFEST_NAME, EmbeddingsManifest)
    try:
        content = place.read(MANIFEST_NAME)
    except FileNotFoundError:
        raise MissingError(
            f"{place} is unfinished: it has no {MANIFEST_NAME}.", "Run the command that encodes it again: it resumes."
        ) from None
    return parse_manifest(content, EmbeddingsManifest, f"{place}/{MANIFEST_NAME}")


def write_place_manifest(place: Place, manifest: EmbeddingsManifest) -> None:
    """Write a manifest to a place, whole."""
    with place.writing(MANIFEST_NAME) as file:
        file.write(manifest_bytes(manifest))


def _hash_of(file: BinaryIO, copy: BinaryIO | None = None) -> str:
    """The sha256 of an open file, in hex; what is read is written to `copy` too."""
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        digest.update(piece)
        if copy is not None:
            copy.write(piece)
    return digest.hexdigest()
