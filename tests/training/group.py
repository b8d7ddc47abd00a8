"""Run as one process of a group: gradients of one step in many ways, each as a file that the tests compare."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.tensor import DTensor, distribute_tensor

from debater_search.training.checkpoints import local_copy
from debater_search.training.gather import of_first
from debater_search.training.run import Run
from debater_search.training.settings import TrainingSettings
from debater_search.training.steps import StepOptions


def one_step(settings: TrainingSettings, cache_tokens: int | None) -> tuple[float, Run, Counter[int]]:
    """Loss and gradients of the first batch, and how often the gradient of each parameter was reduced."""
    run = Run(settings, Path("unused"), "cpu", False)
    move_lora_from_zero(run)
    run.student.model.eval()
    phase = run._main_phase(0)
    with counted_reductions(run) as reductions:
        facts = phase.work(phase.read(0), StepOptions(1, run.parallel, cache_tokens))
    return facts.loss, run, reductions


def move_lora_from_zero(run: Run) -> None:
    generator = torch.Generator().manual_seed(1)
    for name, parameter in sorted(run.student.model.named_parameters()):
        if "lora_B" in name:
            drawn = torch.randn(parameter.shape, generator=generator) * 0.1
            if isinstance(parameter, DTensor):
                drawn = distribute_tensor(drawn, parameter.device_mesh, parameter.placements)
            with torch.no_grad():
                parameter.copy_(drawn)


@contextmanager
def counted_reductions(run: Run) -> Iterator[Counter[int]]:
    """Numbers of trainable parameters, each counted when its gradient is sent by DDP or by FSDP2."""
    trainable = [p for p in run.student.model.parameters() if p.requires_grad]
    seen: Counter[int] = Counter()
    if run.parallel.ddp is not None:
        numbers = {id(p): n for n, p in enumerate(trainable)}

        def hook(state: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
            seen.update(numbers[id(p)] for p in bucket.parameters())
            return allreduce_hook(state, bucket)

        run.parallel.ddp.register_comm_hook(None, hook)
        yield seen
        return
    import torch.distributed.fsdp._fully_shard._fsdp_param_group as groups

    reduce = groups.foreach_reduce
    numbers = {id(p): n for n, p in enumerate(trainable)}

    def counting(fsdp_params: list[Any], *rest: Any, **more: Any) -> Any:
        seen.update(numbers[id(p.sharded_param)] for p in fsdp_params)
        return reduce(fsdp_params, *rest, **more)

    with patch.object(groups, "foreach_reduce", counting):
        yield seen


def main(folder: Path) -> None:
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    assert of_first(dist.get_rank()) == 0
    for job in json.loads((folder / "jobs.json").read_text()):
        loss, run, reductions = one_step(TrainingSettings.model_validate(job["settings"]), job["cache_tokens"])
        gradients = {n: local_copy(p.grad) for n, p in run.student.model.named_parameters() if p.grad is not None}
        if run.parallel.is_main:
            facts = {"loss": loss, "reduced": sorted(reductions.items())}
            save_file(gradients, folder / f"{job['name']}.safetensors", {"facts": json.dumps(facts)})
    dist.barrier()
    os._exit(0)  # as a worker does: a group whose peers are gone may abort in its destructors


if __name__ == "__main__":
    main(Path(sys.argv[1]))
