"""The processes that train together: who this one is, and how gradients are added up, once per optimizer step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from debater_search.training.chunks import Chunk
from debater_search.training.gather import agreed, world_size
from debater_search.training.student import Student


class Parallel:
    """One process, DDP (each process holds the whole model) or FSDP2 (each holds a share of it).

    Wraps the student's model, so that gradients are averaged over the processes.
    """

    def __init__(self, student: Student, *, sharded: bool = False) -> None:
        """`sharded`: the student's model was spread over the processes by `shard`."""
        self.processes = world_size()
        self.rank = dist.get_rank() if self.processes > 1 else 0
        self.student, self.sharded = student, sharded
        self.ddp: DistributedDataParallel | None = None
        if self.processes > 1 and not sharded:
            self.ddp = DistributedDataParallel(student.model, broadcast_buffers=False, gradient_as_bucket_view=True)
            student.wrap(self.ddp)

    @property
    def is_main(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    @contextmanager
    def reducing(self, *, now: bool) -> Iterator[None]:
        """Inside, gradients of a backward pass are averaged over the processes `now`, or kept until a later one."""
        if self.sharded:
            self.student.model.set_requires_gradient_sync(now)  # type: ignore[operator]
        with nullcontext() if now or self.ddp is None else self.ddp.no_sync():
            yield

    def backward(self, outputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """Backward through several forward passes, each parameter's gradient averaged over the processes once."""
        if not self.sharded:
            torch.autograd.backward(list(outputs), list(gradients))
            return
        for number, (output, gradient) in enumerate(zip(outputs, gradients, strict=True)):
            with self.reducing(now=number == len(outputs) - 1):
                output.backward(gradient)

    def even(self, chunks: list[Chunk]) -> list[Chunk]:
        """As many chunks on every process where a forward pass is something that all take part in (FSDP2)."""
        if not self.sharded:
            return chunks
        missing = agreed(len(chunks)) - len(chunks)
        idle = Chunk(chunks[0].positions[:1], chunks[0].kind, 0, counts=False)
        return [idle] * missing + chunks

    def wait(self) -> None:
        """Until all processes are here."""
        if self.processes > 1:
            dist.barrier()


def mesh_for(kind: str) -> DeviceMesh | None:
    """The processes that parameters are spread over; None where each process holds the whole model.

    All processes ask together.
    """
    if kind != "fsdp" or world_size() == 1:
        return None
    return init_device_mesh("cuda" if dist.get_backend() == "nccl" else "cpu", (dist.get_world_size(),))


def shard(model: nn.Module, compute: torch.dtype, mesh: DeviceMesh) -> None:
    """Share a model's parameters among the processes: transformer blocks one by one, then what is around them.

    The model may lie in memory: a card then holds this process's shares and one whole block at a time. Parameters are
    gathered in the number type that they are multiplied in; gradients are added up in float32.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32)
    for block in blocks(model):
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)


def blocks(model: nn.Module) -> list[nn.Module]:
    """The transformer blocks of a model, whatever its family calls them.

    They are the modules in a list that have parts of their own, and are not inside another block.
    """
    found: dict[nn.Module, None] = {}  # a layer may stand in several places
    for child in model.children():
        is_list = isinstance(child, nn.ModuleList | nn.ModuleDict)
        if isinstance(model, nn.ModuleList) and not is_list and any(child.children()):
            found[child] = None
        else:
            found.update(dict.fromkeys(blocks(child)))
    return list(found)
