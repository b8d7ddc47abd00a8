"""Milvus as a vector backend: vectors in a collection, everything else in the folder of the index.

The manifest is the truth; the collection holds at least what it names. A change upserts rows behind those of the
manifest, so that a killed one leaves surplus rows only: readers look past them, and the next change removes them.
Dropped positions are lists in the index's folder, as with FAISS; `compact` writes a new collection without them.
"""

import re
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, Field

from debater_search.errors import DamagedError, InvalidError
from debater_search.files import sha256_file
from debater_search.store.manifest import MEND, VectorRecord
from debater_search.vectors.base import Selection, VectorSettings
from debater_search.vectors.dropped import Part, read_positions, with_dropped
from debater_search.vectors.milvus import ledger
from debater_search.vectors.milvus.client import connect, place_of
from debater_search.vectors.milvus.collection import NAME, Collection
from debater_search.vectors.milvus.index import MilvusIndex
from debater_search.vectors.milvus.kinds import TYPES, breadths, check_type, choose
from debater_search.vectors.ranking import merged
from debater_search.vectors.recall import DEPTHS, RecallTest, sample_positions
from debater_search.vectors.state import state_of


class MilvusState(BaseModel):
    """Where the vectors are, how they are searched and how well, as measured when the collection was built."""

    uri: str
    collection: Annotated[str, Field(pattern=f"^{NAME}$")]
    reason: str
    target: float
    breadth: Annotated[int, Field(gt=0)] | None = None
    recall: dict[int, float] = {}
    asked: str
    """The type as it was asked for, `auto` included: a compacted index may choose another."""
    dropped: list[Part] = []

    @classmethod
    def of(cls, record: VectorRecord) -> Self:
        """The state in a record; DamagedError if it is not one of this backend."""
        return state_of(cls, record)

    @property
    def place(self) -> Collection:
        """The collection of the vectors."""
        return Collection(self.uri, self.collection)


class MilvusBackend:
    """`VectorBackend` on Milvus."""

    name = "milvus"
    takes: Literal["positions", "tree"] = "positions"
    remote = True

    def validate(self, settings: VectorSettings, dim: int | None) -> None:
        """As `VectorBackend.validate`; also that Milvus answers."""
        check_type(settings.type)
        if settings.uri is None:
            raise InvalidError(
                "The Milvus backend needs an address.",
                "Give `uri`: a server such as http://localhost:19530, or a file of milvus-lite such as papers.db.",
            )
        connect(place_of(settings.uri))

    def build(
        self, folder: Path, chunks: Iterable[np.ndarray], dim: int, settings: VectorSettings, generation: int
    ) -> VectorRecord:
        """As `VectorBackend.build`."""
        assert settings.uri is not None  # `validate` comes first
        place = _new_collection(folder, place_of(settings.uri), generation)
        place.create(dim)
        rows = place.put(0, chunks)
        type, reason = choose(settings.type, rows, lite=place.lite)
        place.make_searchable(type, rows)
        state = MilvusState(
            uri=place.uri, collection=place.name, reason=reason, target=settings.recall, asked=settings.type
        )
        warnings = _tune(state, type, rows, chunks)
        return VectorRecord(
            backend=self.name,
            type=type,
            dim=dim,
            rows=rows,
            state=state.model_dump(mode="json"),
            warnings=warnings,
        )

    def extend(self, folder: Path, record: VectorRecord, chunks: Iterable[np.ndarray], generation: int) -> VectorRecord:
        """As `VectorBackend.extend`."""
        state = MilvusState.of(record)
        self.remove_lost(folder, record)
        added = state.place.put(record.rows, chunks)
        return record.model_copy(update={"rows": record.rows + added, "added": record.added + added})

    def drop(self, folder: Path, record: VectorRecord, positions: np.ndarray, generation: int) -> VectorRecord:
        """As `VectorBackend.drop`. The rows stay in the collection until `compact`."""
        state = MilvusState.of(record)
        record, state.dropped = with_dropped(folder, record, state.dropped, positions, generation)
        return record.model_copy(update={"state": state.model_dump(mode="json")})

    def open(self, folder: Path, record: VectorRecord, device: str = "cpu") -> MilvusIndex:
        """As `VectorBackend.open`; Milvus decides what it searches on."""
        state = MilvusState.of(record)
        dropped = read_positions(folder, state.dropped, record.rows)
        if wrong := _contradiction(state.place, record):
            raise DamagedError(f"{wrong}.", MEND)
        return MilvusIndex(state.place, record.rows, dropped, record.type, state.breadth)

    def check(self, folder: Path, record: VectorRecord) -> list[str]:
        """As `VectorBackend.check`; the collection is named as well if it is gone or too small."""
        damaged = [
            name
            for name, info in record.files.items()
            if not (folder / name).is_file() or sha256_file(folder / name) != info.sha256
        ]
        state = MilvusState.of(record)
        return [*damaged, state.collection] if _contradiction(state.place, record) else damaged

    def remove(self, folder: Path, record: VectorRecord) -> None:
        """As `VectorBackend.remove`: the collection, then the files."""
        ledger.remove(folder, MilvusState.of(record).place)
        for name in record.files:
            (folder / name).unlink(missing_ok=True)
            with suppress(OSError):  # it holds other files, or is gone
                (folder / name).parent.rmdir()

    def remove_lost(self, folder: Path, record: VectorRecord | None) -> None:
        """As `VectorBackend.remove_lost`: the collections that the folder notes and the record does not name."""
        kept = MilvusState.of(record).place if record is not None else None
        if lost := [place for place in ledger.listed(folder) if place != kept]:
            ledger.remove(folder, *lost)

    def settings(self, record: VectorRecord) -> VectorSettings:
        """As `VectorBackend.settings`."""
        state = MilvusState.of(record)
        return VectorSettings(type=state.asked, recall=state.target, uri=state.uri)

    def describe(self, record: VectorRecord) -> dict[str, Any]:
        """As `VectorBackend.describe`."""
        state = MilvusState.of(record)
        facts: dict[str, Any] = {"vectors": state.reason, "server": state.uri, "collection": state.collection}
        if state.breadth is not None:
            facts["parameters"] = {TYPES[record.type].breadth: state.breadth}
            facts["recall"] = {f"@{depth}": value for depth, value in state.recall.items()}
        return facts


