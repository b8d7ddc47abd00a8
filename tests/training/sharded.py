"""Run as one process of a group: what each holds, computes, gathers and keeps under FSDP2, as a file for the tests."""

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from debater_search.encoder.model import DeliberationModel
from debater_search.training import checkpoints
from debater_search.training.averaging import average_weights
from debater_search.training.run import Run
from debater_search.training.settings import TrainingSettings
from debater_search.training.steps import StepOptions


def size(tensors: Any) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def facts_of(settings: TrainingSettings, folder: Path) -> dict[str, Any]:
    """A step with gradients cached, one without, and a checkpoint."""
    placed: list[Any] = []
    with patch.object(DeliberationModel, "to", lambda model, *where: placed.append(where) or model):
        run = Run(settings, folder, "cpu", False)
    parameters = list(run.student.model.parameters())
    assert all(isinstance(parameter, DTensor) for parameter in parameters)
    passes: list[int] = []
    hook = run.student.model.register_forward_hook(lambda *_: passes.append(passes.pop() + 1))
    own: list[int] = []  # passes that this process's share alone would take
    even = run.parallel.even
    run.parallel.even = lambda chunks: own.append(len(chunks)) or even(chunks)
    phase = run._main_phase(0)
    for step, cache_tokens in enumerate((40, None)):
        passes.append(0)
        phase.work(phase.read(step), StepOptions(1, run.parallel, cache_tokens))
    hook.remove()
    phase.optimizer.step()

    gathered, kept = Counter[str](), 0
    full, whole = DTensor.full_tensor, checkpoints._whole

    def counted(tensor: DTensor, **more: Any) -> Tensor:
        found = full(tensor, **more)
        gathered["bytes"] += found.nbytes
        return found

    def watched(*args: Any, **more: Any) -> Any:
        nonlocal kept
        found = whole(*args, **more)
        kept += size((found or {}).values())
        return found

    with patch.object(DTensor, "full_tensor", counted), patch.object(checkpoints, "_whole", watched):
        checkpoints.write_checkpoint(
            folder / "checkpoint-1", run.student, {"config": {}}, step=1, optimizer=phase.optimizer,
            parallel=run.parallel,
        )  # fmt: skip
    average_with_the_first_checkpoint(run, folder)
    return {
        "placed": len(placed),
        "all": size(parameters),
        "held": size(parameter.to_local() for parameter in parameters),
        "learns": size(parameter for parameter in parameters if parameter.requires_grad),
        "own": own,
        "passes": passes,
        "gathered": gathered["bytes"],
        "kept": kept,
    }


def average_with_the_first_checkpoint(run: Run, folder: Path) -> None:
    """Other weights as checkpoint-2, and the mean of both checkpoints, made while processes share them, as mean."""
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in run.student.model.parameters():
            if parameter.requires_grad:
                drawn = torch.randn(parameter.shape)
                parameter.add_(distribute_tensor(drawn, parameter.device_mesh, parameter.placements))

    def save(name: str) -> None:
        checkpoints.write_checkpoint(
            folder / name, run.student, {"config": {}}, step=2, optimizer=None, parallel=run.parallel
        )

    save("checkpoint-2")
    average_weights(run.student, [folder / "checkpoint-1"])
    save("mean")


def main(folder: Path) -> None:
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    for name, settings in json.loads((folder / "jobs.json").read_text()).items():
        facts = facts_of(TrainingSettings.model_validate(settings), folder / name)
        (folder / f"{name}-{dist.get_rank()}.json").write_text(json.dumps(facts))
    dist.barrier()
    os._exit(0)  # as a worker does: a group whose peers are gone may abort in its destructors


if __name__ == "__main__":
    main(Path(sys.argv[1]))
