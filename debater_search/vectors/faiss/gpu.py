"""FAISS on GPUs, where its GPU build is installed: one, or several that share or repeat an index.

Building uses them for what takes the time, clustering, the choice of lists and CAGRA's graph; the index itself stays in
CPU form, so that it is saved as it is, opens anywhere, and need not fit a card. Searching works on a copy.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np

from debater_search.errors import UnavailableError
from debater_search.vectors.faiss.library import gpu_count, has_cuvs, import_faiss

MOST = 2048
"""Hits of a query, and lists that it looks into, that FAISS can select on a GPU."""

_LINKS = 64  # of a vector in CAGRA's graph; what HNSW32 has in its lowest layer


class GpuCopy:
    """A copy of an index on GPUs, for searches that no filter narrows.

    The whole is on each GPU, for they share the queries; where the memory does not hold that, a part is on each.
    Rescoring stays on the CPU, next to the float vectors.
    """

    def __init__(self, index: Any, gpus: Sequence[int]) -> None:
        faiss = import_faiss()
        self._owner = index  # its floats are used, if there are any
        refine = faiss.downcast_index(index)
        refine = refine if isinstance(refine, faiss.IndexRefine) else None
        self._near = _on_gpus(refine.base_index if refine else index, gpus)
        self._index = self._near
        if refine:
            self._index = faiss.IndexRefine(self._near, faiss.downcast_index(refine.refine_index))
            self._index.k_factor = refine.k_factor
        self._candidates = refine.k_factor if refine else 1
        self._space, self._probes = faiss.GpuParameterSpace(), 0
        self._lock = Lock()

    def takes(self, k: int, probes: int) -> bool:
        """Whether k hits can be selected on GPUs, out of so many lists (0: there are none)."""
        return max(k * self._candidates, probes) <= MOST

    def search(self, queries: np.ndarray, k: int, probes: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and positions of the k best for each query, looking into `probes` lists."""
        with self._lock:  # copies on several GPUs take the number of lists only as a setting
            if probes != self._probes:
                self._space.set_index_parameter(self._near, "nprobe", probes)
                self._probes = probes
            scores, positions = self._index.search(queries, k)
            return scores, positions


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


def _on_gpus(index: Any, gpus: Sequence[int]) -> Any:
    """A FAISS index cloned to these GPUs, whole or in parts; RuntimeError where they do not hold it."""
    faiss = import_faiss()
    options = faiss.GpuMultipleClonerOptions()
    # cuVS is faster, and knows no scalar quantizer; FAISS checks that only where it cannot recover.
    lists = faiss.try_extract_index_ivf(index)
    coded = lists is not None and isinstance(faiss.downcast_index(lists), faiss.IndexIVFScalarQuantizer)
    options.use_cuvs = has_cuvs() and not coded
    options.shard = False
    try:
        return faiss.index_cpu_to_gpus_list(index, options, list(gpus))
    except RuntimeError as error:
        if len(gpus) < 2 or "out of memory" not in str(error):
            raise
    options.shard = True
    return faiss.index_cpu_to_gpus_list(index, options, list(gpus))


@contextmanager
def cluster_on_gpus(index: Any) -> Iterator[None]:
    """Let an index that has inverted lists find their centres on the GPUs, where there are any."""
    faiss = import_faiss()
    if not gpu_count() or not isinstance(index, faiss.IndexIVF):
        yield
        return
    centres = _on_gpus(faiss.IndexFlat(index.d, index.metric_type), range(gpu_count()))
    index.clustering_index = centres  # does not keep it alive: this frame does
    try:
        yield
    finally:
        index.clustering_index = None


def assigner(quantizer: Any) -> Callable[[np.ndarray], np.ndarray]:
    """What gives the inverted list of each vector [n, dim] → int64 [n]; on the GPUs where there are any."""
    on_gpus = gpu_count() and has_gpu_form(quantizer)
    nearest = _on_gpus(quantizer, range(gpu_count())) if on_gpus else quantizer
    return lambda vectors: nearest.search(vectors, 1)[1][:, 0]


def cagra_graph(rows: np.ndarray) -> Any:
    """An HNSW index of all rows, float32 [n, dim], whose graph cuVS builds on the first GPU.

    Raises:
        UnavailableError: the rows are too many for the GPU's memory, or too few for a graph.

    """
    faiss = import_faiss()
    config = faiss.GpuIndexCagraConfig()
    config.graph_degree, config.intermediate_graph_degree = _LINKS, 2 * _LINKS
    built = faiss.GpuIndexCagra(faiss.StandardGpuResources(), rows.shape[1], faiss.METRIC_INNER_PRODUCT, config)
    graph = faiss.IndexHNSWCagra()
    graph.base_level_only = False  # the upper layers are what makes the search start near its end
    try:
        built.train(np.ascontiguousarray(rows, np.float32))
        built.copyTo(graph)
    except RuntimeError as error:
        raise UnavailableError(
            f"The GPU cannot build the graph of {len(rows):,} vectors: {str(error).strip().splitlines()[-1]}",
            "Choose type hnsw, ivf or sq8; the embeddings are kept.",
        ) from None
    return graph