def _new_collection(folder: Path, uri: str, generation: int) -> Collection:
    """A collection that does not exist yet, noted in the folder."""
    stem = re.sub(r"\W+", "_", folder.name.removesuffix(".building"), flags=re.ASCII).strip("_")[:100] or "index"
    place = Collection(uri, f"debater_{stem}_{uuid.uuid4().hex[:8]}_g{generation}")
    ledger.note(folder, place)
    return place


def _tune(state: MilvusState, type: str, rows: int, chunks: Iterable[np.ndarray]) -> list[str]:
    """Choose the least breadth that reaches the target, and note the recall; returns a warning if none does.

    What exact search finds is computed from the shards here: Milvus would have to send every vector.
    """
    steps = breadths(type, rows)
    if not steps or rows < 2:
        return []
    none = np.empty(0, np.int64)
    index = MilvusIndex(state.place, rows, none, type, steps[-1])
    own = sample_positions(rows)
    test = RecallTest.of(own, index.read(own), _Scan(chunks, rows))
    for step in steps:
        index.breadth = state.breadth = step
        if test.recall(index, DEPTHS[0]) >= state.target:
            break
    state.recall = {depth: test.recall(index, depth) for depth in DEPTHS}
    if state.recall[DEPTHS[0]] >= state.target:
        return []
    return [
        f"A recall@10 of {state.target:g} cannot be reached with type {type}: it is {state.recall[DEPTHS[0]]:.3f} at "
        "most. Choose type flat."
    ]


class _Scan:
    """Exact search through chunks of vectors, one in memory at a time."""

    def __init__(self, chunks: Iterable[np.ndarray], rows: int) -> None:
        self._chunks, self._rows = chunks, rows

    def __len__(self) -> int:
        return self._rows

    def search(
        self, queries: np.ndarray, k: int, within: Selection | None = None, *, exact: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        best = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        start = 0
        for chunk in self._chunks:
            scores = queries @ np.asarray(chunk, np.float32).T
            places = np.argpartition(-scores, min(k, len(chunk)) - 1, axis=1)[:, :k]
            best = merged([best, (np.take_along_axis(scores, places, axis=1), places + start)], k)
            start += len(chunk)
        return best


def _contradiction(place: Collection, record: VectorRecord) -> str | None:
    """How the collection differs from what the record says of it; None if it does not."""
    found = place.rows()
    if found is None:
        return f"The collection {place.name} is gone from {place.uri}"
    if found < record.rows:
        return f"The collection {place.name} at {place.uri} holds {found:,} vectors instead of {record.rows:,}"
    if place.dim() != record.dim:
        return f"The collection {place.name} at {place.uri} holds vectors of {place.dim()} dimensions"
    return None
