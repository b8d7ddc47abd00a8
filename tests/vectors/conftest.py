"""GPUs that are played."""

from types import SimpleNamespace
from weakref import WeakValueDictionary

import pytest

from debater_search.vectors.faiss import gpu
from debater_search.vectors.faiss.library import import_faiss
from tests.vectors.cards import Cards, Graph, Resources


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Cards:
    found, faiss = Cards(), import_faiss()
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr(faiss, "get_compile_options", lambda: "GPU NVIDIA_CUVS " if found.cuvs else "GPU ")
    monkeypatch.setattr(gpu, "_cards", {})
    monkeypatch.setattr(gpu, "_copies", WeakValueDictionary())
    monkeypatch.setattr(Resources, "made", [])
    played = {
        "index_cpu_to_gpu_multiple_py": found.clone,
        "GpuMultipleClonerOptions": SimpleNamespace,
        "GpuParameterSpace": faiss.ParameterSpace,
        "GpuIndexCagra": Graph,
        "GpuIndexCagraConfig": SimpleNamespace,
        "StandardGpuResources": Resources,
    }
    for name, play in played.items():
        monkeypatch.setattr(faiss, name, play, raising=False)
    return found
