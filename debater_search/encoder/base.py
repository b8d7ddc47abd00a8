"""An encoder that runs a model in this process: what `Encoder` and a model in training share."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from debater_search.coerce import require_whole
from debater_search.encoder.batching import pad
from debater_search.encoder.loading.parts import Parts
from debater_search.encoder.model import DeliberationModel
from debater_search.encoder.pipeline import Pipeline, encode_all
from debater_search.encoder.reading import TextReader
from debater_search.encoder.speed.hardware import TOKENS_PER_BATCH
from debater_search.encoder.texts import Texts, contents
from debater_search.inputs import GivenDocuments, GivenQueries, as_query_texts
from debater_search.progress import Progress


class TorchEncoder(TextReader):
    """A model, its tokenizer and its spec: texts → token ids → views → vectors.

    It has all of `TextEncoder` but the fingerprint. `progress` shows a line on stderr, or advances the caller's.
    """

    def __init__(
        self, parts: Parts, model: DeliberationModel, *, name: str, recipe: dict[str, Any], device: torch.device
    ) -> None:
        super().__init__(parts.spec, parts.tokenizer)
        self.parts, self.model, self.device = parts, model, device
        self.name = name
        """The name that the user gave the model."""
        self.recipe = recipe
        """Arguments of `Encoder.load` that load this encoder again; plain JSON types."""

    def __repr__(self) -> str:
        """Name, length of a vector, thinking steps, device and number type."""
        steps = f"{self.thinking_steps} thinking step{'' if self.thinking_steps == 1 else 's'}"
        return f"{type(self).__name__}({self.name!r}, dim {self.dim}, {steps}, {self.device}, {self.dtype})"

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.full_dim

    @property
    def full_dim(self) -> int:
        """Length of a view as the model gives it."""
        if self.model.head is not None:
            return int(list(self.model.head.parameters())[-1].shape[0])
        return int(self.model.backbone.config.hidden_size)

    @property
    def dtype(self) -> str:
        """The number type that it computes in, as `Encoder.load` takes it."""
        return str(self.model.backbone.dtype).removeprefix("torch.")

    @property
    def batch_tokens(self) -> int:
        """Padded tokens of a forward pass by default."""
        return TOKENS_PER_BATCH[self.device.type]

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def encode_queries(
        self,
        texts: GivenQueries,
        *,
        instruction: str | None = None,
        batch_tokens: int | None = None,
        progress: bool | Progress = False,
    ) -> np.ndarray:
        """Vectors of queries, float32 [n, dim]. `instruction` None is the model's own default, "" none.

        Queries are texts, (id, text), objects with a text, `Query` objects, or one mapping of ids to texts.

        Examples:
            >>> queries = encoder.encode_queries(["what carries an aircraft?", "what is heat?"])
            >>> queries.shape
            (2, 384)
        """
        self.warn_without_room(instruction)
        tokens = self._budget(batch_tokens)
        return encode_all(self, as_query_texts(texts), "query", tokens, progress, instruction)[:, -1]

    def encode_documents(
        self, texts_or_documents: GivenDocuments, *, batch_tokens: int | None = None, progress: bool | Progress = False
    ) -> np.ndarray:
        """Vectors of documents (the last thinking step), float32 [n, dim].

        Documents come in the forms that `indexing.build` takes in memory; ids are not needed.

        Examples:
            >>> documents = encoder.encode_documents(["A wing.", ("heat", "Heat flows."), {"text": "Ice is cold."}])
            >>> documents.shape
            (3, 384)
            >>> int((encoder.encode_queries("what flows?") @ documents.T).argmax())
            1
        """
        return self.deliberate(texts_or_documents, batch_tokens=batch_tokens, progress=progress)[:, -1]

    def deliberate(
        self, texts_or_documents: GivenDocuments, *, batch_tokens: int | None = None, progress: bool | Progress = False
    ) -> np.ndarray:
        """Every thinking step of every document, float32 [n, thinking_steps, dim].

        Examples:
            >>> views = encoder.deliberate(["A wing carries an aircraft."])
            >>> views.shape
            (1, 8, 384)
        """
        tokens = self._budget(batch_tokens)
        return encode_all(self, contents(texts_or_documents), "document", tokens, progress)

    def deliberate_windows(
        self, windows: Iterable[Texts], *, batch_tokens: int | None = None, progress: Progress
    ) -> Iterator[np.ndarray]:
        """Every thinking step of documents that come in windows: float32 [n, thinking_steps, dim] per window.

        The next window is taken and tokenized, in a thread, while the model computes this one.
        """
        pipeline = Pipeline(self, "document", self._budget(batch_tokens), progress)
        return pipeline.run(contents(window) for window in windows)

    def _budget(self, batch_tokens: int | None) -> int:
        """Padded tokens of a forward pass, as a caller says. Raises InvalidError for what is no number above 0."""
        if batch_tokens is None:
            return self.batch_tokens
        require_whole(batch_tokens, "batch_tokens", 1)
        return batch_tokens

    def views(self, sequences: Sequence[Sequence[int]], kind: str) -> Tensor:
        """One forward pass: token ids of `kind` → unnormalised views, float32 [n, views, full_dim], with gradients."""
        ids, lengths = pad(sequences, max(0, self.model.backbone.config.pad_token_id or 0))  # -1 says: none
        return self._module(
            torch.from_numpy(ids).to(self.device), torch.from_numpy(lengths).to(self.device), self.spec.reading(kind)
        )

    def expect_many(self) -> None:
        """Prepare for many texts, if that pays."""

    @contextmanager
    def released(self) -> Iterator[None]:
        """Inside, the weights lie in memory instead of on a GPU, which other processes fill; nothing can be encoded."""
        if self.device.type != "cuda":
            yield
            return
        self.model.to("cpu")
        torch.cuda.empty_cache()
        try:
            yield
        finally:
            self.model.to(self.device)

    @property
    def _module(self) -> nn.Module:
        """The module that a forward pass calls: the model, or a wrapper around it."""
        return self.model
