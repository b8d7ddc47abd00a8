"""Read a training config: the file, overrides on top, paths resolved."""

import json
from collections.abc import Sequence
from pathlib import Path

from debater_search.config import beside, load_settings
from debater_search.data.training_sources import is_hub_name
from debater_search.training.released import is_released_config, settings_of
from debater_search.training.settings import TrainingSettings


def load_config(
    path: str | Path, overrides: Sequence[str] = (), *, output: str | Path | None = None
) -> TrainingSettings:
    """Read a config file; paths in it come back resolved. `output` stands for the file's own.

    Raises DebaterError naming key and line of any mistake.

    Examples:
        >>> from debater_search.training import load_config
        >>> load_config("train.yaml", ["learning_rate=1e-4"]).learning_rate
        0.0001
    """
    if output is not None:
        overrides = [*overrides, f"output={json.dumps(str(output))}"]
    values = settings_of(path, overrides)[0] if is_released_config(path) else None
    settings = load_settings(TrainingSettings, path, overrides, values=values)
    folder = _data_folder(path, settings.data_folder, overrides)
    for data in settings.data:
        beside_it = folder / Path(data.path).expanduser()
        if beside_it.exists() or not is_hub_name(data.path):
            data.path = str(beside_it)
        if data.corpus is not None:
            data.corpus = str(folder / Path(data.corpus).expanduser())
    if settings.eval is not None:
        found = [str(beside(path, task)) for task in settings.eval.tasks]
        settings.eval.task = found[0] if isinstance(settings.eval.task, str) else found
    settings.model = _found_beside(path, settings.model)
    for teacher in settings.loss.teacher_models:
        teacher.model = _found_beside(path, teacher.model)
    return settings


def _found_beside(path: str | Path, model: str) -> str:
    """A model's folder beside the config file, if it is one and not one of the working directory; else the name.

    What can only be a folder (`../models/x`) is one beside the file even if it is missing: messages then name it.
    """
    folder = beside(path, model)
    means_folder = model.startswith((".", "~"))
    return str(folder) if (folder.is_dir() or means_folder) and not Path(model).is_dir() else model


def _data_folder(path: str | Path, written: str | None, overrides: Sequence[str]) -> Path:
    """A folder that the file names lies beside the file, as all its paths; one typed as an override where one is."""
    if written is not None and any(override.startswith("data_folder=") for override in overrides):
        return Path(written).expanduser()
    return beside(path, written or ".")
