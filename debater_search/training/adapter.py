"""Which weights are trained: low-rank updates of every projection, and the thinking tokens' embeddings."""

import logging
import re

from torch import nn
from transformers import PreTrainedModel

from debater_search.encoder.loading.adapter import is_merged
from debater_search.errors import InvalidError
from debater_search.training.settings import Lora
from debater_search.training.student import Student

log = logging.getLogger(__name__)


def make_trainable(student: Student, lora: Lora | None, *, gradient_checkpointing: bool) -> None:
    """Prepare a model for training, in place: LoRA (an adapter that it has already is trained on), or all weights."""
    backbone = student.model.backbone
    if hasattr(backbone, "peft_config"):
        if is_merged(backbone):
            raise InvalidError(
                f"The adapter of {student.name} is merged into its base model.", "Load the model with `merged=False`."
            )
        _tell_what_is_kept(backbone, lora)
    elif lora is None:
        backbone.requires_grad_(True)
    else:
        student.model.backbone = backbone = _with_lora(student, backbone, lora)
    for adapter in getattr(backbone, "peft_config", {}).values():
        # Embeddings are saved with an adapter of the last layers, but learning them would take gradients through all.
        tokens = adapter.layers_to_transform is None
        for name, parameter in backbone.named_parameters():
            parameter.requires_grad_("lora_" in name or (tokens and "trainable_tokens" in name))
    if gradient_checkpointing:
        backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        backbone.enable_input_require_grads()


def _tell_what_is_kept(backbone: PreTrainedModel, lora: Lora | None) -> None:
    """Warn where an adapter that is trained on is not what the config asks for."""
    if lora is None:
        log.warning("This checkpoint is an adapter: it is trained on, not the full weights that lora: null asks for.")
        return
    for adapter in backbone.peft_config.values():
        layers = adapter.layers_to_transform
        count = None if layers is None else len(layers) if isinstance(layers, list) else 1
        own = {"r": adapter.r, "alpha": adapter.lora_alpha, "dropout": adapter.lora_dropout, "last_layers": count}
        if other := [f"{name} {value}" for name, value in own.items() if getattr(lora, name) != value]:
            log.warning(
                "This checkpoint is an adapter, which is trained on as it is: with %s, not what lora asks for.",
                ", ".join(other),
            )


def projections(backbone: PreTrainedModel) -> list[str]:
    """Names of every linear layer inside the transformer blocks, as suffixes that hold for all blocks."""
    inside = re.compile(r"\.\d+\.(.+)$")
    linear = (name for name, module in backbone.named_modules() if isinstance(module, nn.Linear))
    return sorted({match.group(1) for name in linear if (match := inside.search(name))})


def _with_lora(student: Student, backbone: PreTrainedModel, lora: Lora) -> PreTrainedModel:
    from peft import LoraConfig, get_peft_model

    # Tokens that the base model was never trained on learn their embeddings; MiniCPM's reserved ones stay as they are.
    tokens = [student.tokenizer.token_to_id(token) for token in student.spec.template.thinking_tokens]
    settings = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias="none",
        target_modules=projections(backbone),
        trainable_token_indices=tokens if student.spec.start else None,
    )
    if lora.last_layers:
        layers = backbone.config.num_hidden_layers
        settings.layers_to_transform = list(range(max(0, layers - lora.last_layers), layers))
    return get_peft_model(backbone, settings)
