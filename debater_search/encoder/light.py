"""Queries of BERT and its kin in NumPy: small models answer before torch and transformers would be imported.

It is for processes that encode a few queries, one at a time, so without padding. Documents, training and all other
models go through `Encoder`, whose fingerprints and vectors these are.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from tokenizers import Tokenizer

from debater_search.encoder.bert import Bert
from debater_search.encoder.fingerprint import definition_of, encoder_sha256, weights_sha256
from debater_search.encoder.loading.files import read_json, weight_files
from debater_search.encoder.loading.hub import at_hand
from debater_search.encoder.loading.plain import spec_between
from debater_search.encoder.loading.sentence_transformer import MODULES_FILE, Declared, read_declared
from debater_search.encoder.loading.tokenizer import load_tokenizer, special_tokens
from debater_search.encoder.reading import TextReader
from debater_search.encoder.spec import CHECKPOINT_FILE, EncoderSpec
from debater_search.encoder.speed.tricks import is_on
from debater_search.encoder.texts import contents
from debater_search.errors import DebaterError
from debater_search.identity import EncoderInfo

_RECIPE = {"model", "thinking_steps", "max_length", "dim", "pooling"}
"""Arguments of `Encoder.load` that are followed."""
_POOLED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cls": lambda states: states[0],
    "last": lambda states: states[-1],
    "mean": lambda states: states.mean(0),
}


def load_light(info: EncoderInfo) -> "LightEncoder | None":
    """The encoder of an index's queries, without torch.

    None where its model is of another kind, is not on this machine, is damaged or has changed: then `load_again` loads
    it, or says what is wrong.
    """
    recipe: dict[str, Any] = dict(info.recipe)
    if not is_on("light") or recipe.keys() - _RECIPE:
        return None
    try:
        folder = at_hand(recipe.pop("model"))
        encoder = LightEncoder(folder, **recipe) if folder is not None else None
        return encoder if encoder is not None and info.fingerprint in encoder.fingerprints() else None
    except (DebaterError, SafetensorError, OSError, LookupError, TypeError, ValueError):
        return None


class LightEncoder(TextReader):
    """A BERT with full weights, for queries only. Made by `load_light`.

    Raises ValueError, LookupError, TypeError or DebaterError for a model of another kind, or one that is damaged.
    """

    def __init__(
        self,
        folder: Path,
        *,
        thinking_steps: int | None = None,
        max_length: int | None = None,
        dim: int | None = None,
        pooling: str | None = None,
    ) -> None:
        declared = _declared(folder)
        body = folder if declared is None else declared.body
        self.weights, self.tokenizer_folder = weight_files(body), body
        if len(self.weights) > 1 or not (body / "tokenizer.json").is_file():  # the other forms need transformers
            raise ValueError(f"{body} has several files of weights, or a tokenizer that must be rebuilt")
        self._bert = Bert(read_json(body / "config.json"), self.weights[0])
        tokenizer = load_tokenizer(body)
        spec = _spec(folder, declared, tokenizer, pooling, self._bert.positions)
        if thinking_steps not in (None, spec.thinking_steps):
            spec = spec.read_out_at(thinking_steps)
        if max_length is not None:
            spec = replace(spec, document_length=max_length)
        super().__init__(spec, tokenizer)
        reading = spec.reading("query")
        if reading.thinking or not any(reading.edges):  # with no token around it an empty text has no states
            raise ValueError(f"{folder} reads queries in another way")
        self._pooled = _POOLED[reading.pooling]
        kept = dim or (declared.dim if declared is not None else None) or self._bert.dim
        self.dim = min(kept, self._bert.dim)

    def fingerprints(self) -> tuple[str, str]:
        """As `Encoder` has them: the fingerprint, and that of version 0.1."""
        spec, weights = self.spec.as_dict(), [weights_sha256(path) for path in self.weights]
        dim = self.dim if self.dim < self._bert.dim else None
        definition = definition_of(self)
        return encoder_sha256(spec, weights, {}, dim, definition), encoder_sha256(spec, weights, {}, dim)

    def encode_queries(
        self, texts: Sequence[str], *, instruction: str | None = None, progress: object = False
    ) -> np.ndarray:
        """As `TextEncoder.encode_queries`; no progress is shown, since there are few queries."""
        self.warn_without_room(instruction)
        out = np.empty((len(texts), self.dim), np.float32)
        for row, ids in enumerate(self.token_ids(contents(texts), "query", instruction)):
            vector = self._pooled(self._bert.states(np.array(ids)))[: self.dim]
            out[row] = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return out


def _declared(folder: Path) -> Declared | None:
    """What a sentence-transformers folder declares; None for our checkpoints and plain models."""
    if (folder / CHECKPOINT_FILE).is_file() or not (folder / MODULES_FILE).is_file():
        return None
    declared = read_declared(folder)
    if declared.layers:
        raise ValueError(f"{folder} has layers behind its pooling")
    return declared


def _spec(
    folder: Path, declared: Declared | None, tokenizer: Tokenizer, pooling: str | None, positions: int
) -> EncoderSpec:
    """How texts are read, as `layouts.load_parts` finds it; `pooling` is for models that declare none."""
    if (folder / CHECKPOINT_FILE).is_file():
        return EncoderSpec.from_dict(read_json(folder / CHECKPOINT_FILE))
    body, pooling = (folder, pooling) if declared is None else (declared.body, declared.pooling or pooling)
    if pooling is None:
        raise ValueError(f"{folder} does not say how it pools")
    spec = spec_between(special_tokens(body, tokenizer), body, tokenizer, pooling, positions)
    if declared is None:
        return spec
    declared.prepare(tokenizer)
    return declared.applied(spec, tokenizer, positions)
