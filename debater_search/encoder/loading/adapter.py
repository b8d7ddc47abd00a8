"""A LoRA adapter on its base model, put there by peft itself."""

from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from debater_search.encoder.loading.files import one_line, read_json, weight_files
from debater_search.errors import DamagedError, DebaterError, InvalidError

ADAPTER_FILE = "adapter_config.json"

READ = frozenset((
    "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "lora_bias", "bias", "lora_dropout",
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "target_parameters",
    "layer_replication", "modules_to_save", "trainable_token_indices", "ensure_weight_tying", "fan_in_fan_out",
    "init_lora_weights", "eva_config", "loftq_config",
    "peft_type", "peft_version", "task_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode",
    "runtime_config",
))  # fmt: skip
"""Settings of LoRA that are read, or say nothing about what an adapter computes. Any other must have its default."""

INITIAL_WEIGHTS = (None, True, False, "gaussian", "eva", "orthogonal", "olora", "pissa")
"""Values of init_lora_weights. Of those that change the base, only the ones that change it alike at every load."""

ADAPTERS_OWN = ("lora_", "trainable_tokens_")
"""Parts of the names of an adapter's own tensors, beside the modules that it replaces whole."""

MERGE = "Merge it into its base model with peft, and use the merged model."

UNMERGEABLE = ("layer_replication", "lora_bias")
"""Settings whose updates cannot be added to the weights: layers that share weights, a bias where the base has none."""


@dataclass(frozen=True)
class Adapter:
    """What an adapter's folder holds."""

    folder: Path
    settings: Any
    """A `LoraConfig`."""
    weights: dict[str, Tensor]
    base_model: str
    """What it was trained on; "" if its settings do not say."""


def with_adapter(backbone: PreTrainedModel, adapter: Adapter) -> PreTrainedModel:
    """Put a LoRA adapter on a model, which then computes what it computes in peft.

    Raises InvalidError if it does not fit the model.
    """
    from peft import get_peft_model, set_peft_model_state_dict

    folder, settings, weights = adapter.folder, adapter.settings, adapter.weights
    below_head = f"base_model.model.{backbone.base_model_prefix}."
    headed = any(key.startswith(below_head) for key in weights)
    if headed:
        weights = {key: tensor for key, tensor in weights.items() if key.startswith(below_head)}
    if backbone.device.type == "meta":
        settings.init_lora_weights = True  # nothing is there to compute the others from
    _require_vocabulary(backbone, weights, folder)
    try:
        adapted = get_peft_model(_under_head(backbone, adapter) if headed else backbone, settings)
        report = set_peft_model_state_dict(adapted, weights)
    except DebaterError:
        raise
    except Exception as error:  # peft raises many kinds
        raise InvalidError(
            f"The adapter in {folder} does not fit its base model: {_reason(error)}", "Check `base_model`."
        ) from error
    lost = [*report.unexpected_keys, *(k for k in report.missing_keys if "lora_" in k or "trainable_tokens" in k)]
    if lost:
        raise InvalidError(
            f"The adapter in {folder} does not fit its base model ({len(lost)} tensors, first: {lost[0]}).",
            "Check `base_model`.",
        )
    if headed:
        adapted.base_model.model = backbone
        _name_layers(settings, backbone)
    _require_layer_types(backbone, settings, folder)
    return adapted.eval()


def merge(backbone: PreTrainedModel, dtype: torch.dtype) -> None:
    """Add an adapter's updates to the weights, where that gives the same values, and round all weights to `dtype`.

    It saves multiplications. Sums are made in float32, layer by layer, and rounded once. The adapter's own tensors
    stay as they are, so that it is saved as it was.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    [settings] = backbone.peft_config.values()
    if not any(getattr(settings, name) for name in UNMERGEABLE):
        for layer in [module for module in backbone.modules() if isinstance(module, BaseTunerLayer)]:
            layer.get_base_layer().float()
            layer.merge()
            _round(layer, dtype)
    _round(backbone, dtype, backbone._get_dtype_plan(dtype))  # what transformers itself keeps in float32


def is_merged(backbone: PreTrainedModel) -> bool:
    """Whether an adapter's updates were added to the weights."""
    return any(getattr(module, "merged", False) for module in backbone.modules())


