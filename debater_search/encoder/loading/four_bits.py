"""Linear layers in 4 bits below an adapter that learns (QLoRA, arXiv 2305.14314), by bitsandbytes."""

from typing import Any

import torch

from debater_search.errors import InvalidError, UnavailableError
from debater_search.extras import require


def require_quantization(quantize: str | None, device: torch.device, *, merged: bool) -> None:
    """Raise InvalidError or UnavailableError if weights cannot be `quantize` on this device; None always can."""
    if quantize is None:
        return
    if quantize != "4bit":
        raise InvalidError(f"There is no quantization called {quantize!r}.", "Use 4bit.")
    if merged:
        raise InvalidError("An adapter is not merged into weights of 4 bits.", "Load the model with `merged=False`.")
    if device.type != "cuda":
        raise UnavailableError(
            f"Weights of 4 bits need an NVIDIA GPU, and the model is on {device.type}.", "Leave `quantize` out."
        )
    require("bitsandbytes", extra="quantize")


def in_four_bits(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Arguments of `from_pretrained`: NF4 with quantized scales, multiplied in `dtype`, put on the device at once."""
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": config, "device_map": {"": device}}
