"""PyTorch: does its build fit the driver and each card, and does it compute there? Which OpenMP runtimes are loaded?"""

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from debater_search.doctor.finding import Asked, Facts, Finding, note, ok, problem
from debater_search.terminal import size_in_words

_CHOOSE = "Install the build for your driver: https://pytorch.org/get-started/locally shows the command."
_RUNTIME = re.compile(r"/lib(gomp|iomp5|omp)\b[^/]*$")
_TOLERANCE = 0.02
"""Relative error of a product of 256 × 256 random matrices in half precision."""


def gather(_: Asked) -> Iterator[Facts]:
    """The build, the driver, every card, and the OpenMP runtimes once FAISS is loaded as well."""
    yield {"driver": nvidia_driver()}
    import torch

    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1", "NoDevFiles")
    yield {"version": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip, "hidden": hidden}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    yield {"available": available, "said": [str(warning.message).split("\n")[0] for warning in said]}
    yield {"mps": torch.backends.mps.is_available(), "simd": torch.backends.cpu.get_cpu_capability()}
    cards: list[Facts] = []
    for number in range(torch.cuda.device_count() if available else 0):
        cards.append(_card(torch, number))
        yield {"cards": cards}
        cards[-1]["error"] = _product_error(torch, number)
        yield {"cards": cards}
    try:
        import faiss  # noqa: F401
    except ImportError:
        return
    yield {"runtimes": _runtimes()}


def judge(facts: Facts, _: Asked) -> Iterator[Finding]:
    """A build that does not fit the driver; cards without kernels, or that compute wrongly; OpenMP twice."""
    if "available" in facts:
        yield _judge_build(facts)
    for number, card in enumerate(facts.get("cards", [])):
        yield _judge_card(number, card)
    if "runtimes" in facts:
        yield from _judge_runtimes(facts["runtimes"])


def _judge_build(facts: Facts) -> Finding:
    kind = f"CUDA {facts['cuda']}" if facts["cuda"] else f"ROCm {facts['hip']}" if facts["hip"] else "CPU"
    build = f"PyTorch {facts['version'].partition('+')[0]} for {kind}"
    if facts["available"]:
        count = len(facts.get("cards", []))
        return ok("torch", f"{build}, {count} GPU{'' if count == 1 else 's'}")
    if facts["mps"]:
        return ok("torch", f"{build}, Apple GPU")
    if not facts["driver"]:
        return ok("torch", f"{build}, no GPU; {facts['simd']}")
    if kind == "CPU":
        return problem("torch", "This machine has an NVIDIA driver, and this PyTorch is a build for CPUs.", _CHOOSE)
    if facts["hidden"]:
        return note("torch", "CUDA_VISIBLE_DEVICES hides the GPUs.", "unset CUDA_VISIBLE_DEVICES")
    why = f" ({facts['said'][0]})" if facts["said"] else ""
    message = f"{build} finds no GPU with the NVIDIA driver {facts['driver']}{why}."
    return problem("torch", message, f"Update the driver, or: {_CHOOSE}")


def _judge_card(number: int, card: Facts) -> Finding:
    subject, (major, minor) = f"cuda:{number}", card["capability"]
    name = f"{card['name']}, compute capability {major}.{minor}, {size_in_words(card['memory'])}"
    if not has_kernels((major, minor), card["kernels"]):
        return problem(subject, f"{name}: this PyTorch has no kernels for it ({', '.join(card['kernels'])}).", _CHOOSE)
    if "error" in card and not card["error"] <= _TOLERANCE:
        message = f"{name}: a product of matrices is wrong by {card['error']:.0%}."
        return problem(subject, message, "nvidia-smi -q -d ECC,PAGE_RETIREMENT")
    if major < 8:
        return note(subject, f"{name}: no fast bfloat16 and no FlashAttention 2; models run in float32.")
    if card["free"] < card["memory"] // 2:
        return note(subject, f"{name}: other programs hold more than half of its memory.", "nvidia-smi")
    return ok(subject, f"{name}, bfloat16")


def _judge_runtimes(runtimes: list[str]) -> Iterator[Finding]:
    if len(runtimes) > 1:
        yield note(
            "openmp",
            f"Two OpenMP runtimes are loaded ({', '.join(runtimes)}): each starts its own threads, and on some systems "
            "they abort.",
            "Install PyTorch and FAISS from one source: both by pip, or both by conda.",
        )
    elif runtimes:
        yield ok("openmp", runtimes[0])


def has_kernels(capability: tuple[int, int], kernels: list[str]) -> bool:
    """Whether code for one of `kernels` (sm_80, sm_90a, compute_90) runs on a card of this compute capability.

    Compiled code runs on later cards of the same major number, code of an architecture with a letter only on that
    one, and intermediate code (`compute_`) on all later cards.
    """
    major, minor = capability
    for kernel in kernels:
        if found := re.fullmatch(r"(sm|compute)_(\d+)(\d)([a-z]?)", kernel):
            kind, letter = found[1], found[4]
            has = int(found[2]), int(found[3])
            later = has <= (major, minor) if kind == "compute" else has[0] == major and has[1] <= minor
            if has == (major, minor) or (later and not letter):
                return True
    return False


def nvidia_driver() -> str | None:
    """The version of the NVIDIA driver; None if there is no driver."""
    path = Path("/proc/driver/nvidia/version")
    if path.exists() and (found := re.search(r"\b(\d+\.\d+(\.\d+)?)\b", path.read_text(errors="replace"))):
        return found[1]
    return "of unknown version" if path.exists() or Path("/dev/nvidiactl").exists() else None


def _card(torch: Any, number: int) -> Facts:
    properties = torch.cuda.get_device_properties(number)
    free, total = torch.cuda.mem_get_info(number)
    return {
        "name": properties.name,
        "capability": [properties.major, properties.minor],
        "kernels": torch.cuda.get_arch_list(),
        "memory": total,
        "free": free,
    }


def _product_error(torch: Any, number: int) -> float:
    """The relative error of a product in the number type that models have there."""
    major, _ = torch.cuda.get_device_capability(number)
    left, right = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(0))
    dtype = torch.bfloat16 if major >= 8 else torch.float32
    device = f"cuda:{number}"
    found = (left.to(device, dtype) @ right.to(device, dtype)).float().cpu()
    true = left @ right
    return float((found - true).norm() / true.norm())


def _runtimes() -> list[str]:
    """The kinds of OpenMP runtimes in this process. Two copies of one kind, as wheels bring them, get along."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text(errors="replace").splitlines() if maps.exists() else []
    return sorted({f"lib{found[1]}" for line in lines if (found := _RUNTIME.search(line))})
