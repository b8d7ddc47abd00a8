"""Which weights are trained: low-rank updates of every projection, and the thinking tokens' embeddings."""

import logging
import re
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from debater_search.encoder.loading.adapter import is_merged
from debater_search.errors import InvalidError
from debater_search.training.sections import Lora
from debater_search.training.student import Student

INSIDE = re.compile(r"(?:^|\.)(?P<blocks>[^.]+)\.\d+\.(?P<layer>.+)$")
"""Name of a layer inside a transformer block: the list of blocks, the block's number, the layer's name in the block."""
EXPERTS = ".experts."
"""In the names of weights of which a router chooses some for each token: tensors of their own, no linear layers."""

log = logging.getLogger(__name__)


def make_trainable(student: Student, lora: Lora | None, *, gradient_checkpointing: bool) -> None:
    """Prepare a model for training, in place: LoRA (an adapter that it has already is trained on), or all weights.

    What learns is kept in float32.

    Raises InvalidError for an adapter that is merged, targets that the model lacks, and a model that cannot make
    activations again.
    """
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
        _let_learn(backbone, adapter)
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if gradient_checkpointing:
        _make_activations_again(backbone)


def _let_learn(backbone: PreTrainedModel, adapter: Any) -> None:
    """Let all that belongs to an adapter learn: its updates, modules that it replaces whole, biases and tokens."""
    backbone.base_model._mark_only_adapters_as_trainable(backbone.base_model.model)
    backbone.set_adapter("default")
    if adapter.layers_to_transform is not None:
        # Embeddings are saved with an adapter of the last layers, but learning them would take gradients through all.
        for name, parameter in backbone.named_parameters():
            if "trainable_tokens" in name:
                parameter.requires_grad_(False)


def _make_activations_again(backbone: PreTrainedModel) -> None:
    if not backbone.supports_gradient_checkpointing:
        raise InvalidError(
            f"Models of type {backbone.config.model_type!r} cannot make activations again (gradient_checkpointing).",
            "Set gradient_checkpointing: false; gradient_cache bounds memory, too.",
        )
    options = {"use_reentrant": False}
    if hasattr(backbone, "activation_checkpointing_enable"):
        backbone.activation_checkpointing_enable(activation_checkpointing_kwargs=options)
    else:  # transformers of before
        backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
    backbone.enable_input_require_grads()


def _tell_what_is_kept(backbone: PreTrainedModel, lora: Lora | None) -> None:
    """Warn where an adapter that is trained on is not what the config asks for."""
    adapters = backbone.peft_config.values()
    in_some_layers = any(a.trainable_token_indices and a.layers_to_transform is not None for a in adapters)
    if in_some_layers and (lora is None or lora.last_layers is None):
        log.warning("The token embeddings of this adapter stay as they are, since it adapts only some layers.")
    if lora is None:
        log.warning("This checkpoint is an adapter: it is trained on, not the full weights that lora: null asks for.")
        return
    for adapter in adapters:
        layers = adapter.layers_to_transform
        count = None if layers is None else len(layers) if isinstance(layers, list) else 1
        own = {"r": adapter.r, "alpha": adapter.lora_alpha, "rslora": adapter.use_rslora, "dora": adapter.use_dora,
               "dropout": adapter.lora_dropout, "last_layers": count}  # fmt: skip
        other = [f"{name} {value}" for name, value in own.items() if getattr(lora, name) != value]
        if lora.targets not in (None, "all-linear") and {*lora.targets} != {*(adapter.target_modules or ())}:
            other.append("targets of its own")
        if other:
            log.warning(
                "This checkpoint is an adapter, which is trained on as it is: with %s, not what lora asks for.",
                ", ".join(other),
            )


def projections(backbone: PreTrainedModel) -> list[str]:
    """Names of every linear layer inside the transformer blocks, as suffixes that hold for all blocks."""
    found = (INSIDE.search(name) for name in _linear(backbone))
    return sorted({match["layer"] for match in found if match})


def _linear(backbone: PreTrainedModel) -> list[str]:
    return [name for name, module in backbone.named_modules() if isinstance(module, nn.Linear | Conv1D)]


def linear_weights(backbone: PreTrainedModel) -> list[nn.Parameter]:
    """The weights of all linear layers of a model itself, adapted or not: what `quantize` holds in 4 bits."""
    return [backbone.get_submodule(name).weight for name in _linear(backbone) if "lora_" not in name]


def _targets(backbone: PreTrainedModel, lora: Lora) -> list[str]:
    """The layers that LoRA adapts, by names that peft matches at the end of whole ones."""
    names = _linear(backbone)
    if lora.targets == "all-linear":
        return names
    targets = projections(backbone) if lora.targets is None else lora.targets
    for target in targets:
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise InvalidError(
                f"lora.targets names {target!r}, which is no linear layer of this model.",
                f"Its layers are {', '.join(sorted({name.rpartition('.')[2] for name in names}))}.",
            )
    if not targets:
        raise InvalidError(
            f"Models of type {backbone.config.model_type!r} have no linear layers for LoRA to adapt.",
            "Set lora: null to train all weights.",
        )
    return targets


def _with_lora(student: Student, backbone: PreTrainedModel, lora: Lora) -> PreTrainedModel:
    from peft import LoraConfig, get_peft_model

    # Tokens that the base model was never trained on learn their embeddings; MiniCPM's reserved ones stay as they are.
    tokens = [student.tokenizer.token_to_id(token) for token in student.spec.template.thinking_tokens]
    settings = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        lora_dropout=lora.dropout,
        bias="none",
        target_modules=_targets(backbone, lora),
        trainable_token_indices=tokens if student.spec.start else None,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in backbone.modules()),
    )
    if lora.last_layers:
        layers = backbone.config.num_hidden_layers
        settings.layers_to_transform = list(range(max(0, layers - lora.last_layers), layers))
        found = (INSIDE.search(name) for name in _linear(backbone))
        settings.layers_pattern = sorted({match["blocks"] for match in found if match})
    if any(EXPERTS in name and weight.dim() == 3 for name, weight in backbone.named_parameters()):
        log.warning("The experts of this model stay as they are: LoRA adapts %s.", ", ".join(settings.target_modules))
    return get_peft_model(backbone, settings)
