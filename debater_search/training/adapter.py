"""Which weights are trained: low-rank updates of every projection, and the thinking tokens' embeddings."""

import logging
import re
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from debater_search.encoder import Encoder
from debater_search.training.settings import Lora

log = logging.getLogger(__name__)


def make_trainable(encoder: Encoder, lora: Lora | None, *, gradient_checkpointing: bool) -> None:
    """Prepare an encoder for training, in place: LoRA (an adapter it has already is trained on), or all weights."""
    backbone = encoder.model.backbone
    if hasattr(backbone, "peft_config"):
        [own] = map(_settings_of, backbone.peft_config.values())
        if lora is None:
            log.warning(
                "This checkpoint is an adapter: it is trained on, not the full weights that lora: null asks for."
            )
        elif other := [f"{name} {value}" for name, value in own.items() if dict(lora)[name] != value]:
            log.warning(
                "This checkpoint is an adapter, which is trained on as it is: with %s, not what lora asks for.",
                ", ".join(other),
            )
        backbone.unmerge_adapter()
        for name, parameter in backbone.named_parameters():
            parameter.requires_grad_("lora_" in name or ("trainable_tokens" in name and not own["last_layers"]))
    elif lora is None:
        backbone.requires_grad_(True)
    else:
        encoder.model.backbone = backbone = _with_lora(encoder, backbone, lora)
        if lora.last_layers:  # saved with the adapter, but learning them would take gradients through all layers
            for name, parameter in backbone.named_parameters():
                if "trainable_tokens" in name:
                    parameter.requires_grad_(False)
    if gradient_checkpointing:
        backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        backbone.enable_input_require_grads()
    encoder.in_training = True


def _settings_of(adapter: Any) -> dict[str, Any]:
    """A loaded adapter's own settings, as a config names them."""
    layers = adapter.layers_to_transform
    last_layers = len(layers) if isinstance(layers, list) else layers and 1
    return {"r": adapter.r, "alpha": adapter.lora_alpha, "dropout": adapter.lora_dropout, "last_layers": last_layers}


def projections(backbone: PreTrainedModel) -> list[str]:
    """Names of every linear layer inside the transformer blocks, as suffixes that hold for all blocks."""
    inside = re.compile(r"\.\d+\.(.+)$")
    linear = (name for name, module in backbone.named_modules() if isinstance(module, nn.Linear))
    return sorted({match.group(1) for name in linear if (match := inside.search(name))})


def _with_lora(encoder: Encoder, backbone: PreTrainedModel, lora: Lora) -> PreTrainedModel:
    from peft import LoraConfig, get_peft_model

    # Tokens that the base model was never trained on learn their embeddings; MiniCPM's reserved ones stay as they are.
    tokens = [encoder.tokenizer.token_to_id(token) for token in encoder.spec.template.thinking_tokens]
    settings = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias="none",
        target_modules=projections(backbone),
        trainable_token_indices=tokens if encoder.spec.start else None,
    )
    if lora.last_layers:
        layers = backbone.config.num_hidden_layers
        settings.layers_to_transform = list(range(max(0, layers - lora.last_layers), layers))
    return get_peft_model(backbone, settings)
