"""One optimizer step's worth of gradients, with or without gradient caching, and the warm start's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, normalize

from debater_search.encoder import Encoder
from debater_search.encoder.base import TorchEncoder
from debater_search.encoder.texts import encodable
from debater_search.training.batches import Batch
from debater_search.training.chunks import Chunk, Text, cut, padding
from debater_search.training.gather import gathered, mean_over_processes, world_size
from debater_search.training.loss import DeliberationLoss, Terms
from debater_search.training.parallel import Parallel
from debater_search.training.precision import exactly
from debater_search.training.student import Student

CHUNK_TOKENS, CHUNK_TOKENS_CPU = 16384, 4096
"""Padded tokens of one forward pass where gradients are not cached: cuts padding, not memory; on a CPU what its cache
holds is computed an eighth faster."""


LEAST_TOKENS_CUDA = 8192
"""Padded tokens of one forward pass on a GPU, which smaller ones do not fill."""


@dataclass(frozen=True)
class StepFacts:
    """What a step is reported by, over all processes."""

    loss: float
    terms: dict[str, float]
    tokens: int
    padding: float
    """Share of the tokens that the model multiplied which were padding."""


@dataclass(frozen=True)
class StepOptions:
    """How the gradients of a step are made."""

    seed: int
    """Dropout is a function of it and of the chunk's number."""
    parallel: Parallel
    cache_tokens: int | None = None
    """Tokens of a chunk whose activations are dropped and made again; None: all are kept."""
    scaled: Callable[[Tensor], Tensor] = lambda gradients: gradients
    """Gradients of views as the backward pass takes them: `LossScale.scaled`."""


def prepare(student: Student, batch: Batch, length: int) -> Batch:
    """Tokenize a batch, documents up to `length` tokens; a thread may do it while the step before is computed."""
    return replace(batch, tokens=tokenized(student, batch, length), labels=batch.labels.to(student.device))


def prepare_warm(student: Student, teacher: Encoder, texts: Sequence[str], length: int) -> Batch:
    """Tokenize texts for the warm start, as student and teacher read them."""
    batch = Batch([], list(texts), [])
    return replace(batch, tokens=tokenized(student, batch, length), targets=tokenized(teacher, batch, length))


def tokenized(encoder: TorchEncoder, batch: Batch, length: int, instruction: str | None = "") -> tuple[Text, ...]:
    """Queries, positives and negatives of a batch as an encoder reads them, documents up to `length` tokens.

    `instruction` comes before each query; None: the encoder's own.
    """
    queries = encoder.token_ids(batch.queries, "query", instruction=instruction)
    documents = cut_documents(encoder, batch.documents, length)
    return (*(Text(ids, "query") for ids in queries), *(Text(ids, "document") for ids in documents))


def train_step(student: Student, loss: DeliberationLoss, batch: Batch, options: StepOptions) -> StepFacts:
    """Accumulate the gradients of one batch into the student's parameters, averaged over the processes."""
    queries = len(batch.queries)

    def objective(views: list[Tensor]) -> Terms:
        documents = torch.stack(views[queries:])  # [Q + K, M, D]
        asked = torch.stack(views[:queries])[:, -1]
        return loss.terms(asked, documents[:queries], documents[queries:], batch.labels)

    terms, chunks = accumulate(student, batch.tokens, objective, options)
    names, values = zip(*((name, value.detach().float()) for name, value in terms), strict=True)
    means = dict(zip(names, mean_over_processes(torch.stack(values)).tolist(), strict=True))
    return _facts(means.pop("total"), means, student, batch, chunks)


def warm_step(student: Student, teacher: Encoder, batch: Batch, views: str, options: StepOptions) -> StepFacts:
    """Gradients of the warm start: thinking steps learn the base model's own embedding of the same text.

    1 - cosine, plus the mean squared error between the batch's similarity matrices: each text alone, and their order.
    """
    target = gathered(vectors(teacher, batch.targets))[0]
    found: dict[str, float] = {}

    def objective(leaves: list[Tensor]) -> Terms:
        learned = gathered(normalize(torch.stack(leaves), dim=-1))[0]  # [B, M, D]: the whole loss on every process
        steps = range(learned.shape[1]) if views == "all" else [learned.shape[1] - 1]
        apart = torch.stack([1 - (learned[:, i] * target).sum(-1).mean() for i in steps]).mean()
        among = target @ target.T
        order = torch.stack([mse_loss(learned[:, i] @ learned[:, i].T, among) for i in steps]).mean()
        found.update(distance=apart.item(), order=order.item())
        return Terms(apart + order, apart)

    _, chunks = accumulate(student, batch.tokens, objective, options)
    return _facts(sum(found.values()), found, student, batch, chunks)


