"""Checkpoints of a run: written whole or not at all, found again when a run resumes. Safetensors and JSON only."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from debater_search import __version__
from debater_search.data.training_sources import is_hub_name
from debater_search.encoder.card import CARD, is_card
from debater_search.encoder.loading.files import write_json
from debater_search.encoder.spec import CHECKPOINT_FILE
from debater_search.errors import InvalidError, UnavailableError
from debater_search.files import atomic_folder
from debater_search.training.batches import TrainingData
from debater_search.training.parallel import Parallel
from debater_search.training.run_folder import STATE_FILE
from debater_search.training.settings import TrainingSettings
from debater_search.training.student import Student

log = logging.getLogger(__name__)

OPTIMIZER_FILE, FINAL_FOLDER = "optimizer.safetensors", ".final"


def describe_run(settings: TrainingSettings, data: TrainingData) -> dict[str, Any]:
    """What made a checkpoint: config, data, versions."""
    versions = {name: version(name) for name in ("torch", "transformers", "peft")}
    return {
        "config": settings.model_dump(mode="json"),
        "data": {name: rows.fingerprint for name, rows in zip(data.names, data.sets, strict=True)},
        "rows": {name: len(rows) for name, rows in zip(data.names, data.sets, strict=True)},
        "hub_data": [rows.path for rows in settings.data if is_hub_name(rows.path)],
        "versions": {"debater-search": __version__, **versions},
    }


def write_checkpoint(
    folder: Path,
    student: Student,
    provenance: dict[str, Any],
    *,
    step: int,
    optimizer: Optimizer | None,
    parallel: Parallel | None = None,
    state: dict[str, Any] | None = None,
) -> None:
    """Write a checkpoint beside its place and rename it into it; with `optimizer` training can go on from it.

    All processes call it, the main one writes. `state` is the rest of what resuming needs. Raises UnavailableError
    if the disk is full or fails; earlier checkpoints stay.
    """
    writes = parallel is None or parallel.is_main
    sharded = parallel is not None and parallel.sharded
    weights = _whole(_saved_weights(student), keep=writes) if sharded else None
    moments = _whole(_optimizer_tensors(optimizer), keep=writes) if optimizer is not None else None
    if writes:
        with _told_of_the_disk(folder), atomic_folder(folder) as unfinished:
            student.save(unfinished, provenance={**provenance, "step": step}, weights=weights)
            if moments is not None:
                save_file(moments, unfinished / OPTIMIZER_FILE)
                write_json(unfinished / STATE_FILE, {"step": step, "config": provenance["config"], **(state or {})})
    if parallel is not None:
        parallel.wait()


@contextmanager
def _told_of_the_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = (
            error.errno if isinstance(error, OSError) else next(iter(re.findall(r"os error (\d+)", str(error))), None)
        )
        if number is None:
            raise
        raise UnavailableError(
            f"{folder} cannot be written: {os.strerror(int(number))}.",
            "The checkpoints before it are whole: free some space, then `resume`.",
        ) from error


def publish(output: Path, student: Student, provenance: dict[str, Any], *, step: int, parallel: Parallel) -> None:
    """Put the final checkpoint into OUTPUT itself, `debater.json` last: it marks the run as finished.

    The model of a run that was finished before and has gone on stays until then, and goes at once.
    """
    final = output / FINAL_FOLDER
    write_checkpoint(final, student, provenance, step=step, optimizer=None, parallel=parallel)
    if parallel.is_main:
        marker = final / CHECKPOINT_FILE
        if (output / CARD).exists() and not is_card(output / CARD):
            (final / CARD).unlink(missing_ok=True)  # somebody described the run in their own words
        (output / CHECKPOINT_FILE).unlink(missing_ok=True)  # of the model before: never beside the files of this one
        for path in [*(p for p in final.iterdir() if p != marker), marker]:
            path.replace(output / path.name)
        final.rmdir()
    parallel.wait()


def restore_weights(checkpoint: Path, student: Student) -> None:
    """Put a checkpoint's weights into a student that was made trainable in the same way.

    Raises InvalidError as `read_weights`.
    """
    from peft import set_peft_model_state_dict

    backbone, saved = student.model.backbone, read_weights(checkpoint, student)
    if hasattr(backbone, "peft_config"):
        set_peft_model_state_dict(backbone, saved)
    else:
        backbone.load_state_dict(saved, strict=False)  # tied weights are saved once


def read_weights(checkpoint: Path, student: Student) -> dict[str, torch.Tensor]:
    """The weights in a checkpoint of a student that was made trainable in the same way.

    Raises InvalidError if they do not fit: the config makes another model.
    """
    adapted = hasattr(student.model.backbone, "peft_config")
    own, saved = own_weights(student), dict[str, torch.Tensor]()
    for path in sorted(checkpoint.glob("adapter_model.safetensors" if adapted else "model*.safetensors")):
        saved |= load_file(path)
    if not saved or any(name not in own or own[name].shape != tensor.shape for name, tensor in saved.items()):
        raise InvalidError(
            f"The weights in {checkpoint} do not fit the model that this config makes.",
            "Go on with the model, thinking_steps and lora of before, or start over with `force`.",
        )
    return saved


def own_weights(student: Student) -> dict[str, torch.Tensor]:
    """What a checkpoint holds of a student, by the names that it has there; the tensors are the model's own."""
    from peft import get_peft_model_state_dict

    backbone = student.model.backbone
    if hasattr(backbone, "peft_config"):
        return dict(get_peft_model_state_dict(backbone, save_embedding_layers=False))
    return dict(backbone.state_dict())


def restore_optimizer(checkpoint: Path, optimizer: Optimizer) -> None:
    """Put AdamW's moments and counts back; each process takes its share where parameters are shared."""
    tensors = load_file(checkpoint / OPTIMIZER_FILE)
    if not tensors:
        return
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = optimizer.state_dict()
    state["state"] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        parameter = parameters[int(number)]
        if isinstance(parameter, DTensor) and tensor.shape == parameter.shape:
            tensor = distribute_tensor(tensor.to(parameter.device), parameter.device_mesh, parameter.placements)
        state["state"].setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict(state)


def _optimizer_tensors(optimizer: Optimizer) -> dict[str, torch.Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, values in state.items() for name, value in values.items()}


def _saved_weights(student: Student) -> dict[str, torch.Tensor]:
    """The tensors of a backbone that a checkpoint holds: an adapter's, or all."""
    from peft import get_peft_model_state_dict

    backbone = student.model.backbone
    tensors: dict[str, torch.Tensor] = backbone.state_dict()
    if not hasattr(backbone, "peft_config"):
        return tensors
    saved = get_peft_model_state_dict(backbone, state_dict=tensors, save_embedding_layers=False)  # under other names
    wanted = {id(tensor) for tensor in saved.values()}
    return {name: tensor for name, tensor in tensors.items() if id(tensor) in wanted}


def _whole(tensors: dict[str, torch.Tensor], *, keep: bool) -> dict[str, torch.Tensor] | None:
    """Copies in memory of tensors that processes may share, one after the other; all ask, and those that `keep` get."""
    copies: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if keep:
            copies[name] = local_copy(tensor)
        elif isinstance(tensor, DTensor):
            tensor.full_tensor()  # takes part
    return copies if keep else None


def local_copy(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in this process's memory, also of a tensor that processes share; all of them must ask."""
    tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return tensor.detach().cpu().contiguous().clone()
