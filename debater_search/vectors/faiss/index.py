"""One FAISS index file: opened without reading it, searched with the parameters that it holds."""

import logging
import os
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any, Self

import numpy as np

from debater_search.errors import DamagedError, InvalidError, UnavailableError
from debater_search.store.manifest import MEND
from debater_search.vectors.base import Selection
from debater_search.vectors.faiss.gpu import GpuCopy, copy_on, memory_is_full
from debater_search.vectors.faiss.library import import_faiss, read_mapped, write
from debater_search.vectors.ranking import NONE, Look, all_different, in_order, narrowed, others, ranked, without

logger = logging.getLogger(__name__)

EXACT_UP_TO = 50_000
"""A filter that allows no more vectors than this is answered by a scan of them all."""

_DEPTH = 128  # hits; recall was measured down to about here
_LINKS_A_STEP = 32  # vectors that a graph search compares for each that it keeps, about
_FEW = 0.05  # share of left-out vectors that does not change recall noticeably


class FaissIndex:
    """Inner products over float vectors, exact or by way of a FAISS index that leads to the likely ones.

    `FaissIndex(dim)` is empty and exact, and grows by `add`; other types are built into a file (`build_index`).
    `dropped`, int64 ascending, are positions that no search finds.
    """

    def __init__(self, dim: int) -> None:
        self._take(import_faiss().IndexFlatIP(dim), NONE)

    def _take(self, index: Any, dropped: np.ndarray) -> None:
        """Find the parts of an index: rescoring over (rotation over (lists or graph)), and its float vectors."""
        faiss = self._faiss = import_faiss()  # its checks take longer than a search
        self._dropped = dropped
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
        return self.total - len(self._dropped)

    @property
    def total(self) -> int:
        """How many vectors there are, dropped ones included."""
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        return int(self._index.d)

    def add(self, vectors: np.ndarray) -> None:
        """Append vectors, float32 [n, dim], to an exact index in memory."""
        self._index.add(np.ascontiguousarray(vectors, dtype=np.float32))

    def append(self, other: "FaissIndex") -> None:
        """Copy the vectors of another exact index behind those of this one, dropped ones as dropped."""
        self._dropped = np.append(self._dropped, other._dropped + self.total)
        self.add(other._index.reconstruct_n(0, other.total))

    def search(
        self, queries: np.ndarray, k: int, within: Selection | None = None, *, exact: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `VectorIndex.search`.

        Every type is exact if `exact` is set, if `within` names at most EXACT_UP_TO positions, or if k is a tenth or
        more of what may be found. Elsewhere a selection, like a k beyond _DEPTH, widens the search of an approximate
        type, which stays approximate. Measured with 60,000 of 120,000 vectors allowed (`benchmarks/vectors.md`),
        recall@10 is .99 (IVF) and 1.00 (HNSW) if they are a random half, .88 and .79 if they are the half that is
        farthest from the queries.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        allowed, left_out = self._choice(within)
        there = self.total - len(left_out) if allowed is None else len(allowed)
        k = min(k, there)
        if k == 0 or len(queries) == 0:
            return np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        crowd = self.total / there
        widening = max(1.0, k / _DEPTH) * (1.0 if allowed is None and crowd < 1 + _FEW else crowd)
        if exact or self.exact or 10 * k >= there or (allowed is not None and self._better_scanned(there, widening)):
            return ranked(self._scan(allowed, left_out), queries, k, there)
        scores, positions = self._probe(allowed, left_out, widening)(queries, k)
        if not all_different(scores):
            scores, positions = in_order(scores, positions)
        if positions[:, -1].min() < 0:  # lists or graph led to fewer than k vectors
            short = positions[:, -1] < 0
            scores[short], positions[short] = ranked(self._scan(allowed, left_out), queries[short], k, there)
        return scores, positions

    def _choice(self, within: Selection | None) -> tuple[np.ndarray | None, np.ndarray]:
        """The positions that may be found, or None and those that may not: they are few enough to look past them."""
        if within is None and 2 * len(self._dropped) > self.total:
            return self._live, NONE
        return narrowed(within, self._dropped, self.total)

    @cached_property
    def _live(self) -> np.ndarray:
        return others(self._dropped, self.total)

    def _better_scanned(self, allowed: int, widening: float) -> bool:
        if allowed <= EXACT_UP_TO or not self._filters:
            return True
        return self._graph is not None and self._graph.hnsw.efSearch * widening * _LINKS_A_STEP >= allowed

    def _scan(self, allowed: np.ndarray | None, left_out: np.ndarray) -> Look:
        """Compare with every vector that may be found."""
        faiss, floats = self._faiss, self._floats
        if isinstance(floats, faiss.IndexIVF):
            only = faiss.SearchParametersIVF(nprobe=floats.nlist, **self._selector(allowed))
        elif allowed is not None:
            chosen = faiss.IDSelectorArray(np.ascontiguousarray(allowed, np.int64))  # goes from one to the next
            only = faiss.SearchParameters(sel=chosen)
        elif self.exact:
            return self._past(self._unfiltered(), left_out)
        else:
            only = None
        return self._past(lambda queries, k: floats.search(queries, k, params=only), left_out)

    def _probe(self, allowed: np.ndarray | None, left_out: np.ndarray, widening: float) -> Look:
        """Search as the index was tuned to, or so many times wider."""
        probes = min(self._ivf.nlist, ceil(self._ivf.nprobe * widening)) if self._ivf else 0
        if allowed is None and widening == 1:
            return self._past(self._unfiltered(probes), left_out)
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
            return self._past(self._unfiltered(probes, parameters), left_out)
        return lambda queries, k: index.search(queries, k, params=parameters)

    def _past(self, look: Look, left_out: np.ndarray) -> Look:
        return without(look, left_out, self.total) if len(left_out) else look

    def _unfiltered(self, probes: int = 0, parameters: Any = None) -> Look:
        """Search on the GPUs if there is a copy that takes this, else here."""

        def look(queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            copy = self._copy
            if copy is not None and copy.takes(k, probes):
                try:
                    return copy.search(queries, k, probes)
                except (RuntimeError, MemoryError) as error:
                    if not memory_is_full(error):
                        raise
                    logger.warning("The memory of the GPU is full: vectors are searched on the CPU.")
                    self._copy = None
            scores, positions = self._index.search(queries, k, params=parameters)
            return scores, positions

        return look

    def to_gpus(self, device: str, content: str | None = None) -> None:
        """Keep a copy on a GPU ("cuda:N") or on all GPUs ("cuda") for searches that no filter narrows.

        `content` is the sha256 of the index's file: a copy of the same content that is still in use is shared.

        Raises:
            UnavailableError: FAISS has no GPU, no GPU form of this index, or not enough memory there.

        """
        self._copy = copy_on(device, self._index, content)

    def _selector(self, allowed: np.ndarray | None) -> dict[str, Any]:
        if allowed is None:
            return {}
        mask = np.zeros(self.total, np.bool_)
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
        return min(self.total, 2048) if self._graph else 0

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
            UnavailableError: it cannot be written, as when the disk is full.

        """
        try:
            write(self._index, path)
        except RuntimeError:
            raise UnavailableError(
                f"{path} cannot be written.", "Is the disk full? The embeddings are kept: build again to go on."
            ) from None

    @classmethod
    def of(cls, index: Any, dropped: np.ndarray = NONE) -> Self:
        """Wrap an index of the FAISS library."""
        wrapped = cls.__new__(cls)
        wrapped._take(index, dropped)
        return wrapped

    @classmethod
    def load(cls, path: Path, dropped: np.ndarray = NONE) -> Self:
        """Open an index file without reading it into memory.

        Raises:
            DamagedError: the file is missing or is not a FAISS index.
            InvalidError: it may not be read.

        """
        if not path.is_file():
            raise DamagedError(f"{path} is missing.", MEND)
        if not os.access(path, os.R_OK):
            raise InvalidError(f"{path} may not be read by this user.", "Check the path and its permissions.")
        try:
            return cls.of(read_mapped(path), dropped)
        except RuntimeError:
            raise DamagedError(f"{path} is damaged: FAISS cannot read it.", MEND) from None
