"""Weights of 8 bits on disk: a quarter of float32's size, and float32 again once they are loaded.

The weights of linear layers and the table of words are stored as integers of -127 to 127 with a scale for each output
channel (row). All else stays as it is: biases, norms, and the small tables of positions and kinds, whose error would be
added to every token. The file has a name of its own, so that no other program takes the integers for weights.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from debater_search.encoder.loading.files import INT8_SCALE

LEVELS = 127


def write_int8(backbone: PreTrainedModel, path: Path) -> None:
    """Write the weights of a float32 model; adapters must be merged into them, and are not written."""
    stored: dict[str, Tensor] = {}
    base = backbone.get_base_model() if hasattr(backbone, "peft_config") else backbone
    large = large_matrices(base)
    for name, weight in base.state_dict().items():
        if "lora_" in name or "trainable_tokens" in name:
            continue
        plain = name.replace(".token_adapter", "").replace(".base_layer", "")  # as they are called without an adapter
        if name in large:
            stored[plain], stored[plain + INT8_SCALE] = quantised(weight)
        else:
            stored[plain] = weight.contiguous()
    save_file(stored, path, {"format": "debater-int8"})


def large_matrices(model: nn.Module) -> set[str]:
    """Names of the weights of linear layers, and of the embedding table with most rows."""
    tables = {name: module for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    words = max(tables, key=lambda name: tables[name].num_embeddings)
    linear = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    return {f"{name}.weight" for name in {words, *linear}}


def read_int8(path: Path) -> dict[str, Tensor]:
    """The weights in float32. Raises safetensors' and torch's errors for a file that is damaged."""
    stored = load_file(path)
    return {
        name: weight * stored[name + INT8_SCALE][:, None] if weight.dtype == torch.int8 else weight
        for name, weight in stored.items()
        if not name.endswith(INT8_SCALE)
    }


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix [outputs, inputs] as int8 of the same shape, and the scale [outputs] that they are multiplied by."""
    scale = weight.abs().amax(1) / LEVELS
    scale = torch.where(scale > 0, scale, 1.0)
    return (weight / scale[:, None]).round().to(torch.int8), scale
