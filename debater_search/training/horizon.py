"""How long a run is: its steps, and those over which the learning rate rises and falls."""

import math
from dataclasses import dataclass

from debater_search.training.settings import TrainingSettings


@dataclass(frozen=True)
class Horizon:
    """Optimizer steps of a run, not counting a warm start."""

    steps: int
    warmup: int
    """Steps over which the learning rate rises."""
    decay: int
    """Step at which it would reach zero; not before the last one."""

    @classmethod
    def of(cls, settings: TrainingSettings, steps_per_epoch: int) -> "Horizon":
        """What settings say, where one pass over the data takes `steps_per_epoch`."""
        s = settings
        steps = s.max_steps if s.epochs is None else max(1, math.ceil(s.epochs * steps_per_epoch))
        warmup = s.warmup_steps if s.warmup_ratio is None else math.ceil(s.warmup_ratio * steps)
        decay = steps_per_epoch if s.decay_steps == "epoch" else s.decay_steps or steps
        return cls(steps, warmup, max(decay, steps))
