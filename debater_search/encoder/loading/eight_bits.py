"""Weights of 8 bits on disk: a quarter of float32's size, and float32 again once they are loaded.

A matrix is stored as integers of -127 to 127 with a scale for each output channel (row); biases and norms stay as they
are. The file has a name of its own, so that no other program takes the integers for weights.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

INT8_FILE = "model-int8.safetensors"
SCALE = ".scale"
LEVELS = 127


def write_int8(backbone: PreTrainedModel, path: Path) -> None:
    """Write the weights of a float32 model; adapters must be merged into them, and are not written."""
    stored: dict[str, Tensor] = {}
    base = backbone.get_base_model() if hasattr(backbone, "peft_config") else backbone
    for name, weight in base.state_dict().items():
        if "lora_" in name or "trainable_tokens" in name:
            continue
        plain = name.replace(".token_adapter", "").replace(".base_layer", "")  # as they are called without an adapter
        if weight.ndim == 2:
            stored[plain], stored[plain + SCALE] = quantised(weight)
        else:
            stored[plain] = weight.contiguous()
    save_file(stored, path, {"format": "debater-int8"})


def read_int8(path: Path) -> dict[str, Tensor]:
    """The weights in float32. Raises safetensors' and torch's errors for a file that is damaged."""
    stored = load_file(path)
    return {
        name: weight * stored[name + SCALE][:, None] if weight.dtype == torch.int8 else weight
        for name, weight in stored.items()
        if not name.endswith(SCALE)
    }


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix [outputs, inputs] as int8 of the same shape, and the scale [outputs] that they are multiplied by."""
    scale = weight.abs().amax(1) / LEVELS
    scale = torch.where(scale > 0, scale, 1.0)
    return (weight / scale[:, None]).round().to(torch.int8), scale
