"""How many tokens a chunk may have on this card: lowered where memory runs out, before the first step."""

import logging

import torch

from debater_search.encoder import Encoder
from debater_search.errors import DebaterError
from debater_search.training.chunks import Chunk, cut
from debater_search.training.gather import agreed
from debater_search.training.parallel import Parallel
from debater_search.training.steps import Prepared, chunk_tokens

log = logging.getLogger(__name__)

LEAST_TOKENS = 256
UNCHUNKED = 2**40
"""Stands for no gradient cache where processes compare their budgets."""


def fitting_budget(encoder: Encoder, batch: Prepared, budget: int | None, parallel: Parallel) -> int | None:
    """`budget` (None: no gradient cache), or as much less as the first batch needs to fit into the memory of all cards.

    Raises DebaterError where not even the smallest chunk fits. Under FSDP2 every pass is one of all processes, so that
    one alone cannot try: there the budget stays.
    """
    if not has_limited_memory(encoder) or parallel.sharded:
        return budget
    found = budget
    while not _fits(encoder, batch, found):
        found = chunk_tokens(encoder) // 2 if found is None else found // 2
        if found < LEAST_TOKENS:
            raise DebaterError(
                "Memory runs out in the first step, even in the smallest chunks.",
                "Lower max_length, set gradient_checkpointing: true, or use parallel: fsdp on several cards.",
            )
    found_by_all = agreed(found or UNCHUNKED, least=True)
    found = None if found_by_all == UNCHUNKED else found_by_all
    if found != budget:
        log.warning("Memory ran out in the first step: going on in chunks of %s tokens (gradient_cache).", f"{found:,}")
    return found


def has_limited_memory(encoder: Encoder) -> bool:
    """Whether the device says when its memory is full, instead of being ended by its operating system."""
    return encoder.device.type == "cuda"


def _fits(encoder: Encoder, batch: Prepared, budget: int | None) -> bool:
    """Whether gradients of one chunk (of the whole share, without a cache) can be made in this process alone."""
    chunks = cut(batch.texts, budget or chunk_tokens(encoder))
    tried = chunks if budget is None else [max(chunks, key=lambda chunk: chunk.tokens)]
    module, encoder.module = encoder.module, encoder.model  # not what wraps it: other processes may try other sizes
    try:
        torch.stack([_sum(encoder, batch, chunk) for chunk in tried]).sum().backward()
    except torch.OutOfMemoryError:
        return False
    finally:
        encoder.module = module
        encoder.model.zero_grad(set_to_none=True)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return True


def _sum(encoder: Encoder, batch: Prepared, chunk: Chunk) -> torch.Tensor:
    return encoder.views([batch.texts[position].ids for position in chunk.positions], chunk.kind).sum()
