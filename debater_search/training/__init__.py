"""From training examples to a checkpoint: the loss, batches, LoRA, the loop."""

from debater_search.training.checkpoints import run_config
from debater_search.training.dry_run import plan
from debater_search.training.launch import is_main_process
from debater_search.training.loss import DeliberationLoss
from debater_search.training.released import is_released_config, translate_released_config
from debater_search.training.settings import TrainingSettings, load_config
from debater_search.training.trainer import train

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
