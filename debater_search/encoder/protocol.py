"""What every stage may expect of an encoder, without torch: `TextEncoder`, and the abilities that only some have.

An object that fulfils `TextEncoder` can build, change, search and evaluate an index. Beside `Encoder` that may be an
ONNX session, a remote endpoint or a fake in a test. A stage that profits from an optional ability asks for it by
`isinstance` or by the functions below, and does without it where an encoder has none.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from debater_search.encoder.texts import Texts
from debater_search.errors import InvalidError
from debater_search.identity import EncoderIdentity
from debater_search.progress import Progress


class QueryEncoder(Protocol):
    """Queries in, vectors out: what a search needs of a model."""

    def encode_queries(
        self, texts: Sequence[str], *, instruction: str | None = None, progress: bool | Progress = False
    ) -> np.ndarray:
        """Vectors of queries, float32 [n, dim].

        `instruction` goes before each query: None is the encoder's own default, "" is none.
        """


class TextEncoder(QueryEncoder, EncoderIdentity, Protocol):
    """Texts in, vectors out.

    All vectors are float32, L2-normalised, finite and in the order of the texts, and do not depend on the other texts
    of a call (within 1e-5 in float32). `progress` shows a line on stderr if it is True; a `Progress` is advanced by
    one for each text. Methods raise DebaterError for texts that cannot be encoded.
    """

    def encode_documents(self, texts_or_documents: Texts, *, progress: bool | Progress = False) -> np.ndarray:
        """Vectors of documents (the last thinking step), float32 [n, dim]."""

    def deliberate(self, texts_or_documents: Texts, *, progress: bool | Progress = False) -> np.ndarray:
        """Every thinking step of every document, float32 [n, thinking_steps, dim]."""

    def deliberate_windows(
        self, windows: Iterable[Texts], *, batch_tokens: int | None = None, progress: Progress
    ) -> Iterator[np.ndarray]:
        """Every thinking step of documents that come in windows: float32 [n, thinking_steps, dim] per window, in order.

        A window may be taken before the one before it is encoded, so that the two can overlap. `batch_tokens` is the
        number of padded tokens in a forward pass; an encoder without batches of its own ignores it.
        """


class PairScorer(Protocol):
    """Scores texts for a query by reading the two together: what reranking needs of a model."""

    @property
    def name(self) -> str:
        """The name that the user gave the model."""

    @property
    def fingerprint(self) -> str:
        """A hash over everything that determines the scores."""

    @property
    def dtype(self) -> str:
        """The number type that it computes in."""

    def score(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """How well each text answers the query: float32 [n], finite, higher is better.

        A score does not depend on the other texts. Raises DebaterError for texts that cannot be scored.
        """


@runtime_checkable
class Tokenizing(Protocol):
    """An encoder that shows its tokens: needed to cut documents into passages."""

    @property
    def document_length(self) -> int:
        """The longest document in tokens, the model's own tokens included."""

    def token_ids(self, texts: Sequence[str], kind: str) -> list[list[int]]:
        """Token ids of texts as the model reads them; `kind` is "query" or "document"."""

    def token_offsets(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Begin and end of each token of the bare texts, in characters: int64 [tokens, 2] per text, nothing cut."""


@runtime_checkable
class Calibrating(Protocol):
    """An encoder that measures which batch size is the fastest."""

    @property
    def batch_tokens(self) -> int:
        """Padded tokens of a forward pass by default."""

    def calibrate(self, texts_or_documents: Texts) -> int:
        """The `batch_tokens` that encodes documents like these fastest on this machine; takes about two seconds."""


@runtime_checkable
class Releasing(Protocol):
    """An encoder that can leave its device to other processes for a while."""

    def released(self) -> AbstractContextManager[None]:
        """Inside, nothing of it lies on its device, and it cannot encode."""


def require_encoder(encoder: Any) -> None:
    """Raise InvalidError for the name of a model in the place of a loaded one."""
    if isinstance(encoder, str | Path):
        raise InvalidError(f"`encoder` is the name {str(encoder)!r}, not a model.", f'Give Encoder.load("{encoder}").')


def can_encode(value: Any) -> bool:
    """Whether a value has what every encoder has; it may still be a wrong one."""
    return all(hasattr(value, name) for name in ("encode_queries", "encode_documents", "fingerprint"))


def require_scorer(reranker: Any) -> None:
    """Raise InvalidError for the name of a reranker in the place of a loaded one."""
    if isinstance(reranker, str | Path):
        raise InvalidError(
            f"`rerank` is the name {str(reranker)!r}, not a model.",
            f'Give Reranker.load("{reranker}"), from debater_search.encoder.',
        )


def device_of(encoder: Any) -> str:
    """The torch device that an encoder computes on, such as "cuda:0"; "cpu" for one that names none."""
    return str(getattr(encoder, "device", "cpu"))


def query_length_of(encoder: Any) -> int | None:
    """The longest query in tokens, the encoder's own tokens included; None for one that does not say."""
    return getattr(encoder, "query_length", None)


def instruction_of(encoder: Any) -> str:
    """The text that an encoder puts before queries by default; "" for one that names none."""
    return getattr(encoder, "instruction", "")


def trained_with_instructions(encoder: Any) -> bool:
    """Whether an encoder was trained on queries behind instructions; False for one that does not say."""
    return getattr(encoder, "trained_with_instructions", False)


def is_cacheable(encoder: Any) -> bool:
    """Whether an encoder's vectors are worth caching: False for a model in training, which changes at every step."""
    return getattr(encoder, "cacheable", True)
