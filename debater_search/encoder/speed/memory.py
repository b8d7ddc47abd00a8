"""What the C library does with freed memory; settings of the whole process."""

import ctypes
import sys
from functools import cache

from debater_search.encoder.speed.tricks import is_on


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
    if is_on("memory") and not _malloc() and sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        for name, size in thresholds.items():
            libc.mallopt(name, size)
        _malloc().update(thresholds)
