"""Copies of an index on GPUs, where FAISS's GPU build is installed: on one, or on several that share or repeat it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Lock, RLock
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from debater_search.errors import UnavailableError
from debater_search.vectors.faiss.library import gpu_count, has_cuvs, import_faiss

MOST = 2048
"""Hits of a query, and lists that it looks into, that FAISS can select on a GPU."""
SCRATCH = 256 * 2**20
"""Bytes of each GPU that FAISS reserves for what a search computes; what does not fit is allocated for the moment."""
FULL = (
    "out of memory",  # CUDA's own words, which FAISS repeats
    "cudaErrorMemoryAllocation",
    "CUDA memory allocation error",  # cuVS
    "bad_alloc",  # RMM
    "out_of_memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "failed to cudaHostAlloc",  # FAISS, of the buffer that copies go through
)
"""Parts of the messages by which libraries say that a GPU's memory is full, in any case of letters."""


def memory_is_full(error: Exception) -> bool:
    """Whether an error of FAISS says that the memory of a GPU ran out."""
    # RMM's exception is a std::bad_alloc, which FAISS's bindings raise as MemoryError.
    return isinstance(error, MemoryError) or any(words.lower() in str(error).lower() for words in FULL)


def reason_of(error: Exception) -> str:
    """The last line of an error of FAISS, which is the one that tells."""
    return ([line for line in str(error).splitlines() if line.strip()] or ["its memory is full."])[-1].strip()


