"""The encoder that is exported, and whether a new folder gives its vectors."""

import logging
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel

from debater_search.encoder.encoder import Encoder
from debater_search.encoder.loading.adapter import UNMERGEABLE
from debater_search.encoder.loading.files import INT8_FILE
from debater_search.encoder.loading.gguf import CONTENTS
from debater_search.encoder.speed.hardware import DTYPES
from debater_search.errors import InvalidError

log = logging.getLogger(__name__)

CLOSE = 0.9
"""Least mean cosine of vectors from weights of fewer bits to the model's own."""
TOLERANCE = 1e-5
"""Largest difference between two vectors that is taken for rounding."""
PROBES = (
    "how do wings stall at low speed?",
    "A wing stalls when the flow separates from its upper surface. The angle of attack is then too large.",
    "",
    "flutter",
    "The Ångström (10⁻¹⁰ m): it's ﬁne,\tИ 漢字 — 12,345.6 e-mail@x.org!",
    "boundary layer " * 400,
    "  leading and trailing blanks  ",
    "An experimental study of a wing in a propeller slipstream was made to determine how lift is distributed.",
)
"""Texts of many kinds and lengths."""


def load_source(model: Encoder | str | Path, base_model: str | Path | None) -> Encoder:
    """The encoder in float32 on the CPU, its adapter merged.

    Raises:
        InvalidError: it cannot be exported.
        DebaterError: it cannot be loaded.

    """
    if isinstance(model, Encoder):
        encoder = Encoder.load(**{**model.recipe, "attention": "auto"}, device="cpu", dtype="float32")
    else:
        encoder = Encoder.load(str(model), base_model=base_model, device="cpu", dtype="float32")
    backbone = encoder.model.backbone
    if encoder.model.head is not None:
        raise InvalidError(f"{encoder.name} has dense layers behind its pooling, which are not exported.", "")
    if any((path.parent / CONTENTS).is_file() for path in encoder.parts.weights):
        raise InvalidError(
            f"The weights below {encoder.name} come from a GGUF file of a few bits, which is not exported.",
            "Name the model's own weights as `base_model`.",
        )
    [settings] = getattr(backbone, "peft_config", {"": None}).values()
    if used := [name for name in UNMERGEABLE if getattr(settings, name, None)]:
        raise InvalidError(f"The adapter of {encoder.name} uses {used[0]} and cannot be merged.", "")
    if encoder.dim < encoder.full_dim:
        raise InvalidError(
            f"{encoder.name} keeps {encoder.dim} of {encoder.full_dim} numbers of each vector, which no format says.",
            "Export it without `dim`, and cut its vectors.",
        )
    return encoder


def require_one_pass(encoder: Encoder) -> None:
    """Raise InvalidError for a model that other programs cannot read in one pass over a text's tokens."""
    spec = encoder.spec
    why = None
    if spec.thinking_input != "token":
        why = "reads each thinking step after the one before it"
    elif spec.template.query_thinking:
        why = "thinks behind queries too"
    elif spec.bidirectional:
        why = "reads a decoder in both directions"
    if why is not None:
        raise InvalidError(f"{encoder.name} {why}, which this format cannot say.", "Export it with `format` hf.")


def merged(backbone: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The plain model with an adapter's updates in its weights, in `dtype`: what `save_pretrained` writes.

    Raises InvalidError for an adapter whose tensors have no place in the plain model.
    """
    base = backbone.get_base_model() if hasattr(backbone, "peft_config") else backbone
    with torch.device("meta"):
        plain = type(base)(base.config)
    if getattr(base, "pooler", None) is None and hasattr(plain, "pooler"):
        plain.pooler = None
    weights = {
        name: weight.to(dtype) if weight.is_floating_point() else weight for name, weight in _plain(base).items()
    }
    try:
        plain.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise InvalidError(f"The adapter cannot be merged: {error}", "") from None
    plain.config.dtype = dtype
    return plain


def stored_dtype(encoder: Encoder) -> torch.dtype:
    """The number type of most weights of the base model's files; float32 for those of 8 bits."""
    path = encoder.parts.weights[0]
    if path.name == INT8_FILE:
        return torch.float32
    with safe_open(path, "pt") as file:
        found = [str(file.get_tensor(name).dtype).removeprefix("torch.") for name in list(file.keys())[:50]]
    kinds = [kind for kind in found if kind in DTYPES]
    return DTYPES[max(kinds, key=kinds.count)] if kinds else torch.float32


def require_same_vectors(one: np.ndarray, other: np.ndarray, what: str) -> None:
    """Raise InvalidError if vectors differ by more than rounding."""
    if not (difference := float(np.abs(one - other).max())) <= TOLERANCE:  # also NaN
        raise InvalidError(f"{what} gives other vectors than the model (by {difference:.1e}); nothing was written.", "")


def require_close_vectors(one: np.ndarray, other: np.ndarray, what: str) -> None:
    """Raise InvalidError if vectors [n, dim] of fewer bits are not close to the model's own."""
    cosine = float((one * other).sum(1).mean())
    log.info("%s: mean cosine of its vectors to the model's: %.4f.", what, cosine)
    if not cosine >= CLOSE:  # also NaN
        raise InvalidError(
            f"The vectors of {what} have a mean cosine of only {cosine:.2f} to the model's own.",
            "Export it in float32, without `int8`; nothing was written.",
        )


def _plain(base: PreTrainedModel) -> dict[str, Tensor]:
    """Weights under the names that they have without an adapter."""
    found = {}
    for name, weight in base.state_dict().items():
        if any(part in name for part in ("lora_", "trainable_tokens_", "original_module.")):
            continue
        for wrapper in (".token_adapter", ".base_layer", ".modules_to_save.default"):
            name = name.replace(wrapper, "")
        found[name] = weight
    return found
