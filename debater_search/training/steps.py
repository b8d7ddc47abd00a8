"""One optimizer step's worth of gradients, with or without gradient caching, and the warm start's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from debater_search.encoder import Encoder
from debater_search.encoder.batching import token_batches
from debater_search.training.batches import Batch
from debater_search.training.loss import DeliberationLoss, total

CHUNK_TOKENS = 16384
"""Padded tokens of one forward pass where gradients are not cached: cuts padding, not memory."""


@dataclass(frozen=True)
class Text:
    """A tokenized text and how it is read."""

    ids: list[int]
    kind: str


@dataclass(frozen=True)
class StepFacts:
    """What a step is reported by."""

    loss: float
    contrast: float
    distill: float | None
    tokens: int


def train_step(encoder: Encoder, loss: DeliberationLoss, batch: Batch, *, cache_tokens: int | None = None) -> StepFacts:
    """Accumulate the gradients of one batch into the encoder's parameters.

    With `cache_tokens` the batch is encoded in chunks of that many tokens whose activations are dropped and made again
    (gradient caching, arXiv 2101.06983): same gradients, memory of one chunk.
    """
    texts = [Text(ids, "query") for ids in encoder.token_ids(batch.queries, "query", instruction="")]
    texts += [Text(ids, "document") for ids in encoder.token_ids(batch.positives + batch.negatives, "document")]
    queries = len(batch.queries)

    def objective(views: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        documents = torch.stack(views[queries:])  # [C, M, D]
        negatives = documents[queries:] if batch.negatives else None
        return loss.terms(torch.stack(views[:queries])[:, -1], documents[:queries], negatives)

    chunks = chunked(texts, cache_tokens or CHUNK_TOKENS)
    backward = _backward_cached if cache_tokens else _backward
    contrast, distill = backward(encoder, texts, chunks, objective)
    return StepFacts(
        loss=total(contrast, distill).item(),
        contrast=contrast.item(),
        distill=None if distill is None else distill.item(),
        tokens=sum(len(text.ids) for text in texts),
    )


def warm_step(encoder: Encoder, teacher: Encoder, texts: Sequence[str], length: int, views: str) -> StepFacts:
    """Gradients of the warm start: thinking steps learn the base model's own embedding of the same text.

    1 - cosine, plus the mean squared error between the batch's similarity matrices: each text alone, and their order.
    """
    cut = cut_documents(encoder, texts, length)
    student = normalize(encoder.views(cut, "document"), dim=-1)  # [B, M, D]
    with torch.no_grad():
        target = normalize(teacher.views(cut_documents(teacher, texts, length), "document")[:, -1], dim=-1)
    taught = range(student.shape[1]) if views == "all" else [student.shape[1] - 1]
    apart = torch.stack([1 - (student[:, i] * target).sum(-1).mean() for i in taught]).mean()
    among = target @ target.T
    order = torch.stack([mse_loss(student[:, i] @ student[:, i].T, among) for i in taught]).mean()
    loss = apart + order
    loss.backward()
    return StepFacts(loss.item(), apart.item(), order.item(), sum(len(ids) for ids in cut))


def chunked(texts: Sequence[Text], budget: int) -> list[list[int]]:
    """Positions of texts, cut into forward passes of one kind and at most `budget` padded tokens."""
    chunks: list[list[int]] = []
    for kind in ("query", "document"):
        at = [i for i, text in enumerate(texts) if text.kind == kind]
        chunks += [[at[row] for row in rows] for rows in token_batches([len(texts[i].ids) for i in at], budget)]
    return chunks


Objective = Callable[[list[Tensor]], tuple[Tensor, Tensor | None]]


def _backward(
    encoder: Encoder, texts: list[Text], chunks: list[list[int]], objective: Objective
) -> tuple[Tensor, Tensor | None]:
    views: list[Tensor] = [torch.empty(0)] * len(texts)
    for chunk in chunks:
        for position, view in zip(chunk, _views(encoder, texts, chunk), strict=True):
            views[position] = view
    contrast, distill = objective(views)
    total(contrast, distill).backward()
    return contrast.detach(), None if distill is None else distill.detach()


def _backward_cached(
    encoder: Encoder, texts: list[Text], chunks: list[list[int]], objective: Objective
) -> tuple[Tensor, Tensor | None]:
    leaves: list[Tensor] = [torch.empty(0)] * len(texts)
    seeds = torch.randint(2**62, (len(chunks),)).tolist()  # one a chunk, so that dropout is the same both times
    with torch.no_grad():
        for seed, chunk in zip(seeds, chunks, strict=True):
            torch.manual_seed(seed)
            for position, view in zip(chunk, _views(encoder, texts, chunk), strict=True):
                leaves[position] = view.detach().requires_grad_()
    contrast, distill = objective(leaves)
    total(contrast, distill).backward()
    for seed, chunk in zip(seeds, chunks, strict=True):
        torch.manual_seed(seed)
        gradients = [leaves[position].grad for position in chunk]
        torch.autograd.backward(list(_views(encoder, texts, chunk)), gradients)
    return contrast.detach(), None if distill is None else distill.detach()


def _views(encoder: Encoder, texts: list[Text], chunk: list[int]) -> Tensor:
    return encoder.views([texts[position].ids for position in chunk], texts[chunk[0]].kind)


def cut_documents(encoder: Encoder, texts: Sequence[str], length: int) -> list[list[int]]:
    """Token ids of documents under a limit of the warm start's own."""
    length = min(length, encoder.spec.document_length)
    return encoder.spec.template.document_ids(encoder.tokenizer, texts, length)
