"""VectorIndex on FAISS. The library is imported on first use, through `import_faiss` only."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Self

import numpy as np

from debater_search.errors import DebaterError

# Index types by the name users give them → FAISS factory strings; scores are inner products in every type.
TYPES = {"flat": "Flat"}

_MEND = "Run the `debater index` command that made it again, with --force."

_CPU_WHEEL = "faiss-cpu"
_GPU_WHEELS = ("faiss-gpu", "faiss-gpu-cu12", "faiss-gpu-cuvs")


def check_type(type: str) -> None:
    """Raise DebaterError unless there is such an index type and FAISS is there to build it."""
    if type not in TYPES:
        raise DebaterError(f"There is no index type {type!r}.", f"Types: {', '.join(TYPES)}.")
    import_faiss()


def import_faiss() -> Any:
    """The faiss module.

    Raises:
        DebaterError: it is not installed, or two of its wheels are, which overwrite each other's files.

    """
    gpu = [wheel for wheel in _GPU_WHEELS if _installed(wheel)]
    if gpu and _installed(_CPU_WHEEL):
        raise DebaterError(
            f"{_CPU_WHEEL} and {gpu[0]} are both installed and overwrite each other's files: "
            f"uninstall {_CPU_WHEEL} if this machine has an NVIDIA GPU, else {gpu[0]}.",
            f"With a GPU: pip uninstall {_CPU_WHEEL} && pip install --force-reinstall --no-deps {gpu[0]}. "
            f"Without: pip uninstall {gpu[0]} && pip install --force-reinstall --no-deps {_CPU_WHEEL}.",
        )
    try:
        return import_module("faiss")
    except ImportError as error:
        if error.name == "faiss":
            message = "The FAISS library is not installed."
        else:
            message = f"The FAISS library does not load: {error}."
        raise DebaterError(message, 'Install it: pip install "debater-search[cpu]".') from None


def _installed(wheel: str) -> bool:
    try:
        distribution(wheel)
    except PackageNotFoundError:
        return False
    return True


class FaissIndex:
    """A FAISS index over inner products."""

    def __init__(self, dim: int, type: str = "flat") -> None:
        check_type(type)
        faiss = import_faiss()
        self._index = faiss.index_factory(dim, TYPES[type], faiss.METRIC_INNER_PRODUCT)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, vectors: np.ndarray) -> None:
        """Append vectors, float32 [n, dim]."""
        self._index.add(np.ascontiguousarray(vectors, dtype=np.float32))

    def search(
        self, queries: np.ndarray, k: int, *, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores and positions of the best vectors for queries [q, dim], among the `allowed` ones; ties by position."""
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        there = len(self) if allowed is None else len(allowed)
        k = min(k, there)
        best_scores = np.empty((len(queries), k), np.float32)
        best_positions = np.empty((len(queries), k), np.int64)
        if k == 0:
            return best_scores, best_positions
        only = None if allowed is None else self._only(allowed)
        # FAISS cuts ties at k as it likes: look further until the cut falls between two different scores.
        pending, wide = np.arange(len(queries)), min(k + 1, there)
        while len(pending):
            scores, positions = self._index.search(queries[pending], wide, params=only)
            order = np.lexsort((positions, -scores))[:, :k]
            best_scores[pending] = np.take_along_axis(scores, order, axis=1)
            best_positions[pending] = np.take_along_axis(positions, order, axis=1)
            tied = scores[:, k - 1] == scores[:, -1]
            pending = pending[tied] if wide < there else pending[:0]
            wide = min(2 * wide, there)
        return best_scores, best_positions

    def _only(self, allowed: np.ndarray) -> Any:
        """Search parameters that keep FAISS to these positions."""
        faiss = import_faiss()
        mask = np.zeros(len(self), np.bool_)
        mask[allowed] = True
        return faiss.SearchParameters(sel=faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little")))

    def save(self, path: Path) -> None:
        """Write the index to a file."""
        import_faiss().write_index(self._index, str(path))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Open an index file without reading it into memory.

        Raises:
            DebaterError: the file is missing or is no FAISS index.

        """
        faiss = import_faiss()
        if not path.is_file():
            raise DebaterError(f"{path} is missing.", _MEND)
        loaded = cls.__new__(cls)
        try:
            loaded._index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError:
            raise DebaterError(f"{path} is damaged: FAISS cannot read it.", _MEND) from None
        return loaded
