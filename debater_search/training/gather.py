"""Tensors across the processes that train together; with one process everything is returned as it is."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather
from torch.nn.functional import pad


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
    dist.all_gather_into_tensor(each, count)
    counts: list[int] = each.tolist()
    padded = pad(rows, (*(0, 0) * (rows.dim() - 1), 0, max(counts) - len(rows)))
    parts = all_gather(padded)
    first = sum(counts[: dist.get_rank()])
    return torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)]), first, sum(counts)


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean of each value over the processes, without gradients."""
    if world_size() == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / world_size()


def agreed(number: int, *, least: bool = False) -> int:
    """The largest (or `least`) of the processes' numbers."""
    if world_size() == 1:
        return number
    shared = torch.tensor([number], device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.all_reduce(shared, dist.ReduceOp.MIN if least else dist.ReduceOp.MAX)
    return int(shared.item())
