"""FAISS: one wheel only, loaded at the level of instructions that the CPU has, and right on each GPU."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from debater_search.doctor.finding import Asked, Facts, Finding, note, ok, problem
from debater_search.doctor.pytorch import nvidia_driver
from debater_search.doctor.versions import version_of

_LEVELS = ("no vector instructions", "AVX2", "AVX512")
"""Of x86-64; elsewhere one library fits all."""
_GPU_WHEEL = "pip uninstall -y faiss-cpu && pip install faiss-gpu"


def gather(_: Asked) -> Iterator[Facts]:
    """The wheels, the instructions of the CPU and of the library, and whether its GPUs find what the CPU finds."""
    from debater_search.vectors.faiss.library import gpu_count, import_faiss, installed_wheels

    yield {
        "wheels": installed_wheels(),
        "milvus_lite": version_of("milvus-lite") is not None,
        "driver": nvidia_driver(),
    }
    faiss = import_faiss()
    yield {
        "version": faiss.__version__,
        "level": _level(faiss),
        "cpu": _cpu_level(),
        "limited": "FAISS_OPT_LEVEL" in os.environ,
    }
    yield {"gpus": gpu_count()}
    if gpu_count():
        yield {"wrong": [number for number in range(gpu_count()) if not _agrees(faiss, number)]}


def judge(facts: Facts, _: Asked) -> Iterator[Finding]:
    """Wheels that overwrite each other, instructions that are not used, GPUs that are not used or find wrong."""
    wheels = facts.get("wheels", [])
    if facts.get("milvus_lite") and any("gpu" in wheel for wheel in wheels):
        yield note(
            "faiss",
            "milvus-lite asks for faiss-cpu, which would overwrite the files of the wheel for GPUs.",
            "pip uninstall milvus-lite",
        )
    if "gpus" not in facts:
        return
    what = f"FAISS {facts['version']}"
    if facts.get("wrong"):
        yield problem(
            "faiss",
            f"{what} finds other vectors on GPU {', '.join(map(str, facts['wrong']))} than on the CPU.",
            f"pip install --force-reinstall --no-deps {wheels[0] if wheels else 'faiss-gpu'}",
        )
    elif facts["cpu"] > facts["level"]:
        yield note(
            "faiss",
            f"{what} computes with {_LEVELS[facts['level']]}, and the CPU has {_LEVELS[facts['cpu']]}: searches are "
            "slower than they need be.",
            "unset FAISS_OPT_LEVEL"
            if facts["limited"]
            else f"pip install --upgrade --force-reinstall --no-deps {wheels[0] if wheels else 'faiss-cpu'}",
        )
    elif facts["driver"] is not None and not facts["gpus"]:
        yield note("faiss", f"{what} searches on the CPU, and this machine has an NVIDIA driver.", _GPU_WHEEL)
    else:
        gpus = f", {facts['gpus']} GPUs" if facts["gpus"] else ""
        yield ok("faiss", f"{what}, {_LEVELS[facts['level']]}{gpus}")


def _level(faiss: Any) -> int:
    """The instructions that the library computes with, as a position of _LEVELS."""
    if hasattr(faiss, "SIMDConfig"):  # 1.15: chosen when it is loaded
        return _position(str(faiss.SIMDConfig.get_level_name()))
    modules = " ".join(name.upper() for name in sys.modules if "swigfaiss_" in name)  # before: one library for each
    return _position(modules)


def _cpu_level() -> int:
    flags = ""
    with suppress(OSError):
        found = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(errors="replace"), re.MULTILINE)
        flags = found[1].upper() if found else ""
    return _position(flags if {"AVX512CD", "AVX512VL", "AVX512DQ", "AVX512BW"} <= set(flags.split()) else
                     " ".join(flag for flag in flags.split() if "AVX512" not in flag))  # fmt: skip


def _position(text: str) -> int:
    return max(number for number, level in enumerate(_LEVELS) if number == 0 or level in text)


def _agrees(faiss: Any, gpu: int) -> bool:
    """Whether a GPU finds the neighbours that the CPU finds."""
    import numpy as np

    vectors = np.random.default_rng(0).standard_normal((256, 64)).astype(np.float32)
    index = faiss.IndexFlatIP(64)
    index.add(vectors)
    copy = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), gpu, index)
    return bool((copy.search(vectors[:16], 1)[1] == index.search(vectors[:16], 1)[1]).all())