def chunk_tokens(encoder: TorchEncoder) -> int:
    """Padded tokens of one forward pass on this encoder's device."""
    return CHUNK_TOKENS_CPU if encoder.device.type == "cpu" else CHUNK_TOKENS


def passes(encoder: TorchEncoder, texts: Sequence[Text], budget: int | None = None) -> list[Chunk]:
    """Texts cut into forward passes for the encoder's device, of at most `budget` tokens (None: `chunk_tokens`)."""
    least = LEAST_TOKENS_CUDA if encoder.device.type == "cuda" else 0
    return cut(texts, budget or chunk_tokens(encoder), least=least, packs=encoder.model.packs)


@torch.no_grad()
def vectors(encoder: TorchEncoder, texts: Sequence[Text]) -> Tensor:
    """Embeddings of texts by a model that does not learn: the last view, L2-normalised, [texts, D]."""
    found: list[Tensor] = [torch.empty(0)] * len(texts)
    for chunk in passes(encoder, texts):
        for position, view in zip(chunk.positions, _views(encoder, texts, chunk, seed=0), strict=True):
            found[position] = view[-1]
    return normalize(torch.stack(found), dim=-1)


def accumulate(
    student: Student, texts: Sequence[Text], objective: Callable[[list[Tensor]], Terms], options: StepOptions
) -> tuple[Terms, list[Chunk]]:
    """Add the gradients of `objective`, a function of all texts' views [M, D], to the student's parameters.

    With `options.cache_tokens` the texts are encoded in chunks of that many tokens whose activations are dropped and
    made again (gradient caching, arXiv 2101.06983): same gradients, memory of one chunk.
    """
    cached, parallel = options.cache_tokens is not None, options.parallel
    chunks = parallel.even(passes(student, texts, options.cache_tokens))
    last = len(chunks) - 1
    leaves: list[Tensor] = [torch.empty(0)] * len(texts)
    kept: list[Tensor] = []
    for number, chunk in enumerate(chunks):
        with torch.set_grad_enabled(not cached), parallel.reducing(now=number == last):
            views = _views(student, texts, chunk, options.seed + number)
        kept += [] if cached else [views]
        for position, view in zip(chunk.positions, views.detach(), strict=True):
            leaves[position] = view.requires_grad_()
    with exactly():
        terms = objective(leaves)
        terms.total.backward()
    gradients = [options.scaled(_gradient(chunk, leaves)) for chunk in chunks]
    if cached:
        for number, (chunk, gradient) in enumerate(zip(chunks, gradients, strict=True)):
            with parallel.reducing(now=number == last):
                _views(student, texts, chunk, options.seed + number).backward(gradient)
    else:
        parallel.backward(kept, gradients)
    return terms, chunks


def _views(encoder: TorchEncoder, texts: Sequence[Text], chunk: Chunk, seed: int) -> Tensor:
    torch.manual_seed(seed)  # dropout is the same whenever this chunk is encoded
    return encoder.views([texts[position].ids for position in chunk.positions], chunk.kind)


def _gradient(chunk: Chunk, leaves: list[Tensor]) -> Tensor:
    each = [leaves[position].grad for position in chunk.positions]
    gradients = torch.stack([gradient for gradient in each if gradient is not None])
    return gradients if chunk.counts else torch.zeros_like(gradients)


def _facts(loss: float, terms: dict[str, float], student: Student, batch: Batch, chunks: Sequence[Chunk]) -> StepFacts:
    tokens = sum(len(text.ids) for text in batch.tokens)
    padded = tokens if student.model.packs else sum(chunk.tokens for chunk in chunks)
    means = mean_over_processes(torch.tensor([tokens, padded], dtype=torch.float32, device=student.device)).tolist()
    return StepFacts(loss, terms, round(means[0] * world_size()), padding(*means))


def cut_documents(encoder: TorchEncoder, texts: Sequence[str], length: int) -> list[list[int]]:
    """Token ids of documents under a limit of training's own."""
    length = min(length, encoder.spec.document_length)
    return encoder.spec.template.document_ids(encoder.tokenizer, encodable(texts), length)