class GpuCopy:
    """A copy of an index on GPUs, for searches that no filter narrows.

    The whole is on each GPU, for they share the queries; where the memory does not hold that, a part is on each.
    Rescoring stays on the CPU, next to the float vectors.
    """

    def __init__(self, index: Any, gpus: Sequence[int]) -> None:
        """Raises RuntimeError or MemoryError as FAISS does."""
        faiss = import_faiss()
        cards = [_card(gpu) for gpu in gpus]
        self._locks = [_card(gpu).lock for gpu in sorted(gpus)]
        self._owner = index  # its floats are used, if there are any
        refine = faiss.downcast_index(index)
        refine = refine if isinstance(refine, faiss.IndexRefine) else None
        self._candidates = refine.k_factor if refine else 1
        self._space, self._probes = faiss.GpuParameterSpace(), 0
        with self._alone():
            self._near = on_gpus(refine.base_index if refine else index, gpus, [card.resources for card in cards])
        self._index = self._near
        if refine:
            self._index = faiss.IndexRefine(self._near, faiss.downcast_index(refine.refine_index))
            self._index.k_factor = refine.k_factor

    def __del__(self) -> None:
        if hasattr(self, "_near"):
            with self._alone():  # memory is given back through the resources that others search with
                self._index = self._near = None

    def takes(self, k: int, probes: int) -> bool:
        """Whether k hits can be selected on GPUs, out of so many lists (0: there are none)."""
        return max(k * self._candidates, probes) <= MOST

    def search(self, queries: np.ndarray, k: int, probes: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and positions of the k best for each query, looking into `probes` lists."""
        with self._alone():  # copies on several GPUs take the number of lists only as a setting
            if probes != self._probes:
                self._space.set_index_parameter(self._near, "nprobe", probes)
                self._probes = probes
            scores, positions = self._index.search(queries, k)
            return scores, positions

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Inside, no other thread uses these GPUs' resources, which FAISS does not protect."""
        with ExitStack() as held:
            for lock in self._locks:
                held.enter_context(lock)
            yield


class _Card:
    """A GPU's resources, which all copies on it share, and the lock of the thread that uses them."""

    def __init__(self) -> None:
        self.resources, self.lock = bounded_resources(), RLock()


_cards: dict[int, _Card] = {}


def _card(gpu: int) -> _Card:
    return _cards.get(gpu) or _cards.setdefault(gpu, _Card())


def bounded_resources() -> Any:
    """What FAISS needs of a GPU to use it, with little scratch memory."""
    found = import_faiss().StandardGpuResources()
    found.setTempMemory(SCRATCH)
    return found


_copies: WeakValueDictionary[tuple[str, tuple[int, ...]], GpuCopy] = WeakValueDictionary()
_copying = Lock()


def copy_on(device: str, index: Any, content: str | None = None) -> GpuCopy:
    """A copy of an index on a GPU ("cuda:N") or on all GPUs ("cuda").

    One of the same `content` (a sha256 of its file) that is still in use is used again: a change of an index leaves
    its base as it is.

    Raises:
        UnavailableError: FAISS has no GPU, no GPU form of this index, or not enough memory there.

    """
    gpus = gpus_of(device)
    if not gpus:
        raise UnavailableError(
            "This build of FAISS finds no GPU.", "Exchange it: pip uninstall -y faiss-cpu && pip install faiss-gpu."
        )
    if not has_gpu_form(index):
        raise UnavailableError("FAISS does not search this type of index on GPUs.", "Types for GPUs: flat, ivf, sq8.")
    lists = import_faiss().try_extract_index_ivf(index)
    if lists is not None and lists.nprobe > MOST:  # FAISS refuses such a copy, and fewer lists find less
        raise UnavailableError(
            f"The index looks into {lists.nprobe:,} lists for each query, and FAISS on GPUs into {MOST:,} at most.",
            "Build it with a lower `recall`.",
        )
    try:
        if content is None:
            return GpuCopy(index, gpus)
        key = content, tuple(gpus)
        with _copying:
            found = _copies.get(key)
            if found is None:
                found = _copies[key] = GpuCopy(index, gpus)
            return found
    except (RuntimeError, MemoryError) as error:
        raise UnavailableError(
            f"The GPU does not take the index: {reason_of(error)}", "Choose a smaller type: sq8."
        ) from None


def gpus_of(device: str) -> Sequence[int]:
    """The GPUs of a device as torch spells it: all that FAISS finds for "cuda", one for "cuda:N", none for others."""
    kind, _, number = device.partition(":")
    gpus = range(gpu_count()) if kind == "cuda" else range(0)
    return [gpu for gpu in gpus if number in ("", str(gpu))]


def has_gpu_form(index: Any) -> bool:
    """Whether FAISS can search this index on a GPU: exact, or lists of floats or plain codes; no graph."""
    faiss = import_faiss()
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexRefine):
        return has_gpu_form(index.base_index)
    if isinstance(index, faiss.IndexPreTransform):
        return has_gpu_form(index.index)
    kinds = (faiss.IndexFlat, faiss.IndexIVFFlat, faiss.IndexIVFPQ, faiss.IndexIVFScalarQuantizer)
    return isinstance(index, kinds)


def on_gpus(index: Any, gpus: Sequence[int], resources: Sequence[Any] | None = None) -> Any:
    """A FAISS index cloned to these GPUs, whole or in parts; RuntimeError or MemoryError where they do not hold it.

    It keeps its `resources` (one for each GPU) alive; None makes new ones.
    """
    faiss = import_faiss()
    resources = resources or [bounded_resources() for _ in gpus]
    options = faiss.GpuMultipleClonerOptions()
    # cuVS is faster, and knows no scalar quantizer; FAISS checks that only where it cannot recover.
    lists = faiss.try_extract_index_ivf(index)
    coded = lists is not None and isinstance(faiss.downcast_index(lists), faiss.IndexIVFScalarQuantizer)
    options.use_cuvs = has_cuvs() and not coded
    options.shard = False
    try:
        return faiss.index_cpu_to_gpu_multiple_py(list(resources), index, options, list(gpus))
    except (RuntimeError, MemoryError) as error:
        if len(gpus) < 2 or not memory_is_full(error):
            raise
    options.shard = True
    return faiss.index_cpu_to_gpu_multiple_py(list(resources), index, options, list(gpus))
