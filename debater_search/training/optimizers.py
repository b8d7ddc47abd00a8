"""The optimizer of a phase, and the course of its learning rate."""

import math
from collections.abc import Sequence
from pathlib import Path

from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import (
    get_constant_schedule_with_warmup,
    get_cosine_schedule_with_warmup,
    get_linear_schedule_with_warmup,
    get_wsd_schedule,
)

from debater_search.errors import InvalidError
from debater_search.training.checkpoints import restore_optimizer


def make_optimizer(
    parameters: Sequence[nn.Parameter],
    *,
    rate: float,
    weight_decay: float,
    schedule: str,
    warmup: int,
    steps: int,
    decay_ratio: float = 0.1,
    done: int = 0,
    resume_from: Path | None = None,
) -> tuple[Optimizer, LRScheduler]:
    """AdamW and its schedule, as they are after `done` steps; its moments come from the checkpoint `resume_from`.

    On GPUs all parameters are updated by one kernel. Norms and biases do not decay.

    Raises InvalidError if a checkpoint's moments belong to other parameters.
    """
    fused = True if all(parameter.device.type == "cuda" for parameter in parameters) else None
    optimizer = AdamW(_groups(parameters, rate, weight_decay), lr=rate, weight_decay=weight_decay, fused=fused)
    course = _schedule(schedule, optimizer, warmup, steps, decay_ratio, done)
    if done and resume_from is not None:
        restore_optimizer(resume_from, optimizer)
        if any(optimizer.state[p]["exp_avg"].shape != p.shape for p in parameters if p in optimizer.state):
            raise InvalidError(
                f"The optimizer in {resume_from} has its parameters in another order: another version wrote it.",
                "Resume with that version, or start over with `force`.",
            )
    return optimizer, course


def _groups(parameters: Sequence[nn.Parameter], rate: float, weight_decay: float) -> list[dict[str, object]]:
    """One group, as long as nothing decays; else matrices, then norms and biases."""
    if not weight_decay:
        return [{"params": list(parameters), "initial_lr": rate}]
    decaying = [parameter for parameter in parameters if parameter.ndim > 1]
    others = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups: list[dict[str, object]] = [
        {"params": decaying, "initial_lr": rate, "weight_decay": weight_decay},
        {"params": others, "initial_lr": rate, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _schedule(kind: str, optimizer: Optimizer, warmup: int, steps: int, decay_ratio: float, done: int) -> LRScheduler:
    """The rate rises over `warmup` steps, then takes its course, which ends at `steps`."""
    if kind == "constant":
        return get_constant_schedule_with_warmup(optimizer, warmup, last_epoch=done - 1)
    if kind == "wsd":
        decay = min(math.ceil(decay_ratio * steps), max(1, steps - warmup))
        stable = max(0, steps - warmup - decay)
        return get_wsd_schedule(
            optimizer, warmup, decay, num_stable_steps=stable, decay_type="linear", last_epoch=done - 1
        )
    make = {"linear": get_linear_schedule_with_warmup, "cosine": get_cosine_schedule_with_warmup}[kind]
    return make(optimizer, warmup, steps, last_epoch=done - 1)
