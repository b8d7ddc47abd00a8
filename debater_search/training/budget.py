"""How many tokens a chunk may have on this card: lowered where memory runs out, before the first step."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.optim import Optimizer

from debater_search.errors import UnavailableError
from debater_search.training.batches import Batch
from debater_search.training.chunks import Chunk
from debater_search.training.gather import agreed
from debater_search.training.parallel import Parallel
from debater_search.training.steps import CHUNK_TOKENS, UNLIMITED, chunk_tokens, passes
from debater_search.training.student import Student

log = logging.getLogger(__name__)

LEAST_TOKENS = 256
MOMENTS = 2
"""AdamW's, of each parameter that learns."""


def fitting_budget(
    student: Student, longest: Callable[[], Batch], budget: int | None, parallel: Parallel, optimizer: Optimizer
) -> int | None:
    """`budget` (None: no gradient cache), or as much less as the `longest` batch needs to fit into all cards' memory.

    It is tried beside the optimizer's moments, which the first step will allocate.

    Raises UnavailableError if not even the smallest chunk fits. Under FSDP2 all processes take part in every pass:
    one cannot try alone, and the budget stays as it is.
    """
    if not has_limited_memory(student) or parallel.sharded:
        return budget
    batch, found = longest(), budget
    while not _fits(student, batch, found, optimizer):
        found = chunk_tokens(student) // 2 if found is None else found // 2
        if found < LEAST_TOKENS:
            raise UnavailableError(
                "Memory does not hold the longest batch, even in the smallest chunks of gradient_cache.",
                "Lower max_length, set gradient_checkpointing: true, or use parallel: fsdp on several cards.",
            )
    found_by_all = agreed(found or UNLIMITED, least=True)  # no cache is the largest budget
    found = None if found_by_all == UNLIMITED else found_by_all
    if found != budget:
        log.warning(
            "Memory does not hold the longest batch: continuing in chunks of %s tokens (gradient_cache).", f"{found:,}"
        )
    return found


@contextmanager
def told_of_memory(step: int, budget: int | None) -> Iterator[None]:
    """Raise UnavailableError, with what to lower, if the memory of a card runs out inside."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        fewer = f"below {budget:,}" if budget else f"to a number of tokens, for instance {CHUNK_TOKENS // 2:,}"
        raise UnavailableError(
            f"The memory of the GPU ran out at step {step + 1}.",
            f"Set gradient_cache {fewer}, or lower batch_size or max_length; then go on with `resume` and `force`.",
        ) from error


def has_limited_memory(student: Student) -> bool:
    """Whether the device says when its memory is full, instead of being ended by its operating system."""
    return student.device.type == "cuda"


def _fits(student: Student, batch: Batch, budget: int | None, optimizer: Optimizer) -> bool:
    """Whether gradients of one chunk (of the whole share, without a cache) can be made in this process alone."""
    chunks = passes(student, batch.tokens, budget)
    tried = chunks if budget is None else [max(chunks, key=lambda chunk: chunk.tokens)]
    moments: list[torch.Tensor] = []
    try:
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            moments += [torch.empty_like(parameter) for _ in range(MOMENTS) if parameter not in optimizer.state]
        with student.unwrapped():  # other processes may try other sizes
            torch.stack([_sum(student, batch, chunk) for chunk in tried]).sum().backward()
    except torch.OutOfMemoryError:
        return False
    finally:
        moments.clear()
        student.model.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return True


def _sum(student: Student, batch: Batch, chunk: Chunk) -> torch.Tensor:
    return student.views([batch.tokens[position].ids for position in chunk.positions], chunk.kind).sum()
