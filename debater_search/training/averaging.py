"""The mean of the last checkpoints' weights, which is often better than the last ones (arXiv 1803.05407)."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from debater_search.errors import InvalidError
from debater_search.training.checkpoints import local_copy
from debater_search.training.student import Student

log = logging.getLogger(__name__)


@torch.no_grad()
def average_weights(student: Student, checkpoints: Sequence[Path]) -> None:
    """Put the mean of a student's weights and those of `checkpoints` of the same run into it, in place.

    All processes call it. Raises InvalidError for a checkpoint of another model.
    """
    own = _own_weights(student)
    saved = [_saved_weights(folder) for folder in checkpoints]
    for folder, weights in zip(checkpoints, saved, strict=True):
        if any(name not in own or own[name].shape != tensor.shape for name, tensor in weights.items()):
            raise InvalidError(f"The weights in {folder} are another model's.", "Set average_last: 1, or start over.")
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


def _own_weights(student: Student) -> dict[str, Tensor]:
    """What a checkpoint holds, by its names there; the tensors are the model's own."""
    from peft import get_peft_model_state_dict

    backbone = student.model.backbone
    if hasattr(backbone, "peft_config"):
        return dict(get_peft_model_state_dict(backbone, save_embedding_layers=False))
    return dict(backbone.state_dict())


def _saved_weights(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for path in [*sorted(folder.glob("adapter_model.safetensors")), *sorted(folder.glob("model*.safetensors"))]:
        found |= load_file(path)
    return found
