"""Write our own checkpoint: what `loading.layouts.load_checkpoint` reads, and plain peft or transformers too."""

import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from debater_search.encoder.loading.files import read_json, write_json
from debater_search.encoder.loading.parts import Parts
from debater_search.encoder.model import DeliberationModel
from debater_search.encoder.spec import CHECKPOINT_FILE, FORMAT
from debater_search.errors import InvalidError


def save_checkpoint(
    model: DeliberationModel,
    parts: Parts,
    folder: Path,
    provenance: dict[str, Any] | None,
    weights: dict[str, Tensor] | None = None,
) -> None:
    """Write the adapter or the full weights (safetensors), the tokenizer and `debater.json`.

    `weights` are the backbone's if processes share them; `provenance` None keeps that of the parts.

    Raises:
        InvalidError: the model has dense layers of sentence-transformers.

    """
    folder.mkdir(parents=True, exist_ok=True)
    if model.head is not None:
        raise InvalidError("A model with sentence-transformers dense layers cannot be saved as a checkpoint.", "")
    backbone, base = model.backbone, parts.base
    base_name = str(base.folder.resolve()) if Path(base.name).is_dir() else base.name
    for settings in getattr(backbone, "peft_config", {}).values():
        settings.base_model_name_or_path, settings.revision = base_name, base.revision
    if hasattr(backbone, "peft_config"):
        # trained tokens are saved row by row
        backbone.save_pretrained(folder, save_embedding_layers=False, state_dict=weights)
        _sort_names(folder / "adapter_config.json")
    else:
        backbone.save_pretrained(folder, state_dict=weights)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
    parts.tokenizer.save(str(folder / "tokenizer.json"))
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (parts.tokenizer_folder / name).is_file():
            shutil.copyfile(parts.tokenizer_folder / name, folder / name)
    described = {"format": FORMAT, "base_model": base_name, "base_revision": base.revision, **parts.spec.as_dict()}
    write_json(folder / CHECKPOINT_FILE, {**described, "provenance": provenance or parts.provenance})


def _sort_names(settings: Path) -> None:
    """Put the layers that peft names in a set's random order in one order: equal adapters are equal files."""
    values = read_json(settings)
    if isinstance(values.get("target_modules"), list):
        values["target_modules"].sort()
    write_json(settings, values)
