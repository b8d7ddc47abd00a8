"""From training examples to a checkpoint: the loss, batches, LoRA, the loop.

Importing this package is light: each public name loads its module on first use, so that a config is checked before
torch is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from debater_search.processes import is_main_process as is_main_process
    from debater_search.training.config_file import load_config as load_config
    from debater_search.training.dry_run import plan as plan
    from debater_search.training.loss import DeliberationLoss as DeliberationLoss
    from debater_search.training.released import is_released_config as is_released_config
    from debater_search.training.released import translate_released_config as translate_released_config
    from debater_search.training.run_folder import run_config as run_config
    from debater_search.training.settings import TrainingSettings as TrainingSettings
    from debater_search.training.trainer import train as train

_HOME = {
    "DeliberationLoss": "debater_search.training.loss",
    "TrainingSettings": "debater_search.training.settings",
    "is_main_process": "debater_search.processes",
    "is_released_config": "debater_search.training.released",
    "load_config": "debater_search.training.config_file",
    "plan": "debater_search.training.dry_run",
    "run_config": "debater_search.training.run_folder",
    "train": "debater_search.training.trainer",
    "translate_released_config": "debater_search.training.released",
}

__all__ = [
    "DeliberationLoss",
    "TrainingSettings",
    "is_main_process",
    "is_released_config",
    "load_config",
    "plan",
    "run_config",
    "train",
    "translate_released_config",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
