"""Write our own checkpoint: what `loading.layouts.load_checkpoint` reads, and plain peft or transformers too."""

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from debater_search.encoder.card import CARD, is_card, write_card
from debater_search.encoder.loading.eight_bits import write_int8
from debater_search.encoder.loading.files import INT8_FILE, read_json, write_json
from debater_search.encoder.loading.parts import Parts
from debater_search.encoder.model import DeliberationModel
from debater_search.encoder.spec import CHECKPOINT_FILE
from debater_search.errors import InvalidError

_BESIDE_TOKENIZER = ("tokenizer_config.json", "special_tokens_map.json")


def save_tokenizer(parts: Parts, folder: Path) -> None:
    """Write the tokenizer and its settings as they are."""
    parts.tokenizer.save(str(folder / "tokenizer.json"))
    for name in _BESIDE_TOKENIZER:
        if (parts.tokenizer_folder / name).is_file():
            shutil.copyfile(parts.tokenizer_folder / name, folder / name)


def save_checkpoint(
    model: DeliberationModel,
    parts: Parts,
    folder: Path,
    provenance: dict[str, Any] | None,
    weights: dict[str, Tensor] | None = None,
    *,
    int8: bool = False,
) -> None:
    """Write the adapter or the full weights (safetensors), the tokenizer, `debater.json` and a model card.

    A README.md of other hands stays as it is. `weights` are the backbone's if processes share them; `provenance` None
    keeps that of the parts. `int8` writes the full weights, adapters merged, in 8 bits.

    Raises:
        InvalidError: the model has dense layers of sentence-transformers, or cannot be written in 8 bits.

    """
    folder.mkdir(parents=True, exist_ok=True)
    if int8:
        _require_int8(model, folder)
    if model.head is not None:
        raise InvalidError("A model with sentence-transformers dense layers cannot be saved as a checkpoint.", "")
    backbone, base = model.backbone, parts.base
    base_name = str(base.folder.resolve()) if Path(base.name).is_dir() else base.name
    for settings in getattr(backbone, "peft_config", {}).values():
        settings.base_model_name_or_path, settings.revision = base_name, base.revision
    card = folder / CARD
    written = card.read_bytes() if card.is_file() and not is_card(card) else None
    if int8:
        write_int8(backbone, folder / INT8_FILE)
        backbone.config.save_pretrained(folder)
    elif hasattr(backbone, "peft_config"):
        # trained tokens are saved row by row
        backbone.save_pretrained(folder, save_embedding_layers=False, state_dict=weights)
        _sort_names(folder / "adapter_config.json")
    else:
        backbone.save_pretrained(folder, state_dict=weights)
    save_tokenizer(parts, folder)
    described = {
        "format": parts.spec.format(int8=int8),
        "base_model": base_name,
        "base_revision": base.revision,
        **parts.spec.as_dict(),
    }
    write_json(folder / CHECKPOINT_FILE, {**described, "provenance": provenance or parts.provenance})
    if written is None:
        write_card(folder, "checkpoint")
    else:
        card.write_bytes(written)  # peft has put its own words into it


def _require_int8(model: DeliberationModel, folder: Path) -> None:
    """Raise InvalidError if weights of 8 bits would not be those of this model, or not the only ones of the folder."""
    if model.backbone.dtype != torch.float32:
        raise InvalidError(
            "Weights in half precision are not written in 8 bits.", "Load the model as float32 (`dtype`)."
        )
    if other := [path.name for path in sorted(folder.glob("*.safetensors")) if path.name != INT8_FILE]:
        raise InvalidError(f"{folder} holds other weights ({other[0]}).", "Save to another folder.")


def _sort_names(settings: Path) -> None:
    """Put the layers that peft names in a set's random order in one order: equal adapters are equal files."""
    values = read_json(settings)
    if isinstance(values.get("target_modules"), list):
        values["target_modules"].sort()
    write_json(settings, values)
