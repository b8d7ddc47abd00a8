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
from debater_search.training.chunks import KINDS, Chunk, Text, cut, padding
from debater_search.training.gather import gathered, mean_over_processes, world_size
from debater_search.training.loss import DeliberationLoss, Terms
from debater_search.training.parallel import Parallel
from debater_search.training.precision import exactly
from debater_search.training.student import Student

CHUNK_TOKENS, CHUNK_TOKENS_CPU = 16384, 4096
"""Padded tokens of one forward pass where gradients are not cached: cuts padding, not memory; on a CPU what its cache
holds is computed an eighth faster."""


UNLIMITED = 2**40
"""Tokens; more than any batch has."""
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
    tokens = tokenized(student, batch, length, document_prompts=batch.document_prompts)
    return replace(batch, tokens=tokens, labels=batch.labels.to(student.device))


def prepare_warm(student: Student, teacher: Encoder, texts: Sequence[str], length: int) -> Batch:
    """Tokenize texts for the warm start, as student and teacher read them."""
    batch = Batch([], list(texts), [])
    return replace(batch, tokens=tokenized(student, batch, length), targets=tokenized(teacher, batch, length))


def tokenized(
    encoder: TorchEncoder, batch: Batch, length: int, *, document_prompts: Sequence[str | None] = ()
) -> tuple[Text, ...]:
    """Queries, positives and negatives of a batch as an encoder reads them, documents up to `length` tokens.

    Documents get the encoder's own prompt, or `document_prompts`.
    """
    queries = _by_prompt(
        batch.queries, batch.query_prompts, lambda texts, prompt: encoder.token_ids(texts, "query", instruction=prompt)
    )
    documents = _by_prompt(
        batch.documents, document_prompts, lambda texts, prompt: cut_documents(encoder, texts, length, prompt)
    )
    return (*(Text(ids, "query") for ids in queries), *(Text(ids, "document") for ids in documents))


def _by_prompt(
    texts: Sequence[str],
    prompts: Sequence[str | None],
    read: Callable[[list[str], str | None], list[list[int]]],
) -> list[list[int]]:
    """Token ids of texts, each read with its prompt; all those of one prompt in one call."""
    prompts = prompts or [None] * len(texts)
    rows: list[list[int]] = [[]] * len(texts)
    for prompt in dict.fromkeys(prompts):
        positions = [n for n, own in enumerate(prompts) if own == prompt]
        for position, ids in zip(positions, read([texts[n] for n in positions], prompt), strict=True):
            rows[position] = ids
    return rows


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


def passes(
    encoder: TorchEncoder, texts: Sequence[Text], budget: int | None = None, *, gathers: bool = False
) -> list[Chunk]:
    """Texts cut into forward passes for the encoder's device, of at most `budget` tokens (None: `chunk_tokens`).

    Where each pass `gathers` the model's weights from other processes, only a budget cuts, not padding.
    """
    packed = packed_kinds(encoder)
    if gathers:
        return cut(texts, budget or UNLIMITED, least=UNLIMITED, packed=packed)
    least = LEAST_TOKENS_CUDA if encoder.device.type == "cuda" else 0
    return cut(texts, budget or chunk_tokens(encoder), least=least, packed=packed)


def packed_kinds(encoder: TorchEncoder) -> list[str]:
    """Kinds of texts that the encoder's model lays end to end: by how it reads them, not by its kernel alone."""
    return [kind for kind in KINDS if encoder.model.packs_read(encoder.spec.reading(kind))]


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
    chunks = parallel.even(passes(student, texts, options.cache_tokens, gathers=parallel.sharded))
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
    padded = sum(chunk.tokens for chunk in chunks)
    means = mean_over_processes(torch.tensor([tokens, padded], dtype=torch.float32, device=student.device)).tolist()
    return StepFacts(loss, terms, round(means[0] * world_size()), padding(*means))


def cut_documents(
    encoder: TorchEncoder, texts: Sequence[str], length: int, prompt: str | None = None
) -> list[list[int]]:
    """Token ids of documents under a limit of training's own, behind `prompt` (None: the model's own)."""
    length = min(length, encoder.spec.document_length)
    return encoder.spec.template.document_ids(encoder.tokenizer, encodable(texts), length, prompt)
