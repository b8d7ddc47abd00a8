"""The layers that a sentence-transformers folder has behind its pooling."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from debater_search.encoder.loading.files import one_line, read_json, weight_files
from debater_search.errors import DamagedError, InvalidError

ACTIVATIONS = {"Tanh": nn.Tanh, "Identity": nn.Identity, "GELU": nn.GELU, "ReLU": nn.ReLU}
WEIGHTS = "model.safetensors"


class Normalize(nn.Module):
    """Unit length between the pooling and a dense layer."""

    def forward(self, pooled: Tensor) -> Tensor:
        """The same vectors [..., D] with length 1."""
        return normalize(pooled, dim=-1)


def load_head(layers: Sequence[tuple[str, Path]], *, weights: bool = True) -> tuple[nn.Module | None, list[Path]]:
    """The layers of `Declared.layers` as one module, and their files; without `weights` shapes only, and no files.

    Raises InvalidError for what would change the vectors and cannot be reproduced, DamagedError for damaged files.
    """
    if not layers:
        return None, []
    head = nn.Sequential(*(_dense(path, weights=weights) if kind == "Dense" else Normalize() for kind, path in layers))
    return head, [path / WEIGHTS for kind, path in layers if kind == "Dense" and weights]


def _dense(path: Path, *, weights: bool) -> nn.Module:
    config = read_json(path / "config.json")
    activation = str(config.get("activation_function", "Tanh")).rsplit(".", 1)[-1]
    if activation not in ACTIVATIONS:
        raise InvalidError(f"{path} uses the activation {activation!r}, which is not supported.", "")
    if config.get("use_residual"):
        raise InvalidError(f"{path} adds its input to its output (use_residual), which is not supported.", "")
    try:
        with torch.device("cpu" if weights else "meta"):
            layer = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    except (KeyError, TypeError, RuntimeError) as error:
        raise DamagedError(f"{path / 'config.json'} does not describe a dense layer ({one_line(error)}).", "") from None
    if weights:
        weight_files(path)
        try:
            stored = load_file(path / WEIGHTS)
            layer.load_state_dict({k.removeprefix("linear."): v.to(torch.float32) for k, v in stored.items()})
        except Exception as error:  # safetensors and torch raise many kinds
            raise DamagedError(
                f"The dense layer in {path} cannot be loaded ({one_line(error)}).", "Fetch the model again."
            ) from error
    return nn.Sequential(layer, ACTIVATIONS[activation]())
