"""How long a run is: its steps, and those over which the learning rate rises and falls."""

import logging
import math
from dataclasses import dataclass

from debater_search.training.settings import TrainingSettings

log = logging.getLogger(__name__)


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

    def warn(self, settings: TrainingSettings) -> None:
        """Say what the run is too short for: the learning rate's rise, or checkpoints to average."""
        if self.warmup >= self.steps:
            log.warning(
                "The learning rate does not reach its peak: it rises over %d steps of %d. Lower warmup_steps.",
                self.warmup,
                self.steps,
            )
        saved = (self.steps - 1) // settings.save_steps + 1  # that of the last step included
        if saved < settings.average_last:
            log.warning(
                "average_last is %d, but a run of %d steps with save_steps %d has %d checkpoint%s to average. "
                "Lower save_steps.",
                settings.average_last,
                self.steps,
                settings.save_steps,
                saved,
                "" if saved == 1 else "s",
            )
