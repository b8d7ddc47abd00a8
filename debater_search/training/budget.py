"""How many tokens a chunk may have on this card: lowered where memory runs out, before the first step."""

import logging

import torch

from debater_search.errors import UnavailableError
from debater_search.training.batches import Batch
from debater_search.training.chunks import Chunk, cut
from debater_search.training.gather import agreed
from debater_search.training.parallel import Parallel
from debater_search.training.steps import chunk_tokens
from debater_search.training.student import Student

log = logging.getLogger(__name__)

LEAST_TOKENS = 256
UNCHUNKED = 2**40
"""Stands for no gradient cache where processes compare their budgets."""


def fitting_budget(student: Student, batch: Batch, budget: int | None, parallel: Parallel) -> int | None:
    """`budget` (None: no gradient cache), or as much less as the first batch needs to fit into the memory of all cards.

    Raises UnavailableError if not even the smallest chunk fits. Under FSDP2 all processes take part in every pass:
    one cannot try alone, and the budget stays as it is.
    """
    if not has_limited_memory(student) or parallel.sharded:
        return budget
    found = budget
    while not _fits(student, batch, found):
        found = chunk_tokens(student) // 2 if found is None else found // 2
        if found < LEAST_TOKENS:
            raise UnavailableError(
                "Memory runs out in the first step, even in the smallest chunks.",
                "Lower max_length, set gradient_checkpointing: true, or use parallel: fsdp on several cards.",
            )
    found_by_all = agreed(found or UNCHUNKED, least=True)
    found = None if found_by_all == UNCHUNKED else found_by_all
    if found != budget:
        log.warning(
            "Memory ran out in the first step: continuing in chunks of %s tokens (gradient_cache).", f"{found:,}"
        )
    return found


def has_limited_memory(student: Student) -> bool:
    """Whether the device says when its memory is full, instead of being ended by its operating system."""
    return student.device.type == "cuda"


def _fits(student: Student, batch: Batch, budget: int | None) -> bool:
    """Whether gradients of one chunk (of the whole share, without a cache) can be made in this process alone."""
    chunks = cut(batch.tokens, budget or chunk_tokens(student))
    tried = chunks if budget is None else [max(chunks, key=lambda chunk: chunk.tokens)]
    try:
        with student.unwrapped():  # other processes may try other sizes
            torch.stack([_sum(student, batch, chunk) for chunk in tried]).sum().backward()
    except torch.OutOfMemoryError:
        return False
    finally:
        student.model.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return True


def _sum(student: Student, batch: Batch, chunk: Chunk) -> torch.Tensor:
    return student.views([batch.tokens[position].ids for position in chunk.positions], chunk.kind).sum()