def _round(module: nn.Module, dtype: torch.dtype, kept: Iterable[str] = ()) -> None:
    """Bring weights to a number type, but for an adapter's own and those that have one of `kept` in their names."""
    for name, parameter in module.named_parameters():
        if not any(part in name for part in (*ADAPTERS_OWN, *kept)):
            parameter.data = parameter.data.to(dtype)


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter before anything is made of it.

    Raises DamagedError if it cannot be read, InvalidError if it is no LoRA or uses a setting that is not supported.
    """
    from peft import LoraConfig, PeftConfig

    weight_files(folder)
    declared = read_json(folder / ADAPTER_FILE)
    kind = declared.get("peft_type")
    if kind != "LORA":
        raise InvalidError(
            f"The adapter in {folder} is of the kind {kind} (peft_type), which is not supported; only LORA is.",
            MERGE,
        )
    defaults = {
        f.name: f.default_factory() if f.default_factory is not MISSING else f.default for f in fields(LoraConfig)
    }
    used = [name for name, value in declared.items() if name not in READ and value and value != defaults.get(name)]
    if (start := declared.get("init_lora_weights")) not in INITIAL_WEIGHTS:
        used.append(f"init_lora_weights {start!r}")
    if used:
        raise InvalidError(
            f"The adapter in {folder} uses the setting {used[0]}, which is not supported.",
            MERGE,
        )
    try:
        settings = PeftConfig.from_pretrained(str(folder))
        if not settings.target_modules and not settings.target_parameters:
            raise ValueError("adapter_config.json names no target_modules")
        weights = load_file(folder / "adapter_model.safetensors")
    except Exception as error:  # safetensors, JSON and peft raise many kinds
        raise DamagedError(f"The adapter in {folder} cannot be read ({error}).", "Fetch it again.") from error
    settings.inference_mode, settings.base_model_name_or_path, settings.task_type = True, None, None
    return Adapter(folder, settings, weights, base_model=str(declared.get("base_model_name_or_path") or ""))


class _Carrier(nn.Module):
    """A model's body under the name that it has below a head: what peft matches names of layers against."""

    def __init__(self, body: PreTrainedModel) -> None:
        super().__init__()
        self.config = body.config
        self.add_module(body.base_model_prefix, body)
        self.get_input_embeddings = body.get_input_embeddings


def _under_head(backbone: PreTrainedModel, adapter: Adapter) -> nn.Module:
    """The body as an adapter names it that was trained on the model with its head, which is not used.

    Settings that are for the head alone are removed. Raises InvalidError for modules that only a longer name tells from
    others, since the body has no longer names.
    """
    carrier, settings = _Carrier(backbone), adapter.settings
    names = [name for name, _ in carrier.named_modules()]

    def found(asked: str) -> list[str]:  # as peft finds them
        return [name for name in names if name.endswith(asked)]

    settings.modules_to_save = [name for name in settings.modules_to_save or () if found(name)] or None
    if isinstance(tokens := settings.trainable_token_indices, dict):
        settings.trainable_token_indices = {name: at for name, at in tokens.items() if found(name)} or None
    for name in settings.modules_to_save or ():
        if found(name) != found(name.removeprefix(f"{backbone.base_model_prefix}.")):
            raise InvalidError(
                f"The adapter in {adapter.folder} names {name} in modules_to_save, which is not supported.", MERGE
            )
    return carrier


def _name_layers(settings: Any, backbone: PreTrainedModel) -> None:
    """Make settings name layers as the body itself does, each by its whole name."""
    from peft.tuners.lora import LoraLayer, ParamWrapper

    prefix = f"{backbone.base_model_prefix}."
    layers = {
        name: module
        for name, module in backbone.named_modules()
        if isinstance(module, LoraLayer) and not isinstance(module, ParamWrapper)
    }
    adapter = "default"
    settings.target_modules = set(layers) or None
    settings.rank_pattern = {n: m.r[adapter] for n, m in layers.items() if m.r[adapter] != settings.r}
    settings.alpha_pattern = {
        n: m.lora_alpha[adapter] for n, m in layers.items() if m.lora_alpha[adapter] != settings.lora_alpha
    }
    settings.exclude_modules = settings.layers_to_transform = settings.layers_pattern = None
    for name in ("modules_to_save", "target_parameters"):
        if named := getattr(settings, name):
            setattr(settings, name, [n.removeprefix(prefix) for n in named])
    if isinstance(tokens := settings.trainable_token_indices, dict):
        settings.trainable_token_indices = {n.removeprefix(prefix): at for n, at in tokens.items()}


def _require_vocabulary(backbone: PreTrainedModel, weights: dict[str, Tensor], folder: Path) -> None:
    """Raise InvalidError if an adapter brings embeddings of more or fewer tokens than its base model has."""
    table = backbone.get_input_embeddings()
    name = next(name for name, module in backbone.named_modules() if module is table)
    for key, tensor in weights.items():
        if key.endswith((f".{name}.weight", f".{name}.base_layer.weight")):
            rows, size = tensor.shape
        elif key.endswith(f".{name}.lora_embedding_A"):
            rows, size = tensor.shape[1], table.weight.shape[1]
        else:
            continue
        have = table.weight.shape[0]
        if size == table.weight.shape[1] and rows != have:
            compared = f"{'larger' if rows > have else 'smaller'} than its base model's ({rows} and {have} tokens)"
            raise InvalidError(
                f"The vocabulary of the adapter in {folder} is {compared}.",
                f"Resize the embeddings of the base model to {rows} tokens, save it, and name it as `base_model`.",
            )


def _require_layer_types(backbone: PreTrainedModel, settings: Any, folder: Path) -> None:
    """Raise InvalidError if layers were replicated in a model that looks up the kind of each layer by its number."""
    kinds = getattr(backbone.config, "layer_types", None)
    if settings.layer_replication and kinds and len(kinds) != backbone.config.num_hidden_layers:
        raise InvalidError(
            f"The adapter in {folder} uses layer_replication, which models of type {backbone.config.model_type!r} "
            "do not support.",
            "Use another adapter.",
        )


def _reason(error: Exception) -> str:
    """What peft or torch complain of, in one line."""
    if isinstance(error, KeyError):
        return f"it lacks the tensor {error.args[0]}."
    return one_line(error)
