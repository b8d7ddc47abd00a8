"""One optimizer step's worth of gradients, with or without gradient caching, and the warm start's."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from debater_search.encoder import Encoder
from debater_search.training.batches import Batch
from debater_search.training.chunks import Chunk, Text, cut, padding
from debater_search.training.gather import gathered, mean_over_processes, world_size
from debater_search.training.loss import DeliberationLoss, Labels, Terms
from debater_search.training.parallel import Parallel

CHUNK_TOKENS = 16384
"""Padded tokens of one forward pass where gradients are not cached: cuts padding, not memory."""


@dataclass(frozen=True)
class StepFacts:
    """What a step is reported by, over all processes."""

    loss: float
    terms: dict[str, float]
    tokens: int
    padding: float
    """Share of the tokens that the model multiplied which were padding."""


@dataclass(frozen=True)
class Prepared:
    """A batch as token ids: queries, positives, negatives."""

    texts: list[Text]
    queries: int
    labels: Labels
    place: str


def prepare(encoder: Encoder, batch: Batch) -> Prepared:
    """Tokenize a batch; a thread may do it while the step before is computed."""
    texts = [Text(ids, "query") for ids in encoder.token_ids(batch.queries, "query", instruction="")]
    texts += [Text(ids, "document") for ids in encoder.token_ids(batch.positives + batch.negatives, "document")]
    labels = Labels(
        same_query=torch.tensor(batch.same_query),
        same_text=torch.tensor(batch.same_text),
        owners=torch.tensor(batch.owners, dtype=torch.long),
        positive_scores=torch.tensor(batch.positive_scores),
        negative_scores=torch.tensor(batch.negative_scores),
    )
    return Prepared(texts, len(batch.queries), labels.to(encoder.device), batch.place)


def train_step(
    encoder: Encoder,
    loss: DeliberationLoss,
    batch: Prepared,
    *,
    seed: int,
    cache_tokens: int | None = None,
    parallel: Parallel | None = None,
) -> StepFacts:
    """Accumulate the gradients of one batch into the encoder's parameters, averaged over the processes.

    With `cache_tokens` the batch is encoded in chunks of that many tokens whose activations are dropped and made again
    (gradient caching, arXiv 2101.06983): same gradients, memory of one chunk. Dropout is a function of `seed` and the
    chunk's number.
    """
    parallel = parallel or Parallel(encoder)
    chunks = parallel.even(cut(batch.texts, cache_tokens or CHUNK_TOKENS))
    # Only FSDP needs as many chunks on every process; those it adds are encoded and count for nothing.
    leaves: list[Tensor] = [torch.empty(0)] * len(batch.texts)
    kept: list[Tensor] = []
    for number, chunk in enumerate(chunks):
        with torch.set_grad_enabled(cache_tokens is None), parallel.reducing(now=number == len(chunks) - 1):
            views = _views(encoder, batch.texts, chunk, seed + number)
        kept += [views] if cache_tokens is None else []
        for position, view in zip(chunk.positions, views.detach(), strict=False):
            leaves[position] = view.requires_grad_()
    terms = _objective(loss, leaves, batch)
    terms.total.backward()
    gradients = [_gradient(chunk, leaves) for chunk in chunks]
    if cache_tokens is None:
        parallel.backward(kept, gradients)
    else:
        for number, (chunk, gradient) in enumerate(zip(chunks, gradients, strict=True)):
            with parallel.reducing(now=number == len(chunks) - 1):
                _views(encoder, batch.texts, chunk, seed + number).backward(gradient)
    return _facts(terms, batch, chunks, packed=encoder.model.packs)


def _objective(loss: DeliberationLoss, leaves: list[Tensor], batch: Prepared) -> Terms:
    documents = torch.stack(leaves[batch.queries :])  # [Q + K, M, D]
    queries = torch.stack(leaves[: batch.queries])[:, -1]
    return loss.terms(queries, documents[: batch.queries], documents[batch.queries :], batch.labels)


def _views(encoder: Encoder, texts: Sequence[Text], chunk: Chunk, seed: int) -> Tensor:
    torch.manual_seed(seed)  # dropout is the same whenever this chunk is encoded
    return encoder.views([texts[position].ids for position in chunk.positions], chunk.kind)


def _gradient(chunk: Chunk, leaves: list[Tensor]) -> Tensor:
    gradients = torch.stack([_required(leaves[position].grad) for position in chunk.positions])
    return gradients if chunk.counts else torch.zeros_like(gradients)


def _required(gradient: Tensor | None) -> Tensor:
    assert gradient is not None  # every view takes part in the loss
    return gradient


def _facts(terms: Terms, batch: Prepared, chunks: Sequence[Chunk], *, packed: bool) -> StepFacts:
    names = [name for name, _ in terms]
    tokens = sum(len(text.ids) for text in batch.texts)
    padded = tokens if packed else sum(chunk.tokens for chunk in chunks)
    values = torch.stack([*(value.detach().float() for _, value in terms)])
    shared = mean_over_processes(torch.cat([values, values.new_tensor([tokens, padded])])).tolist()
    *means, tokens_each, padded_each = shared
    by_name = dict(zip(names, means, strict=True))
    total = by_name.pop("total")
    return StepFacts(total, by_name, round(tokens_each * world_size()), padding(tokens_each, padded_each))


def warm_step(
    encoder: Encoder, teacher: Encoder, texts: Sequence[str], length: int, views: str, parallel: Parallel
) -> StepFacts:
    """Gradients of the warm start: thinking steps learn the base model's own embedding of the same text.

    1 - cosine, plus the mean squared error between the batch's similarity matrices: each text alone, and their order.
    """
    ids = cut_documents(encoder, texts, length)
    with parallel.reducing(now=True):
        student = normalize(encoder.views(ids, "document"), dim=-1)  # [B, M, D]
    with torch.no_grad():
        target = normalize(teacher.views(cut_documents(teacher, texts, length), "document")[:, -1], dim=-1)
    student, target = gathered(student)[0], gathered(target)[0]  # the whole loss on every process
    taught = range(student.shape[1]) if views == "all" else [student.shape[1] - 1]
    apart = torch.stack([1 - (student[:, i] * target).sum(-1).mean() for i in taught]).mean()
    among = target @ target.T
    order = torch.stack([mse_loss(student[:, i] @ student[:, i].T, among) for i in taught]).mean()
    (apart + order).backward()
    tokens = sum(len(row) for row in ids)
    padded = len(ids) * max(len(row) for row in ids)
    terms = {"distance": apart.item(), "order": order.item()}
    return StepFacts(sum(terms.values()), terms, tokens * world_size(), padding(tokens, padded))


def cut_documents(encoder: Encoder, texts: Sequence[str], length: int) -> list[list[int]]:
    """Token ids of documents under a limit of the warm start's own."""
    length = min(length, encoder.spec.document_length)
    return encoder.spec.template.document_ids(encoder.tokenizer, texts, length)
