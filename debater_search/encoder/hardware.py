"""What the hardware does fast: device, number type and attention kernel, chosen once at load time."""

import ctypes
import sys
from functools import cache
from importlib.util import find_spec

import torch

from debater_search.errors import DebaterError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
INT8 = "int8"
"""Linear layers in 8-bit integers on a CPU; weights, and all else, in float32."""
ATTENTIONS = ("auto", "sdpa", "eager", "flash_attention_2")
TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 65536, "mps": 16384}
"""Padded tokens per forward pass: on a CPU what fits the cache, on an accelerator what fills it."""
BATCHES_TO_TRY = {
    "cpu": (512, 1024, 2048, 4096),
    "cuda": (8192, 16384, 32768, 65536, 131072),
    "mps": (4096, 8192, 16384, 32768),
}
"""What a calibration tries instead."""


def choose_device(device: str = "auto") -> torch.device:
    """`auto`: the first CUDA card, else Apple's, else the CPU. Raises DebaterError for a device that is not there."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise DebaterError(f"There is no device called {device!r}.", "Use auto, cpu, cuda, cuda:N or mps.") from None
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise DebaterError(
            f"Device {device} is not available ({torch.cuda.device_count()} CUDA devices seen).", "Use --device cpu."
        )
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """`auto`: bfloat16 where the hardware multiplies it fast (CUDA, compute capability ≥ 8), float32 elsewhere."""
    if dtype == INT8:
        if device.type != "cpu":
            raise DebaterError(f"8-bit integers are for encoding on a CPU, not on {device}.", "Use --device cpu.")
        return torch.float32
    if dtype != "auto":
        if dtype not in DTYPES:
            known = ", ".join([*DTYPES, INT8])
            raise DebaterError(f"There is no dtype called {dtype!r}.", f"Use auto or one of {known}.")
        return DTYPES[dtype]
    fast_bfloat16 = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8
    return torch.bfloat16 if fast_bfloat16 else torch.float32


def choose_attention(attention: str, device: torch.device, dtype: torch.dtype) -> str | None:
    """`auto`: FlashAttention 2 on CUDA in half precision where it is installed, else None.

    None leaves the choice to transformers: PyTorch's SDPA where the model's class can, else eager (MPNet, Gemma 2).
    """
    if attention not in ATTENTIONS:
        raise DebaterError(f"There is no attention called {attention!r}.", f"Use one of {', '.join(ATTENTIONS)}.")
    if attention != "auto":
        return attention
    flash = device.type == "cuda" and dtype != torch.float32 and find_spec("flash_attn") is not None
    return "flash_attention_2" if flash else None


def return_freed_memory() -> None:
    """Let large tensors on a CPU go back to the system when they are freed, where the C library is glibc: for training.

    By default it keeps ever larger blocks for itself, and tensors of many sizes leave holes between them: training
    MiniLM in chunks held two thirds more memory than it used (benchmarks/memory.py).
    """
    _set_malloc({MMAP_THRESHOLD: 4 << 20})


def keep_freed_memory() -> None:
    """Let freed tensors be used again as they are, where the C library is glibc: for encoding many texts.

    By default large ones go back to the system, which clears their pages before the next layer gets them again: a
    tenth of the time of MiniLM, a quarter with 8-bit integers (benchmarks/encode.md).
    """
    _set_malloc({MMAP_THRESHOLD: 256 << 20, TRIM_THRESHOLD: 256 << 20})


MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""glibc's M_MMAP_THRESHOLD and M_TRIM_THRESHOLD (malloc.h), in bytes; once set, they no longer change by themselves."""


@cache
def _malloc() -> dict[int, int]:
    """What was set in this process: the first to ask decides, so that encoding changes nothing of a training run."""
    return {}


def _set_malloc(thresholds: dict[int, int]) -> None:
    if not _malloc() and sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        for name, size in thresholds.items():
            libc.mallopt(name, size)
        _malloc().update(thresholds)
