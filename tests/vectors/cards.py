"""FAISS's GPU functions, played by others of the same names and signatures that stay on the CPU."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from debater_search.vectors.faiss.library import import_faiss
from tests.fakes import FakeEncoder

MB = 2**20
FULL = [
    RuntimeError("Error in alloc:\nStandardGpuResources: alloc fail (cudaMalloc error out of memory [2])"),
    RuntimeError("Error in faiss::gpu: CUDA memory allocation error"),
    RuntimeError("C++ exception std::bad_alloc: out_of_memory: CUDA error: cudaErrorMemoryAllocation"),
    MemoryError("std::bad_alloc"),
    MemoryError(),
]
"""What FAISS itself, cuVS and RMM say of a card that is full, and what FAISS's bindings make of an exception of C++."""


class Resources:
    """StandardGpuResources: what it reserves of a card for scratch."""

    made: list["Resources"] = []  # noqa: RUF012

    def __init__(self) -> None:
        self.scratch = 1536 * MB
        Resources.made.append(self)

    def setTempMemory(self, size: int) -> None:  # noqa: N802 (FAISS's name)
        self.scratch = size


class Cards:
    """Two GPUs that hold clones on the CPU; says which clones were asked for, and how much one takes."""

    def __init__(self) -> None:
        self.faiss, self.clones, self.room, self.cuvs = import_faiss(), [], 10**9, False
        self.searches: list[int] = []
        self.full: Exception = FULL[0]
        self.searches_until_full = 10**9

    def clone(self, resources: list[Resources], index: Any, co: Any = None, gpus: list[int] | None = None) -> Any:
        assert co is not None
        assert gpus is not None
        assert [type(each) for each in resources] == [Resources] * len(gpus)
        faiss, index = self.faiss, self.faiss.downcast_index(index)
        kind = type(index).__name__
        if isinstance(index, faiss.IndexIVFFastScan | faiss.IndexHNSW | faiss.IndexRefine):
            raise RuntimeError("This index type is not implemented on GPU.")
        if co.use_cuvs and "ScalarQuantizer" in kind:
            raise RuntimeError("this type of index is not implemented for cuVS")
        lists = faiss.try_extract_index_ivf(index)
        if lists is not None and lists.nprobe > 2048:
            raise RuntimeError(f"GPU index only supports nprobe <= 2048; passed {lists.nprobe}")
        if index.ntotal / (len(gpus) if co.shard else 1) > self.room:
            raise self.full
        self.clones.append({"type": kind, "shard": co.shard, "cuvs": co.use_cuvs, "gpus": gpus})
        return self.watched(faiss.clone_index(index))

    def watched(self, index: Any) -> Any:
        search = index.search

        def counted(queries: np.ndarray, k: int, **settings: Any) -> Any:
            self.searches.append(k)
            if len(self.searches) > self.searches_until_full:
                raise self.full
            return search(queries, k, **settings)

        index.search = counted
        return index


class Graph:
    """GpuIndexCagra: its graph is made by HNSW's own insertion."""

    def __init__(self, resources: object, dim: int, metric: int, config: Any) -> None:
        assert (config.graph_degree, config.intermediate_graph_degree) == (64, 128)
        self.dim, self.metric = dim, metric

    def train(self, rows: np.ndarray) -> None:
        if len(rows) > 2500:
            raise RuntimeError("Error in train:\nout of memory")
        self.rows = rows

    def copyTo(self, graph: Any) -> None:  # noqa: N802 (FAISS's name)
        faiss = import_faiss()
        assert not graph.base_level_only
        made = faiss.IndexHNSWCagra(self.dim, 32, self.metric)
        made.base_level_only = False
        made.add(self.rows)
        graph.__dict__.update(this=made.this)
        made.this.disown()


class Device(SimpleNamespace):
    """As torch.device: says itself how it is called."""

    def __str__(self) -> str:
        return str(self.name)


def on(device: str) -> FakeEncoder:
    encoder = FakeEncoder()
    encoder.device = Device(type=device.partition(":")[0], name=device)
    return encoder
