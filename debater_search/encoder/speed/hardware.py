"""What the hardware does fast: device and number type, chosen once at load time."""

import torch

from debater_search.encoder.arguments import FLOATS, require_arguments
from debater_search.errors import InvalidError, UnavailableError
from debater_search.identity import INT8

DTYPES = {name: getattr(torch, name) for name in FLOATS}
TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 65536, "mps": 16384}
"""Padded tokens per forward pass by default: on a CPU as many as its cache holds, on an accelerator as fill it."""
BATCHES_TO_TRY = {
    "cpu": (512, 1024, 2048, 4096),
    "cuda": (8192, 16384, 32768, 65536, 131072),
    "mps": (4096, 8192, 16384, 32768),
}
"""The sizes that a calibration tries."""


def choose_device(device: str = "auto") -> torch.device:
    """`auto`: the first CUDA card, else Apple's, else the CPU.

    Raises InvalidError for a name that is no device's, UnavailableError for a card that is not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    require_arguments(device=device)
    chosen = torch.device(device)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise UnavailableError(
            f"Device {device} is not available ({torch.cuda.device_count()} CUDA devices seen).", "Use device cpu."
        )
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """`auto`: bfloat16 where the hardware multiplies it fast (CUDA, compute capability ≥ 8), float32 elsewhere."""
    require_arguments(dtype=dtype)
    if dtype == INT8:
        if device.type != "cpu":
            raise InvalidError(f"8-bit integers are for encoding on a CPU, not on {device}.", "Use device cpu.")
        return torch.float32
    if dtype != "auto":
        return DTYPES[dtype]
    fast_bfloat16 = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8
    return torch.bfloat16 if fast_bfloat16 else torch.float32
