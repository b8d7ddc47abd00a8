"""The last layer, computed only where it is read: queries and feed-forward at the pooled positions, keys at all.

Nothing of a model's own code is repeated here. The layer is entered twice: once over all tokens as far as its keys and
values, once over the pooled tokens alone, which meet those keys and values as if they were a cache.
"""

import inspect
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from debater_search.encoder.families import is_causal
from debater_search.encoder.speed.tricks import is_on

POOLED_AT = "pooled_at"
"""Keyword argument of a pruned backbone: which positions of each row its last layer computes, int64 [B, M]."""

LAYERS = {
    **dict.fromkeys(
        ("gemma", "gemma2", "gemma3_text", "granite", "llama", "minicpm3", "mistral", "olmo2", "phi3", "qwen2", "qwen3",
         "smollm3"),
        "layers",
    ),
    **dict.fromkeys(("bert", "camembert", "electra", "roberta", "xlm-roberta"), "encoder.layer"),
}  # fmt: skip
"""Where the layers of a family stand. What is asked of a family: its attention hands keys and values, as they are after
the positions were put in, to `past_key_values.update`. Each is in the tests; all others compute the whole layer."""

ATTENTIONS = ("sdpa", "eager")
"""Kernels that take any mask; FlashAttention's own causal mask counts from the row's end, where the padding is."""


def prune_last_layer(backbone: PreTrainedModel) -> bool:
    """Teach a model (or the PEFT model around one) the argument `pooled_at`; False if its family is not in `LAYERS`."""
    body = backbone.get_base_model() if hasattr(backbone, "peft_config") else backbone
    if (
        not is_on("pruning")
        or body.config.model_type not in LAYERS
        or body.config._attn_implementation not in ATTENTIONS
    ):
        return False
    last = body.get_submodule(LAYERS[body.config.model_type])[-1]
    if "hidden_states" not in inspect.signature(last.forward).parameters:  # an adapter that saves it whole wraps it
        return False
    last.register_forward_pre_hook(partial(_enter_twice, is_causal(body.config)), with_kwargs=True)
    return True


class _KeysAndValues:
    """Stands where a layer expects its cache: takes keys and values of all tokens, then gives them to the pooled."""

    class Taken(Exception):  # noqa: N818 (no error: a way out)
        """Ends the first entry: what follows the keys and values is not needed of all tokens."""

    def __init__(self) -> None:
        self._kept: tuple[Tensor, Tensor] | None = None

    def update(self, keys: Tensor, values: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        if self._kept is None:
            self._kept = keys, values
            raise self.Taken
        return self._kept


def _enter_twice(
    causal: bool, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Forward pre-hook of the last layer: its arguments, cut down to the positions in `pooled_at`."""
    if POOLED_AT not in kwargs:
        return args, kwargs
    at = kwargs.pop(POOLED_AT)
    bound = inspect.signature(layer.forward).bind(*args, **kwargs).arguments
    whole = {**bound, **bound.pop("kwargs", {})}
    whole["past_key_values"] = _KeysAndValues()
    try:
        layer.forward(**whole)
    except _KeysAndValues.Taken:
        pass
    else:
        raise RuntimeError(f"{type(layer).__name__} gave its keys and values to no cache: it does not belong in LAYERS")
    length = whole["hidden_states"].shape[1]
    whole["hidden_states"] = rows(whole["hidden_states"], at)
    whole["attention_mask"] = _mask_rows(whole.get("attention_mask"), at, length, causal)
    if whole.get("position_embeddings") is not None:  # rotary: cosines and sines [1 or B, L, size of a head]
        whole["position_embeddings"] = tuple(rows(part, at) for part in whole["position_embeddings"])
    return (), whole


def rows(states: Tensor, at: Tensor) -> Tensor:
    """The states [B or 1, L, D] at the positions `at` [B, M] of each row: [B, M, D]."""
    states = states.expand(at.shape[0], -1, -1)  # no `len`, which would fix the number of texts in a graph
    return states.gather(1, at[..., None].expand(-1, -1, states.shape[-1]))


def _mask_rows(mask: Tensor | None, at: Tensor, length: int, causal: bool) -> Tensor | None:
    """What the tokens at `at` see: rows of the mask [B or 1, 1, L, L]; [B, 1, M, L], None where they see all."""
    if mask is not None:
        return rows(mask[:, 0], at)[:, None]
    if not causal:
        return None
    return (torch.arange(length, device=at.device) <= at[..., None])[:, None]
