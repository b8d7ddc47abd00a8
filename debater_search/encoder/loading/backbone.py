"""Transformers models as encoders' bodies: native classes only, safetensors only, no language-model head."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from transformers import MODEL_MAPPING, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from debater_search.encoder.families import is_causal, native_config, read_both_ways
from debater_search.encoder.loading.eight_bits import read_int8
from debater_search.encoder.loading.files import INT8_FILE, one_line, read_json, weight_files
from debater_search.encoder.loading.four_bits import in_four_bits
from debater_search.encoder.speed.attention import choose_attention
from debater_search.errors import DamagedError, DebaterError, InvalidError


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Loading without progress bars and warnings; what matters in them is checked here and raised as a DebaterError."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def load_backbone(
    folder: Path,
    *,
    dtype: torch.dtype,
    attention: str,
    device: torch.device,
    weights: bool = True,
    kept: torch.dtype | Literal["auto"] | None = None,
    quantize: str | None = None,
    bidirectional: bool = False,
) -> PreTrainedModel:
    """Load a model's body in evaluation mode; without `weights` its tensors have shapes only (device meta).

    Weights are `kept` in another number type than the model computes in where the caller or autocast brings them to
    `dtype`; auto: in that of their files.
    `bidirectional` is for decoders: see `read_both_ways`. With `quantize` linear layers are made 4-bit while they are
    read.

    Raises MissingError or DamagedError for weights that are missing, damaged or do not fit, InvalidError for pickles,
    for models that give no states of the tokens of a text and for an attention that is not possible for the model.
    """
    values = read_json(folder / "config.json")
    if not weights:
        shapes = kept if isinstance(kept, torch.dtype) else dtype
        return _shapes_only(folder, values, shapes, bidirectional=bidirectional)
    try:
        with quiet_transformers():
            config = _config(values, folder, bidirectional=bidirectional)
            weight_files(folder)
            int8 = (folder / INT8_FILE).is_file()
            family = MODEL_MAPPING[type(config)] if int8 else AutoModel  # AutoModel takes no weights from memory
            backbone, report = family.from_pretrained(
                None if int8 else folder,
                config=config,
                state_dict=read_int8(folder / INT8_FILE) if int8 else None,
                dtype=kept or dtype,
                attn_implementation=choose_attention(attention, config, device, dtype),
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **(in_four_bits(device, dtype) if quantize else {}),
            )
    except DebaterError:
        raise
    except Exception as error:  # transformers, safetensors and the hub's checks of types raise many kinds
        raise DamagedError(
            f"The model in {folder} cannot be loaded: {one_line(error)}", "Fetch the model again."
        ) from error
    missing = sorted(k for k in report["missing_keys"] if "pooler" not in k and "position_ids" not in k)
    if missing:
        raise DamagedError(
            f"The weights in {folder} lack {len(missing)} tensors of the model (first: {missing[0]}).",
            "Fetch the model again, or check that config.json belongs to these weights.",
        )
    return _without_pooler(backbone).eval()


def require_states(config: PretrainedConfig, folder: Path) -> None:
    """Raise InvalidError unless a model takes the tokens of a text and gives a state of each."""
    classes = MODEL_MAPPING.get(type(config), ())
    for model in classes if isinstance(classes, tuple) else (classes,):
        if why := _unsupported(model, config):
            raise InvalidError(
                f"{folder} holds a {model.__name__} (type {config.model_type!r}), which is not supported: it {why}.",
                "Use an encoder or a decoder of text.",
            )


def _unsupported(model: type[PreTrainedModel], config: PretrainedConfig) -> str | None:
    """What keeps a class from being read as an encoder; None if nothing does."""
    signature = inspect.signature(model.forward)
    returned = signature.return_annotation
    outputs = [output.__dataclass_fields__ for output in get_args(returned) or (returned,) if is_dataclass(output)]
    if config.is_encoder_decoder or any("encoder_last_hidden_state" in fields for fields in outputs):
        return "is an encoder-decoder"
    states = not outputs or any("last_hidden_state" in fields for fields in outputs)
    if model.main_input_name != "input_ids" or not states:
        return "gives no state of each token of a text"
    if not hasattr(config, "hidden_size"):
        return "reads more than text"
    if not is_causal(config) and "attention_mask" not in signature.parameters:
        return "takes no mask for padding"
    return None


def _config(values: dict[str, Any], folder: Path, *, bidirectional: bool) -> PretrainedConfig:
    config = native_config(values)
    require_states(config, folder)
    if bidirectional:
        read_both_ways(config)
    return config


def _shapes_only(folder: Path, values: dict[str, Any], dtype: torch.dtype, *, bidirectional: bool) -> PreTrainedModel:
    try:
        with quiet_transformers(), torch.device("meta"):
            config = _config(values, folder, bidirectional=bidirectional)
            backbone = AutoModel.from_config(config, dtype=dtype)
    except DebaterError:
        raise
    except Exception as error:  # as many kinds as when weights are loaded
        raise DamagedError(
            f"The model in {folder} cannot be made: {one_line(error)}", "Fetch the model again."
        ) from error
    return _without_pooler(backbone).eval()


def _without_pooler(backbone: PreTrainedModel) -> PreTrainedModel:
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # a classifier's head; unused by every pooling
    return backbone
