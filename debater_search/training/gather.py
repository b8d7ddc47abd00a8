"""Tensors across the processes that train together; with one process everything is returned as it is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import pad


class _AllGather(torch.autograd.Function):
    """The rows of all processes, as many of each; a row's gradient is the sum of all processes' gradients."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.count = len(rows)
        gathered = rows.new_empty((world_size() * len(rows), *rows.shape[1:]))
        _all_gather(gathered, rows.contiguous())
        return gathered

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        first = dist.get_rank() * ctx.count
        return total[first : first + ctx.count]


def _all_gather(gathered: Tensor, own: Tensor) -> None:
    gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor  # its name before torch 2.13
    gather(gathered, own)


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gathered(rows: Tensor) -> tuple[Tensor, int, int]:
    """The rows of all processes in their order, where this one's begin among them, and how many there are.

    Processes may give different numbers of rows. Gradients flow back to the process that a row came from.
    """
    if world_size() == 1:
        return rows, 0, len(rows)
    count = torch.tensor([len(rows)], device=rows.device)
    each = torch.empty(world_size(), dtype=count.dtype, device=rows.device)
    _all_gather(each, count)
    counts: list[int] = each.tolist()
    padded = pad(rows, (*(0, 0) * (rows.dim() - 1), 0, max(counts) - len(rows)))
    parts = _AllGather.apply(padded).view(world_size(), *padded.shape)
    first = sum(counts[: dist.get_rank()])
    return torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)]), first, sum(counts)


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean of each value over the processes, without gradients."""
    if world_size() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / world_size()


def of_first(value: Any) -> Any:
    """The first process's value, which JSON could hold."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def agreed(number: int, *, least: bool = False) -> int:
    """The largest (or `least`) of the processes' numbers."""
    if world_size() == 1:
        return number
    shared = torch.tensor([number], device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(shared, dist.ReduceOp.MIN if least else dist.ReduceOp.MAX)
    return int(shared.item())


@contextmanager
def in_turn() -> Iterator[None]:
    """Inside is one process of each machine at a time, in the order of their numbers there."""
    own = int(os.environ.get("LOCAL_RANK", "0"))
    turns = agreed(int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    for _ in range(own):
        dist.barrier()
    yield
    for _ in range(own, turns):
        dist.barrier()
