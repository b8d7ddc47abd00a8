"""The mean of the last checkpoints' weights, which is often better than the last ones (arXiv 1803.05407)."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor, distribute_tensor

from debater_search.training.checkpoints import local_copy, own_weights, read_weights
from debater_search.training.student import Student

log = logging.getLogger(__name__)


@torch.no_grad()
def average_weights(student: Student, checkpoints: Sequence[Path]) -> None:
    """Put the mean of a student's weights and those of `checkpoints` of the same run into it, in place.

    All processes call it. Raises InvalidError for a checkpoint of another model.
    """
    own = own_weights(student)
    saved = [read_weights(folder, student) for folder in checkpoints]
    for name in saved[0] if saved else ():
        tensor = own[name]
        if not tensor.is_floating_point():
            continue
        mean = local_copy(tensor).float()
        for weights in saved:
            mean += weights[name].float()
        mean /= len(saved) + 1
        if isinstance(tensor, DTensor):
            mean = distribute_tensor(mean.to(tensor.device), tensor.device_mesh, tensor.placements)
        tensor.copy_(mean)
    log.info("The final checkpoint is the mean of the last %d.", len(saved) + 1)
