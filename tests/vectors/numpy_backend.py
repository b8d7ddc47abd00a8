"""The plainest vector backend there can be: it shows that the seam asks for nothing that only FAISS has."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from debater_search.errors import DamagedError
from debater_search.store.manifest import FileInfo, VectorRecord
from debater_search.vectors import Selection, VectorBackend, VectorSettings


class NumpyIndex:
    def __init__(self, rows: np.ndarray, live: np.ndarray) -> None:
        self.rows, self.live = rows, live

    def __len__(self) -> int:
        return len(self.live)

    def search(self, queries: np.ndarray, k: int, within: Selection | None = None, *, exact: bool = False) -> tuple:
        live = self.live if within is None else self.live[np.isin(self.live, within.positions, invert=within.exclude)]
        scores = queries @ self.rows[live].T
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, order, axis=1), live[order]


class NumpyBackend(VectorBackend):
    name, takes, remote = "numpy", "positions", False

    def build(self, folder: Path, chunks: Iterable, dim: int, settings: object, generation: int) -> VectorRecord:
        empty = VectorRecord(backend="numpy", type="numpy", dim=dim, rows=0, state={"dropped": []})
        return self.extend(folder, empty, chunks, generation).model_copy(update={"added": 0})

    def extend(self, folder: Path, record: VectorRecord, chunks: Iterable, generation: int) -> VectorRecord:
        name, rows = f"delta-{generation}/{len(record.files)}.npy", np.concatenate([np.empty((0, record.dim)), *chunks])
        (folder / name).parent.mkdir(exist_ok=True)
        np.save(folder / name, rows.astype(np.float32))
        counts = {"rows": record.rows + len(rows), "added": record.added + len(rows)}
        return record.model_copy(update={**counts, "files": {**record.files, name: FileInfo.of(folder / name)}})

    def drop(self, folder: Path, record: VectorRecord, positions: np.ndarray, generation: int) -> VectorRecord:
        dropped = sorted({*record.state["dropped"], *positions.tolist()})
        return record.model_copy(update={"dropped": len(dropped), "state": {"dropped": dropped}})

    def open(self, folder: Path, record: VectorRecord, device: str = "cpu") -> NumpyIndex:
        if damaged := self.check(folder, record):
            raise DamagedError(f"{damaged[0]} is damaged.")
        rows = np.concatenate([np.load(folder / name, allow_pickle=False) for name in record.files])
        return NumpyIndex(rows, np.setdiff1d(np.arange(len(rows)), record.state["dropped"]))

    def check(self, folder: Path, record: VectorRecord) -> list[str]:
        return [n for n, i in record.files.items() if not (folder / n).exists() or FileInfo.of(folder / n) != i]

    def remove(self, folder: Path, record: VectorRecord) -> None:
        for name in record.files:
            (folder / name).unlink(missing_ok=True)

    def settings(self, record: VectorRecord) -> VectorSettings:
        return VectorSettings()
