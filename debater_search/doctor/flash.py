"""FlashAttention: does the installed package load, and does it compute what plain attention computes?"""

from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from debater_search.doctor.finding import Asked, Facts, Finding, note, ok, problem

_AGAIN = "pip uninstall -y flash-attn && pip install --no-build-isolation flash-attn"
_TOLERANCE = 0.02


def gather(_: Asked) -> Iterator[Facts]:
    """The version, and the relative error of a small attention on the first card."""
    try:
        installed = version("flash-attn")
    except PackageNotFoundError:
        yield {"installed": None}
        return
    yield {"installed": installed}
    import torch
    from transformers.utils import is_flash_attn_2_available

    capability = list(torch.cuda.get_device_capability()) if torch.cuda.is_available() else None
    yield {"usable": bool(is_flash_attn_2_available()), "capability": capability}
    from flash_attn import flash_attn_func

    yield {"loads": True}
    if capability and capability >= [8, 0]:
        yield {"error": _error(flash_attn_func)}


def judge(facts: Facts, _: Asked) -> Iterator[Finding]:
    """A package that does not load, cannot be used, or computes wrongly."""
    installed = facts.get("installed")
    if "installed" not in facts:
        return
    if installed is None:
        yield ok("flash-attn", "not installed: PyTorch's own attention is used")
    elif not facts.get("loads"):
        return  # the failure of the check says it
    elif facts["capability"] is None:
        yield note("flash-attn", f"{installed} has no effect without an NVIDIA GPU.")
    elif facts["capability"] < [8, 0]:
        yield note("flash-attn", f"{installed} needs compute capability 8.0, which this GPU does not have.")
    elif not facts["usable"]:
        yield note("flash-attn", f"transformers does not use version {installed}.", "pip install 'flash-attn>=2.7,<3'")
    elif "error" in facts and not facts["error"] <= _TOLERANCE:
        yield problem("flash-attn", f"{installed} computes attention that is wrong by {facts['error']:.0%}.", _AGAIN)
    elif "error" in facts:
        yield ok("flash-attn", f"{installed}, relative error {facts['error']:.1e}")


def _error(attention: Callable[..., Any]) -> float:
    import torch

    states = torch.randn(3, 2, 32, 4, 64, generator=torch.Generator().manual_seed(0))  # texts, tokens, heads, numbers
    queries, keys, values = states.cuda().bfloat16()
    found = attention(queries, keys, values, causal=True).float()
    queries, keys, values = states.cuda().bfloat16().float().transpose(2, 3)
    plain = torch.nn.functional.scaled_dot_product_attention(queries, keys, values, is_causal=True).transpose(1, 2)
    return float((found - plain).norm() / plain.norm())
