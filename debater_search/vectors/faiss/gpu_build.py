"""What GPUs do for building, where FAISS's GPU build is installed: clustering, the choice of lists and CAGRA's graph.

The index itself stays in CPU form, so that it is saved as it is, opens anywhere, and need not fit a card.
"""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from debater_search.errors import UnavailableError
from debater_search.vectors.faiss.gpu import bounded_resources, has_gpu_form, memory_is_full, on_gpus, reason_of
from debater_search.vectors.faiss.library import gpu_count, import_faiss

logger = logging.getLogger(__name__)

_LINKS = 64  # of a vector in CAGRA's graph; what HNSW32 has in its lowest layer


def train(index: Any, lists: Any, sample: np.ndarray) -> None:
    """Train an index, whose `lists` find their centres on the GPUs where there are any that have room for it.

    Raises RuntimeError as FAISS does.
    """
    faiss = import_faiss()
    if gpu_count() and isinstance(lists, faiss.IndexIVF):
        gpus = range(gpu_count())
        try:
            centres = on_gpus(faiss.IndexFlat(lists.d, lists.metric_type), gpus)
            lists.clustering_index = centres  # does not keep it alive: this frame does
            index.train(sample)
        except (RuntimeError, MemoryError) as error:
            if not memory_is_full(error):
                raise
            logger.warning("The memory of the GPU is full: lists are made on the CPU.")
        else:
            return
        finally:
            lists.clustering_index = None
    index.train(sample)


def assigner(quantizer: Any) -> Callable[[np.ndarray], np.ndarray]:
    """What gives the inverted list of each vector [n, dim] → int64 [n]; on the GPUs where there are any with room."""
    nearest = quantizer

    def assign(vectors: np.ndarray) -> np.ndarray:
        nonlocal nearest
        try:
            found = nearest.search(vectors, 1)
        except (RuntimeError, MemoryError) as error:
            if nearest is quantizer or not memory_is_full(error):
                raise
            logger.warning("The memory of the GPU is full: lists are chosen on the CPU.")
            nearest = quantizer
            found = nearest.search(vectors, 1)
        return np.asarray(found[1][:, 0])

    if gpu_count() and has_gpu_form(quantizer):
        try:
            nearest = on_gpus(quantizer, range(gpu_count()))
        except (RuntimeError, MemoryError) as error:
            if not memory_is_full(error):
                raise
            logger.warning("The memory of the GPU is full: lists are chosen on the CPU.")
    return assign


def cagra_graph(rows: np.ndarray) -> Any:
    """An HNSW index of all rows, float32 [n, dim], whose graph cuVS builds on the first GPU.

    Raises:
        UnavailableError: the rows are too many for the GPU's memory, or too few for a graph.

    """
    faiss = import_faiss()
    config = faiss.GpuIndexCagraConfig()
    config.graph_degree, config.intermediate_graph_degree = _LINKS, 2 * _LINKS
    built = faiss.GpuIndexCagra(bounded_resources(), rows.shape[1], faiss.METRIC_INNER_PRODUCT, config)
    graph = faiss.IndexHNSWCagra()
    graph.base_level_only = False  # the upper layers are what makes the search start near its end
    try:
        built.train(np.ascontiguousarray(rows, np.float32))
        built.copyTo(graph)
    except (RuntimeError, MemoryError) as error:
        raise UnavailableError(
            f"The GPU cannot build the graph of {len(rows):,} vectors: {reason_of(error)}",
            "Choose type hnsw, ivf or sq8; the embeddings are kept.",
        ) from None
    return graph
