"""One collection of Milvus: positions and vectors, nothing else."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from debater_search.vectors.milvus.client import connect, is_lite, spoken
from debater_search.vectors.milvus.kinds import TYPES, build_parameters

LIMIT = 16_384
"""Hits per query, and rows per reading, that Milvus allows."""

NAME = r"debater_\w{1,100}_[0-9a-f]{8}_g\d+"

_BYTES = 16_000_000  # of vectors in one call; a call may have 64 MB
_HITS = 250_000  # of one call, over its queries
_POSITION, _VECTOR = "position", "vector"

Scored = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Collection:
    """A collection at an address; every read sees every write before it (consistency level Strong)."""

    uri: str
    name: str

    @property
    def _client(self) -> Any:
        return connect(self.uri)

    def create(self, dim: int) -> None:
        """Make it, empty and without an index of its vectors."""
        from pymilvus import DataType

        with spoken(self.uri):
            schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field(_POSITION, DataType.INT64, is_primary=True)
            schema.add_field(_VECTOR, DataType.FLOAT_VECTOR, dim=dim)
            self._client.create_collection(self.name, schema=schema, consistency_level="Strong")

    def make_searchable(self, type: str, rows: int) -> None:
        """Build the index of its vectors, and load it."""
        with spoken(self.uri):
            index = self._client.prepare_index_params()
            index.add_index(
                _VECTOR, index_type=TYPES[type].milvus, metric_type="IP", params=build_parameters(type, rows)
            )
            self._client.create_index(self.name, index)
            self._client.load_collection(self.name)

    def drop(self) -> None:
        """Remove it; one that is gone is no error."""
        with spoken(self.uri):
            if self._client.has_collection(self.name):
                self._client.drop_collection(self.name)

    def rows(self) -> int | None:
        """How many rows it holds; None if it does not exist. It is loaded, if a restart of Milvus had released it."""
        with spoken(self.uri):
            if not self._client.has_collection(self.name):
                return None
            self._client.load_collection(self.name)
            (found,) = self._client.query(self.name, filter="", output_fields=["count(*)"])
            return int(found["count(*)"])

    def dim(self) -> int:
        """Numbers per vector."""
        with spoken(self.uri):
            fields = self._client.describe_collection(self.name)["fields"]
            return int(next(field["params"]["dim"] for field in fields if field["name"] == _VECTOR))

    def put(self, start: int, chunks: Iterable[np.ndarray]) -> int:
        """Write vectors, float32 [n, dim] each, at `start` and the positions after it; returns how many.

        The same call again writes the same rows. What a killed call left behind them is removed first.
        """
        written = 0
        with spoken(self.uri):
            if start:
                self._client.delete(self.name, filter=f"{_POSITION} >= {start}")
            for chunk in chunks:
                for part in _parts(np.asarray(chunk, np.float32)):
                    rows = [
                        {_POSITION: position, _VECTOR: vector} for position, vector in enumerate(part, start + written)
                    ]
                    self._client.upsert(self.name, rows)
                    written += len(part)
            self._client.flush(self.name)
        return written

    def search(self, queries: np.ndarray, k: int, where: str, parameters: dict[str, Any]) -> Scored:
        """The k best (LIMIT at most) that pass Milvus's filter `where`; -inf and -1 where there are fewer."""
        scores = np.full((len(queries), k), -np.inf, np.float32)
        positions = np.full((len(queries), k), -1, np.int64)
        step = max(1, _HITS // k)
        for start in range(0, len(queries), step):
            with spoken(self.uri):
                found = self._client.search(
                    self.name,
                    data=queries[start : start + step],
                    limit=k,
                    filter=where,
                    output_fields=[_POSITION],
                    search_params={"params": parameters},
                )
            for row, hits in enumerate(found, start):
                scores[row, : len(hits)] = hits.distances
                positions[row, : len(hits)] = hits.ids
        return scores, positions

    def read(self, where: str) -> Scored:
        """The vectors [n, dim] and positions [n] of at most LIMIT rows that pass a filter, by position."""
        with spoken(self.uri):
            found = self._client.query(self.name, filter=where, output_fields=[_POSITION, _VECTOR])
        found = sorted(found, key=lambda row: row[_POSITION])
        vectors = np.array([row[_VECTOR] for row in found], np.float32).reshape(len(found), -1)
        return vectors, np.array([row[_POSITION] for row in found], np.int64)

    @property
    def lite(self) -> bool:
        """Whether it lies in a file of milvus-lite."""
        return is_lite(self.uri)


def is_name(name: object) -> bool:
    """Whether this is the name of a collection that this program makes: no other is ever dropped."""
    return isinstance(name, str) and re.fullmatch(NAME, name, re.ASCII) is not None


def among(positions: np.ndarray) -> str:
    """Milvus's filter for these positions."""
    return f"{_POSITION} in [{','.join(map(str, positions.tolist()))}]"


def span(start: int, stop: int) -> str:
    """Milvus's filter for the positions from `start` to before `stop`."""
    return f"{_POSITION} >= {start} and {_POSITION} < {stop}"


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, _BYTES // max(1, rows.itemsize * rows.shape[1]))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]
