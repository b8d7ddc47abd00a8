"""`Reranker`: a model that reads a query and a text together and gives one score, better and slower than vectors."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
import torch

from debater_search import coerce
from debater_search.encoder.batching import token_batches
from debater_search.encoder.loading.backbone import quiet_transformers
from debater_search.encoder.loading.cross_encoder import check_folder, require_whole, scorer_sha256
from debater_search.encoder.loading.files import one_line
from debater_search.encoder.loading.hub import locate
from debater_search.encoder.speed.hardware import DTYPES, TOKENS_PER_BATCH, choose_device, choose_dtype
from debater_search.encoder.speed.linear import lay_out
from debater_search.encoder.speed.memory import keep_freed_memory
from debater_search.encoder.template import CHARACTERS_PER_TOKEN
from debater_search.encoder.texts import encodable
from debater_search.errors import DamagedError, DebaterError, InvalidError
from debater_search.extras import require
from debater_search.inputs import as_texts

LONGEST = 1024
"""Tokens of a pair for models that would read more: time and memory grow with its square."""
_AROUND = 8
"""Tokens around query and text, about; batches need no more than an estimate."""


class Reranker:
    """A cross-encoder, or a causal model that answers yes or no. It fulfils `PairScorer`; many threads may share it.

    Examples:
        >>> from debater_search.encoder import Reranker
        >>> reranker = Reranker.load("models/reranker")
        >>> reranker.score("what is heat?", ["Heat flows.", "A wing carries an aircraft."]).shape
        (2,)
        >>> len(engine.search("heat", rerank=reranker))
        3
    """

    def __init__(self, model: Any, folder: Path, *, name: str, device: torch.device) -> None:
        """`model` is a CrossEncoder of sentence-transformers, made of `folder`. Use `load`."""
        self._model, self._folder, self._lock = model, folder, Lock()
        self.name = name
        """The name that the user gave the model."""
        self.device = device

    @classmethod
    def load(
        cls, model: str | Path, *, device: str = "auto", dtype: str = "auto", max_length: int | None = None
    ) -> Self:
        """Load a folder or a hub id: safetensors only, no remote code.

        Args:
            model: a sequence classifier with one label, a causal model with the tokens "yes" and "no", or a
                CrossEncoder folder of sentence-transformers.
            device: auto, cpu, cuda, cuda:N, mps.
            dtype: auto, float32, bfloat16, float16.
            max_length: tokens of query and text together. None: as many as the model reads, at most 1,024.

        Raises:
            MissingError: there is no such model, or files of it are missing.
            DamagedError: a file of it cannot be read, or weights do not fit.
            InvalidError: a pickle, a model that gives no single score or a score that is not finite.
            UnavailableError: sentence-transformers, the hub or the device is not available.

        """
        where = choose_device(device)
        if dtype not in ("auto", *DTYPES):
            raise InvalidError(f"A reranker does not compute in {dtype!r}.", f"Use auto or one of {', '.join(DTYPES)}.")
        if max_length is not None and max_length < 1:
            raise InvalidError(f"max_length={max_length} is not possible.", "Use 1 or more.")
        folder = locate(model).folder
        check_folder(folder)
        loaded = _cross_encoder(folder, choose_dtype(dtype, where), where)
        known = [length for length in (loaded.max_seq_length, max_length or LONGEST) if length]
        loaded.max_seq_length = min(known)
        if where.type == "cpu":
            keep_freed_memory()
            lay_out(loaded)
        reranker = cls(loaded, folder, name=str(model), device=where)
        reranker._try()
        return reranker

    @property
    def dtype(self) -> str:
        """The number type that it computes in, as `load` takes it."""
        return str(self._model.dtype).removeprefix("torch.")

    @property
    def max_length(self) -> int:
        """Tokens of query and text together; the longer of the two is cut."""
        return int(self._model.max_seq_length)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over weights, settings, tokenizer and length: equal ones give equal scores."""
        return scorer_sha256(self._folder, self.max_length)

    def score(self, query: str, texts: Sequence[str], *, batch_tokens: int | None = None) -> np.ndarray:
        """How well each text answers the query: float32 [n], in the order of the texts, higher is better.

        Scores are logits (of a causal model the log-odds of "yes" against "no"), not probabilities: those of good
        answers would all round to 1. A score does not depend on the other texts (within 1e-5 in float32).
        `batch_tokens` is the number of padded tokens in a forward pass.

        Raises:
            InvalidError: the model gives a score that is not finite.

        """
        reach = self.max_length * CHARACTERS_PER_TOKEN
        query, *texts = [text[:reach] for text in encodable([query, *as_texts(texts)])]
        scores = np.empty(len(texts), np.float32)
        budget = TOKENS_PER_BATCH[self.device.type] if batch_tokens is None else batch_tokens
        coerce.require_whole(budget, "batch_tokens", 1)
        with self._lock:  # a tokenizer of transformers cannot be shared by threads, and a forward pass fills the device
            for batch in token_batches(self._lengths(query, texts), budget if self._pads else 1):
                scores[batch] = self._model.predict(
                    [(query, texts[i]) for i in batch],
                    batch_size=len(batch),
                    activation_fn=torch.nn.Identity(),
                    show_progress_bar=False,
                )
        if not np.isfinite(scores).all():
            raise InvalidError(
                f"{self.name} gives a score that is not finite.", "Load it with dtype float32, or use another model."
            )
        return scores

    def _lengths(self, query: str, texts: Sequence[str]) -> list[int]:
        """About how many tokens each pair has."""
        if not texts:
            return []
        cut = {"truncation": True, "max_length": self.max_length, "add_special_tokens": False}
        asked, *found = self._model.tokenizer([query, *texts], **cut)["input_ids"]
        return [min(self.max_length, len(asked) + len(ids) + _AROUND) for ids in found]

    @cached_property
    def _pads(self) -> bool:
        """Whether several pairs may go together: a model that knows no padding would score at a pad."""
        return self._model.config.pad_token_id is not None

    def _try(self) -> None:
        """Score a pair, so that what does not work is said now."""
        try:
            self.score("What is a wing?", ["A wing carries an aircraft.", "No."])
        except DebaterError:
            raise
        except Exception as error:  # sentence-transformers and transformers raise many kinds
            raise InvalidError(
                f"{self.name} cannot score a query and a text: {one_line(error)}",
                "Use a model that was made for reranking.",
            ) from error


def _cross_encoder(folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    library = require("sentence_transformers", extra="rerank")
    try:
        with quiet_transformers():
            model = library.CrossEncoder(
                str(folder),
                device=str(device),
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"use_safetensors": True, "dtype": dtype},
            )
    except Exception as error:  # sentence-transformers, transformers and safetensors raise many kinds
        raise DamagedError(
            f"The model in {folder} cannot be loaded: {one_line(error)}", "Fetch the model again."
        ) from error
    if model.num_labels != 1:
        raise InvalidError(f"{folder} gives {model.num_labels} scores for a pair, not one.", "Use a reranker.")
    if model.config.architectures and "SequenceClassification" in model.config.architectures[0]:
        require_whole(folder, model.model.state_dict())
    tokenizer = model.tokenizer
    if tokenizer.pad_token is None:  # pairs go one by one then; sentence-transformers asks for a token all the same
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    elif model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model.eval()
