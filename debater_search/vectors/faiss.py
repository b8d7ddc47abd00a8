"""VectorIndex on FAISS: one file, opened without reading it, searched with the parameters that it holds."""

from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any, Self

import numpy as np

from debater_search.errors import DebaterError
from debater_search.vectors.gpu import GpuCopy, gpus_of, has_gpu_form
from debater_search.vectors.library import import_faiss

# A filter that allows no more vectors than this is always answered by scanning them all.
EXACT_UP_TO = 50_000

_MEND = "Run the `debater index` command that made it again, with --force."
_DEPTH = 128  # hits; recall was measured down to about here
_LINKS_A_STEP = 32  # vectors that a graph search looks at for each that it keeps, about

# Queries [q, dim] and a number of hits → scores and positions [q, hits], best first, -1 where there are no more.
Look = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


class FaissIndex:
    """Inner products over float vectors, exact or by way of a FAISS index that leads to the likely ones.

    `FaissIndex(dim)` is empty and exact, and grows by `add`; other types are built into a file (`build_index`).
    """

    def __init__(self, dim: int) -> None:
        self._take(import_faiss().IndexFlatIP(dim))

    def _take(self, index: Any) -> None:
        """Find the parts of an index: rescoring over (rotation over (lists or graph)), and its float vectors."""
        faiss = self._faiss = import_faiss()  # its checks take longer than a search
        self._owner = index  # the views below do not keep it alive
        self._copy: GpuCopy | None = None
        self._index = faiss.downcast_index(index)
        self._refine = self._index if isinstance(self._index, faiss.IndexRefine) else None
        base = faiss.downcast_index(self._refine.base_index) if self._refine else self._index
        self._transform = base if isinstance(base, faiss.IndexPreTransform) else None
        self._base = faiss.downcast_index(base.index) if self._transform else base
        self._ivf = self._base if isinstance(self._base, faiss.IndexIVF) else None
        self._graph = self._base if isinstance(self._base, faiss.IndexHNSW) else None
        if self._refine:
            self._floats = faiss.downcast_index(self._refine.refine_index)
        else:
            self._floats = faiss.downcast_index(self._graph.storage) if self._graph else self._index
        self.exact = isinstance(self._index, faiss.IndexFlat)
        filters = (faiss.IndexIVF, faiss.IndexHNSW, faiss.IndexScalarQuantizer, faiss.IndexRaBitQ)
        self._filters = isinstance(self._base, filters)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, vectors: np.ndarray) -> None:
        """Append vectors, float32 [n, dim], to an exact index in memory."""
        self._index.add(np.ascontiguousarray(vectors, dtype=np.float32))

    def search(
        self, queries: np.ndarray, k: int, *, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores and positions of the best vectors for queries [q, dim], among the `allowed` ones; ties by position.

        Exact where at most EXACT_UP_TO vectors are allowed, or a large share of all is wanted. Elsewhere a filter, as
        a k beyond _DEPTH, widens the search, so that recall does not fall below what was measured.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        there = len(self) if allowed is None else len(allowed)
        k = min(k, there)
        if k == 0 or len(queries) == 0:
            return np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        widening = max(1.0, k / _DEPTH) * len(self) / there
        if self.exact or 10 * k >= there or (allowed is not None and self._better_scanned(there, widening)):
            return _ranked(self._scan(allowed), queries, k, there)
        scores, positions = self._probe(allowed, widening)(queries, k)
        if not _all_different(scores):
            scores, positions = _in_order(scores, positions)
        if positions[:, -1].min() < 0:  # lists or graph led to fewer than k vectors
            short = positions[:, -1] < 0
            scores[short], positions[short] = _ranked(self._scan(allowed), queries[short], k, there)
        return scores, positions

    def _better_scanned(self, allowed: int, widening: float) -> bool:
        if allowed <= EXACT_UP_TO or not self._filters:
            return True
        return self._graph is not None and self._graph.hnsw.efSearch * widening * _LINKS_A_STEP >= allowed

    def _scan(self, allowed: np.ndarray | None) -> Look:
        """Compare with every allowed vector."""
        faiss, floats = self._faiss, self._floats
        if isinstance(floats, faiss.IndexIVF):
            only = faiss.SearchParametersIVF(nprobe=floats.nlist, **self._selector(allowed))
        elif allowed is not None:
            chosen = faiss.IDSelectorArray(np.ascontiguousarray(allowed, np.int64))  # goes from one to the next
            only = faiss.SearchParameters(sel=chosen)
        elif self.exact:
            return self._unfiltered()
        else:
            only = None
        return lambda queries, k: floats.search(queries, k, params=only)

    def _probe(self, allowed: np.ndarray | None, widening: float) -> Look:
        """Search as the index was tuned to, or so many times wider."""
        probes = min(self._ivf.nlist, ceil(self._ivf.nprobe * widening)) if self._ivf else 0
        if allowed is None and widening == 1:
            return self._unfiltered(probes)
        faiss, index = self._faiss, self._index
        selector = self._selector(allowed)
        parameters = None
        if self._ivf:
            parameters = faiss.SearchParametersIVF(nprobe=probes, **selector)
        elif self._graph:
            parameters = faiss.SearchParametersHNSW(efSearch=ceil(self._graph.hnsw.efSearch * widening), **selector)
        elif selector:
            parameters = faiss.SearchParameters(**selector)
        if self._transform:
            parameters = faiss.SearchParametersPreTransform(index_params=parameters)
        if self._refine:
            parameters = faiss.IndexRefineSearchParameters(k_factor=self._refine.k_factor, base_index_params=parameters)
        if allowed is None:
            return self._unfiltered(probes, parameters)
        return lambda queries, k: index.search(queries, k, params=parameters)

    def _unfiltered(self, probes: int = 0, parameters: Any = None) -> Look:
        """Search on the GPUs if there is a copy that takes this, else here."""

        def look(queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            if self._copy is not None and self._copy.takes(k, probes):
                return self._copy.search(queries, k, probes)
            scores, positions = self._index.search(queries, k, params=parameters)
            return scores, positions

        return look

    def to_gpus(self, device: str) -> None:
        """Keep a copy on a GPU ("cuda:N") or on all there are ("cuda") for searches that no filter narrows.

        Raises:
            DebaterError: FAISS has no GPU, no GPU form of this type, or not enough memory there.

        """
        gpus = gpus_of(device)
        if not gpus:
            raise DebaterError("This build of FAISS finds no GPU.", 'Install it: pip install "debater-search[gpu]".')
        if not has_gpu_form(self._index):
            raise DebaterError("FAISS does not search this type of index on GPUs.", "Take flat, ivf or sq8.")
        try:
            self._copy = GpuCopy(self._index, gpus)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise DebaterError(f"The GPU does not take the index: {reason}", "Take a smaller --type: sq8.") from None

    def _selector(self, allowed: np.ndarray | None) -> dict[str, Any]:
        if allowed is None:
            return {}
        mask = np.zeros(len(self), np.bool_)
        mask[allowed] = True
        return {"sel": self._faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))}

    @property
    def parameters(self) -> dict[str, float]:
        """The search parameters that this index has, as tuned: nprobe, efSearch, k_factor (candidates per hit)."""
        found: dict[str, float] = {}
        if self._ivf:
            found["nprobe"] = int(self._ivf.nprobe)
        if self._graph:
            found["efSearch"] = int(self._graph.hnsw.efSearch)
        if self._refine:
            found["k_factor"] = float(self._refine.k_factor)
        return found

    @property
    def widest(self) -> int:
        """The largest nprobe or efSearch there is sense in; 0 where there is neither."""
        if self._ivf:
            return int(self._ivf.nlist)
        return min(len(self), 2048) if self._graph else 0

    def configure(self, *, breadth: int | None = None, k_factor: int | None = None) -> None:
        """Set nprobe or efSearch, whichever there is, and the candidates that are rescored for each hit."""
        if breadth is not None and self._ivf:
            self._ivf.nprobe = breadth
        if breadth is not None and self._graph:
            self._graph.hnsw.efSearch = breadth
        if k_factor is not None and self._refine:
            self._refine.k_factor = k_factor

    def save(self, path: Path) -> None:
        """Write the index to a file, with its search parameters; any FAISS program can read it.

        Raises:
            DebaterError: it cannot be written, as where the disk is full.

        """
        try:
            self._faiss.write_index(self._index, str(path))
        except RuntimeError:
            raise DebaterError(
                f"{path} cannot be written.", "Is the disk full? What was encoded is kept: run the command again."
            ) from None

    @classmethod
    def of(cls, index: Any) -> Self:
        """Wrap an index of the FAISS library."""
        wrapped = cls.__new__(cls)
        wrapped._take(index)
        return wrapped

    @classmethod
    def load(cls, path: Path) -> Self:
        """Open an index file without reading it into memory.

        Raises:
            DebaterError: the file is missing or is no FAISS index.

        """
        faiss = import_faiss()
        if not path.is_file():
            raise DebaterError(f"{path} is missing.", _MEND)
        try:
            return cls.of(faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC))
        except RuntimeError:
            raise DebaterError(f"{path} is damaged: FAISS cannot read it.", _MEND) from None


def _ranked(look: Look, queries: np.ndarray, k: int, there: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best that `look` finds, equal scores in the order of their positions.

    FAISS cuts ties at k as it likes: look further until the cut falls between two different scores.
    """
    wide = min(k + 1, there)
    scores, positions = look(queries, wide)
    if _all_different(scores):
        return scores[:, :k], positions[:, :k]
    best_scores, best_positions = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    pending = np.arange(len(queries))
    while True:
        scores, positions = _in_order(scores, positions)
        best_scores[pending], best_positions[pending] = scores[:, :k], positions[:, :k]
        pending = pending[scores[:, k - 1] == scores[:, -1]]
        if wide == there or not len(pending):
            return best_scores, best_positions
        wide = min(2 * wide, there)
        scores, positions = look(queries[pending], wide)


def _all_different(scores: np.ndarray) -> bool:
    return bool((scores[:, 1:] < scores[:, :-1]).all())


def _in_order(scores: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best first, equal scores by position."""
    order = np.lexsort((positions, -scores))
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(positions, order, axis=1)
