"""Fills an embeddings folder, or a place on object storage, shard by shard."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from debater_search.identity import EncoderInfo
from debater_search.store.embeddings import EmbeddingStore, write_place_manifest
from debater_search.store.manifest import CorpusInfo, DType, EmbeddingsManifest, PassageSettings, ShardInfo
from debater_search.store.places import Place, place_at
from debater_search.store.shard import read_shard, shard_name, write_shard

_NOTE = ".done.json"


class EmbeddingWriter:
    """Fills an embeddings folder shard by shard; `find` gives what an interrupted job finished.

    On object storage a shard has a note beside it, written after it, so that a resumed job reads notes instead of
    shards; `finish` removes them. `thinking_steps` is how many steps to store beside the embedding, 0 for none.
    """

    def __init__(
        self, where: str | Path | Place, dim: int, *, dtype: DType = "float32", thinking_steps: int = 0
    ) -> None:
        self.place, self.dim, self.dtype, self.thinking_steps = place_at(where), dim, dtype, thinking_steps
        self.place.make()

    @cached_property
    def _there(self) -> set[str]:
        """What is at the place when an earlier run's shards are first looked for."""
        return self.place.names()

    def find(self, number: int, ids: Sequence[str]) -> ShardInfo | None:
        """The shard of this number if it is there, undamaged, with exactly these ids; else None."""
        import pyarrow as pa

        name = shard_name(number)
        if self.place.remote:
            return self._noted(name, ids)
        try:
            data = self.place.read(name)
            shard = read_shard(data, len(ids), self.dim, self.dtype, self.thinking_steps)
        except (OSError, ValueError, pa.ArrowException):
            return None
        if shard.ids != list(ids):
            return None
        return ShardInfo(file=name, rows=len(ids), sha256=hashlib.sha256(data).hexdigest())

    def write(self, number: int, ids: Sequence[str], embeddings: np.ndarray) -> ShardInfo:
        """Write one shard from vectors [rows, dim], or from every thinking step [rows, steps, dim]."""
        name = shard_name(number)
        with self.place.writing(name) as file:
            sha256 = write_shard(file, ids, embeddings, self.dtype)
        return self._kept(name, ids, sha256)

    def take(self, number: int, ids: Sequence[str], shard: bytes) -> ShardInfo:
        """Write one shard that was made elsewhere, from its bytes."""
        name = shard_name(number)
        with self.place.writing(name) as file:
            file.write(shard)
        return self._kept(name, ids, hashlib.sha256(shard).hexdigest())

    def _kept(self, name: str, ids: Sequence[str], sha256: str) -> ShardInfo:
        info = ShardInfo(file=name, rows=len(ids), sha256=sha256)
        if self.place.remote:
            with self.place.writing(_note_name(name)) as file:
                file.write(json.dumps({**info.model_dump(), "ids": _digest(ids)}).encode())
        return info

    def _noted(self, name: str, ids: Sequence[str]) -> ShardInfo | None:
        """The shard of this name if its note says that it holds these ids."""
        if not {name, _note_name(name)} <= self._there:
            return None
        try:
            note = json.loads(self.place.read(_note_name(name)))
            info = ShardInfo(file=note["file"], rows=note["rows"], sha256=note["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return info if (info.file, info.rows, note.get("ids")) == (name, len(ids), _digest(ids)) else None

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
        write_place_manifest(self.place, manifest)
        if self.place.remote:
            for name in self.place.names():
                if name.endswith(_NOTE):
                    self.place.remove(name)
        return EmbeddingStore(self.place, manifest)


def _note_name(shard: str) -> str:
    return shard.removesuffix(".parquet") + _NOTE


def _digest(ids: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for id in ids:
        digest.update(f"{len(id)} {id}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
