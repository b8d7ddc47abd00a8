"""FAISS on GPUs, where its GPU build is installed: one, or several that share or repeat an index.

Building uses them for what takes the time, clustering and the choice of lists; the index itself stays in CPU form, so
that it is saved as it is, opens anywhere, and need not fit a card.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from debater_search.vectors.library import gpu_count, import_faiss


def on_gpus(index: Any, *, shard: bool = True) -> Any:
    """A FAISS index cloned to every GPU: a part on each (`shard`) or the whole on each. cuVS is used where built in."""
    faiss = import_faiss()
    options = faiss.GpuMultipleClonerOptions()
    options.shard = shard
    if "CUVS" in faiss.get_compile_options():
        options.use_cuvs = True
    return faiss.index_cpu_to_all_gpus(index, co=options)


@contextmanager
def cluster_on_gpus(index: Any) -> Iterator[None]:
    """Let an index that has inverted lists find their centres on the GPUs, where there are any."""
    faiss = import_faiss()
    if not gpu_count() or not isinstance(index, faiss.IndexIVF):
        yield
        return
    centres = on_gpus(faiss.IndexFlat(index.d, index.metric_type))
    index.clustering_index = centres  # does not keep it alive: this frame does
    yield
    index.clustering_index = None


def assigner(quantizer: Any) -> Callable[[np.ndarray], np.ndarray]:
    """What gives the inverted list of each vector [n, dim] → int64 [n]; on the GPUs where there are any."""
    nearest = on_gpus(quantizer, shard=False) if gpu_count() else quantizer
    return lambda vectors: nearest.search(vectors, 1)[1][:, 0]
