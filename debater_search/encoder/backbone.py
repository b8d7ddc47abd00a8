"""Transformers models as encoders' bodies: native classes only, safetensors only, no language-model head."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES
from transformers.utils import logging

from debater_search.errors import DebaterError

MINICPM = ("minicpm", "minicpm3")
"""Families whose template is the published one: `<s>` before and `</s>` after, whatever the tokenizer declares."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object on disk. Raises DebaterError where it is missing or broken."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DebaterError(f"{path} is missing.", "Was the model folder copied whole?") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise DebaterError(f"{path} is not valid JSON ({error}).", "Fetch the model again.") from None
    if not isinstance(values, dict):
        raise DebaterError(f"{path} does not hold a JSON object.", "Fetch the model again.")
    return values


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Indented JSON, UTF-8."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def model_type(config: dict[str, Any]) -> str:
    """The family a `config.json` names; MiniCPM's first releases name it only among the architectures."""
    declared = config.get("model_type", "")
    if not declared and config.get("architectures") == ["MiniCPMForCausalLM"]:
        return "minicpm"
    return declared


def native_config(values: dict[str, Any]) -> PretrainedConfig:
    """Configuration for transformers' own class of this family; no code from the model's repository is run.

    MiniCPM has no native class: Granite computes the same function under other names for the same scalings.
    """
    values = {k: v for k, v in values.items() if k != "auto_map"}
    family = model_type(values)
    if family == "minicpm":
        values = _minicpm_as_granite(values)
        family = "granite"
    if family not in CONFIG_MAPPING:
        raise DebaterError(
            f"Models of type {family or '(none declared)'!r} are not known to transformers.",
            "Remote code is never run: use a model with a native class.",
        )
    config = CONFIG_MAPPING[family].from_dict({**values, "model_type": family})
    config.use_cache = False  # nothing is generated: keys and values are not kept
    for name in vars(config):  # LoRA's is the only dropout
        if name.endswith(("dropout", "_pdrop", "dropout_prob")) and isinstance(getattr(config, name), int | float):
            setattr(config, name, 0.0)
    return config


def _minicpm_as_granite(values: dict[str, Any]) -> dict[str, Any]:
    hidden, layers = values["hidden_size"], values["num_hidden_layers"]
    scaling = dict(values.get("rope_scaling") or {})
    kind = scaling.pop("type", None) or scaling.pop("rope_type", None) or "default"
    same = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
            "num_key_value_heads", "hidden_act", "max_position_embeddings", "initializer_range", "rms_norm_eps",
            "attention_bias", "bos_token_id", "eos_token_id", "pad_token_id")  # fmt: skip
    return {
        **{name: values[name] for name in same if name in values},
        "architectures": ["GraniteForCausalLM"],
        "embedding_multiplier": values.get("scale_emb", 1),
        "residual_multiplier": values.get("scale_depth", 1) / layers**0.5,
        "logits_scaling": hidden / values.get("dim_model_base", hidden),
        "attention_multiplier": (hidden / values["num_attention_heads"]) ** -0.5,
        "rope_parameters": {**scaling, "rope_type": kind, "rope_theta": values.get("rope_theta", 10000.0)},
        "tie_word_embeddings": values.get("tie_word_embeddings", True),
    }


def is_causal(config: PretrainedConfig) -> bool:
    """Whether tokens see only what stands before them (a decoder)."""
    masked_lm = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return not masked_lm and not getattr(config, "use_bidirectional_attention", False)


def positions(config: PretrainedConfig) -> int | None:
    """Longest sequence a model has positions for; None where its positions are computed (decoders)."""
    if is_causal(config):
        return None
    limit = getattr(config, "max_position_embeddings", None)
    offset = 2 if config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet") else 0  # begin after padding's
    return limit - offset if limit else None


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No bars and remarks while loading: what matters in them is checked and raised as a DebaterError."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def weight_files(folder: Path) -> list[Path]:
    """The safetensors of a model folder. Raises DebaterError where there are none; pickles are refused."""
    files = sorted(folder.glob("*.safetensors"))
    if files:
        return files
    pickles = sorted([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth"), *folder.glob("*.ckpt")])
    if pickles:
        raise DebaterError(
            f"{pickles[0]} is a pickle, which can run code when it is read; only safetensors are loaded.",
            "Convert it once with safetensors.torch.save_file, or take a revision that has model.safetensors.",
        )
    raise DebaterError(f"The model folder {folder} holds no weights (*.safetensors).", "Was it copied whole?")


def load_backbone(folder: Path, *, dtype: torch.dtype, attention: str | None, weights: bool = True) -> PreTrainedModel:
    """Load a model's body in evaluation mode; without `weights` its tensors have shapes only (device meta).

    Raises DebaterError for missing, damaged or unfitting weights.
    """
    if not weights:
        return _shapes_only(folder, dtype)
    weight_files(folder)
    values = read_json(folder / "config.json")
    try:
        with quiet_transformers():
            config = native_config(values)
            backbone, report = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                attn_implementation=attention,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except DebaterError:
        raise
    except Exception as error:  # transformers, safetensors and the hub's checks of types raise many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DebaterError(f"The model in {folder} cannot be loaded: {reason}", "Fetch the model again.") from error
    missing = sorted(k for k in report["missing_keys"] if "pooler" not in k and "position_ids" not in k)
    if missing:
        raise DebaterError(
            f"The weights in {folder} lack {len(missing)} tensors of the model (first: {missing[0]}).",
            "Fetch the model again, or check that config.json belongs to these weights.",
        )
    return _without_pooler(backbone).eval()


def _shapes_only(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    try:
        with quiet_transformers(), torch.device("meta"):
            backbone = AutoModel.from_config(native_config(read_json(folder / "config.json")), dtype=dtype)
    except DebaterError:
        raise
    except Exception as error:  # as many kinds as when weights are loaded
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DebaterError(f"The model in {folder} cannot be made: {reason}", "Fetch the model again.") from error
    return _without_pooler(backbone).eval()


def _without_pooler(backbone: PreTrainedModel) -> PreTrainedModel:
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # a classifier's head; unused by every pooling
    return backbone
