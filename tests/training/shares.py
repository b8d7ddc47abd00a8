"""Run as one process of a group: the loss of uneven shares of a batch, as a file that a test compares."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from debater_search.training.loss import DeliberationLoss

SHARES = {
    "uneven": ((3, 2), (1, 4)),
    "no negatives on one": ((3, 2), (0, 4)),
    "no negatives": ((4, 1), (0, 0)),
    "no queries on the first": ((0, 5), (2, 1)),
    "no queries on the last": ((5, 0), (0, 3)),
}
"""Queries and negatives of each process."""


def batch(queries: int, negatives: int) -> list[torch.Tensor]:
    """Queries, positives and negatives of the whole batch."""
    generator = torch.Generator().manual_seed(7)
    shapes = ((queries, 8), (queries, 3, 8), (negatives, 3, 8))
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def own_rows(rows: torch.Tensor, counts: Sequence[int], rank: int) -> torch.Tensor:
    """The rows of one process."""
    return rows.split(list(counts))[rank].clone().requires_grad_()


def loss_of(name: str) -> DeliberationLoss:
    """Half of the shares are contrasted both ways."""
    return DeliberationLoss(symmetric="queries" in name or name == "uneven")


def main(folder: Path) -> None:
    dist.init_process_group("gloo")
    rank, processes, out = dist.get_rank(), dist.get_world_size(), {}
    for name, (queries, negatives) in SHARES.items():
        whole = batch(sum(queries), sum(negatives))
        mine = [own_rows(rows, counts, rank) for rows, counts in zip(whole, (queries, queries, negatives), strict=True)]
        value = loss_of(name)(mine[0], mine[1], mine[2] if negatives[rank] else None)
        value.backward()
        out[f"{name}.value"] = value.detach()
        for number, rows in enumerate(mine):
            out[f"{name}.{number}"] = torch.zeros_like(rows) if rows.grad is None else rows.grad / processes
    save_file(out, folder / f"{rank}.safetensors")
    dist.barrier()
    os._exit(0)  # as a worker does: a group whose peers are gone may abort in its destructors


if __name__ == "__main__":
    main(Path(sys.argv[1]))
