"""The optimizer of a phase, and the course of its learning rate."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from debater_search.training.checkpoints import restore_optimizer

SCHEDULES = {"linear": get_linear_schedule_with_warmup, "cosine": get_cosine_schedule_with_warmup}


def make_optimizer(
    parameters: Sequence[nn.Parameter],
    *,
    rate: float,
    weight_decay: float,
    schedule: str,
    warmup: int,
    steps: int,
    done: int = 0,
    resume_from: Path | None = None,
) -> tuple[Optimizer, LRScheduler]:
    """AdamW and its schedule, as they are after `done` steps; its moments come from the checkpoint `resume_from`."""
    groups = [{"params": list(parameters), "initial_lr": rate}]
    optimizer = AdamW(groups, lr=rate, weight_decay=weight_decay)
    course = SCHEDULES[schedule](optimizer, warmup, steps, last_epoch=done - 1)
    if done and resume_from is not None:
        restore_optimizer(resume_from, optimizer)
    return optimizer, course
