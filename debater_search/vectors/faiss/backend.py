"""FAISS as a vector backend: a base of any type in one file, flat segments of later vectors, lists of dropped ones.

A change writes `delta-N/`, N being its generation. It merges the last segments with the new one only while they are
small beside it (`state.trailing`), so that its cost follows what is added, not what is there. The base is one file that
plain FAISS reads.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from debater_search.errors import DamagedError, InvalidError, UnavailableError
from debater_search.files import atomic, sha256_file
from debater_search.store.generations import delta_name, vectors_name
from debater_search.store.manifest import MEND, FileInfo, VectorRecord
from debater_search.vectors.base import VectorIndex, VectorSettings
from debater_search.vectors.dropped import Part, read_positions, replaced, trailing, with_dropped
from debater_search.vectors.faiss.build import build_index, read_floats, write_floats
from debater_search.vectors.faiss.index import FaissIndex
from debater_search.vectors.faiss.planner import ASKED, Plan
from debater_search.vectors.faiss.segments import SegmentedIndex
from debater_search.vectors.faiss.state import FaissState
from debater_search.vectors.faiss.trial import check_type

logger = logging.getLogger(__name__)

_INDEX = "index.faiss"
_CHUNK = 8192  # rows that are copied at once


class FaissBackend:
    """`VectorBackend` on the FAISS library."""

    name = "faiss"
    takes: Literal["positions", "tree"] = "positions"
    remote = False

    def validate(self, settings: VectorSettings, dim: int | None) -> None:
        """As `VectorBackend.validate`. A FAISS factory string is tried on a few vectors in another process."""
        if settings.uri is not None:
            raise InvalidError("FAISS keeps its vectors in the folder of the index.", "Leave `uri` out.")
        check_type(settings.type, dim)

    def build(
        self, folder: Path, chunks: Iterable[np.ndarray], dim: int, settings: VectorSettings, generation: int
    ) -> VectorRecord:
        """As `VectorBackend.build`."""
        name = f"{vectors_name(generation)}/{_INDEX}"
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        with atomic(path) as temporary:
            built = build_index(chunks, dim, settings, temporary)
        if built.plan.type != settings.type:
            logger.info("Vectors: %s.", built.plan.reason)
        warnings = []
        if not built.reached:
            warnings.append(
                f"A recall@10 of {settings.recall:g} cannot be reached with {built.plan.factory}: it is "
                f"{built.recall[10]:.3f} at most. Choose a more exact type (sq8, ivf, hnsw, flat)."
            )
            logger.warning(warnings[0])
        state = FaissState(
            factory=built.plan.factory,
            reason=_reason(built.plan, settings.why),
            parameters=built.parameters,
            target=settings.recall,
            recall=built.recall,
            base=name,
        )
        return VectorRecord(
            backend=self.name,
            type=built.plan.type,
            dim=dim,
            rows=built.rows,
            state=state.as_json(),
            files={name: FileInfo.of(path)},
            warnings=warnings,
        )

    def extend(self, folder: Path, record: VectorRecord, chunks: Iterable[np.ndarray], generation: int) -> VectorRecord:
        """As `VectorBackend.extend`."""
        state = FaissState.of(record)
        name = f"{delta_name(generation)}/{_INDEX}"
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        with atomic(path) as temporary:
            added = len(write_floats(temporary, chunks, record.dim))
            merged = trailing(state.segments, added) if added else []
            if merged:
                _prepend(temporary, [folder / part.file for part in merged], record.dim)
        if not added:
            path.unlink()
            return record
        rows = added + sum(part.rows for part in merged)
        kept = state.segments[: len(state.segments) - len(merged)]
        state.segments = [*kept, Part(file=name, rows=rows)]
        counts = {"rows": record.rows + added, "added": record.added + added}
        files = replaced(folder, record, merged, name)
        return record.model_copy(update={**counts, "state": state.as_json(), "files": files})

    def drop(self, folder: Path, record: VectorRecord, positions: np.ndarray, generation: int) -> VectorRecord:
        """As `VectorBackend.drop`."""
        state = FaissState.of(record)
        record, state.dropped = with_dropped(folder, record, state.dropped, positions, generation)
        return record.model_copy(update={"state": state.as_json()})

    def open(self, folder: Path, record: VectorRecord, device: str = "cpu") -> VectorIndex:
        """As `VectorBackend.open`. The base alone goes to GPUs: what was added to it is small."""
        state = FaissState.of(record)
        dropped = read_positions(folder, state.dropped, record.rows)
        later = [(part.file, part.rows) for part in state.segments]
        parts = [(state.base, record.rows - sum(rows for _, rows in later)), *later]
        opened, start = [], 0
        for name, rows in parts:
            low, high = dropped.searchsorted([start, start + rows])
            index = FaissIndex.load(folder / name, dropped[low:high] - start)
            if (index.total, index.dim) != (rows, record.dim):
                raise DamagedError(
                    f"{folder / name} is damaged: it holds {index.total:,} vectors of {index.dim} dimensions instead "
                    f"of {rows:,} of {record.dim}.",
                    MEND,
                )
            opened.append(index)
            start += rows
        if device.startswith("cuda"):
            try:
                opened[0].to_gpus(device, record.files[state.base].sha256)
            except UnavailableError as error:
                logger.info("Vectors are searched on the CPU. %s", error.message)
        return opened[0] if len(opened) == 1 else SegmentedIndex(opened[0], opened[1:])

    def check(self, folder: Path, record: VectorRecord) -> list[str]:
        """As `VectorBackend.check`."""
        return [
            name
            for name, info in record.files.items()
            if not (folder / name).is_file() or sha256_file(folder / name) != info.sha256
        ]

    def remove(self, folder: Path, record: VectorRecord) -> None:
        """As `VectorBackend.remove`."""
        for name in record.files:
            path = folder / name
            path.unlink(missing_ok=True)
            with suppress(OSError):  # it holds other files, or is gone
                path.parent.rmdir()

    def remove_lost(self, folder: Path, record: VectorRecord | None) -> None:
        """As `VectorBackend.remove_lost`: nothing lies outside the folder."""

    def settings(self, record: VectorRecord) -> VectorSettings:
        """As `VectorBackend.settings`."""
        state = FaissState.of(record)
        return VectorSettings(type=record.type, recall=state.target, why=state.reason.partition(": ")[2])

    def describe(self, record: VectorRecord) -> dict[str, Any]:
        """As `VectorBackend.describe`: how the base is searched, and its recall against exact search."""
        state = FaissState.of(record)
        if not state.reason:
            return {}
        return {
            "vectors": state.reason,
            "parameters": state.parameters,
            "recall": {f"@{depth}": value for depth, value in state.recall.items()},
        }


def _reason(plan: Plan, why: str) -> str:
    """The reason of a plan; `why` is that of an earlier build, whose type was taken again."""
    return f"{plan.reason.removesuffix(ASKED)}, chosen when the index was built: {why}" if why else plan.reason


def _prepend(path: Path, segments: list[Path], dim: int) -> None:
    """Put the rows of other flat index files before those of the flat index file at `path`."""
    late = path.with_name(path.name + ".late")
    path.replace(late)
    try:
        write_floats(path, chain.from_iterable(_chunks(file, dim) for file in [*segments, late]), dim)
    finally:
        late.unlink(missing_ok=True)


def _chunks(path: Path, dim: int) -> Iterator[np.ndarray]:
    rows = read_floats(path, dim)
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]
