"""A phase of training: the loop runs it without knowing which one it is."""

from collections.abc import Callable
from dataclasses import dataclass

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from debater_search.training.batches import Batch
from debater_search.training.steps import StepFacts, StepOptions


@dataclass(frozen=True)
class Phase:
    """A stretch of training with its own optimizer and schedule, and what is particular to it. Steps count from 0."""

    name: str
    folder: str
    """Begins the names of the checkpoints that it leaves."""
    steps: int
    batch_size: int
    optimizer: Optimizer
    schedule: LRScheduler
    read: Callable[[int], Batch]
    """The batch of a step, tokenized; runs ahead, in a thread."""
    work: Callable[[Batch, StepOptions], StepFacts]
    """Accumulates the gradients of one step."""
    seed: Callable[[int], int]
    """Seed of a step's dropout."""
    describe: Callable[[int], str]
    """Where the rows of a step come from, for messages."""
    begin: Callable[[], None]
    """Runs before the first step."""
    after: Callable[[int, Optimizer], bool]
    """Measures and saves once so many steps are done; True ends the phase early."""
