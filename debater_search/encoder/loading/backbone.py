"""Transformers models as encoders' bodies: native classes only, safetensors only, no language-model head."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import MODEL_MAPPING, AutoModel, PreTrainedModel
from transformers.utils import logging

from debater_search.encoder.families import native_config
from debater_search.encoder.loading.eight_bits import INT8_FILE, read_int8
from debater_search.encoder.loading.files import read_json, weight_files
from debater_search.errors import DamagedError, DebaterError


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


def load_backbone(folder: Path, *, dtype: torch.dtype, attention: str | None, weights: bool = True) -> PreTrainedModel:
    """Load a model's body in evaluation mode; without `weights` its tensors have shapes only (device meta).

    Raises MissingError or DamagedError for weights that are missing, damaged or do not fit, InvalidError for pickles.
    """
    if not weights:
        return _shapes_only(folder, dtype)
    weight_files(folder)
    values = read_json(folder / "config.json")
    try:
        with quiet_transformers():
            config = native_config(values)
            int8 = (folder / INT8_FILE).is_file()
            family = MODEL_MAPPING[type(config)] if int8 else AutoModel  # AutoModel takes no weights from memory
            backbone, report = family.from_pretrained(
                None if int8 else folder,
                config=config,
                state_dict=read_int8(folder / INT8_FILE) if int8 else None,
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
        raise DamagedError(f"The model in {folder} cannot be loaded: {reason}", "Fetch the model again.") from error
    missing = sorted(k for k in report["missing_keys"] if "pooler" not in k and "position_ids" not in k)
    if missing:
        raise DamagedError(
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
        raise DamagedError(f"The model in {folder} cannot be made: {reason}", "Fetch the model again.") from error
    return _without_pooler(backbone).eval()


def _without_pooler(backbone: PreTrainedModel) -> PreTrainedModel:
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # a classifier's head; unused by every pooling
    return backbone
