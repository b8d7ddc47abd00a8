"""Queries of BERT checkpoints in NumPy: the default model answers before torch and transformers would be imported.

The forward pass is that of transformers' `BertModel` in float32, one query at a time, so without padding. It is for
processes that encode a few queries. Documents, training and all other models go through `Encoder`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from debater_search.encoder.fingerprint import definition_of, encoder_sha256, weights_sha256
from debater_search.encoder.loading.files import INT8_SCALE, read_json, weight_files
from debater_search.encoder.loading.hub import bundled
from debater_search.encoder.loading.tokenizer import load_tokenizer
from debater_search.encoder.reading import TextReader
from debater_search.encoder.spec import CHECKPOINT_FILE, EncoderSpec
from debater_search.encoder.speed.tricks import is_on
from debater_search.encoder.texts import contents
from debater_search.errors import DebaterError
from debater_search.identity import EncoderInfo

_RECIPE = {"model", "thinking_steps", "max_length", "dim"}
"""Arguments of `Encoder.load` that are followed."""
_PLAIN_BERT = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
}
"""What `config.json` must say, or leave out: the forward pass below is for nothing else."""
_POOLED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cls": lambda states: states[0],
    "last": lambda states: states[-1],
    "mean": lambda states: states.mean(0),
}

Part = Callable[[np.ndarray], np.ndarray]
"""A part of the model: states [L, D] → states."""


def load_light(info: EncoderInfo) -> "LightEncoder | None":
    """The encoder of an index's queries, without torch.

    None where its model is of another kind, is not on this machine, is damaged or has changed: then `load_again` loads
    it, or says what is wrong.
    """
    recipe: dict[str, Any] = dict(info.recipe)
    if not is_on("light") or recipe.keys() - _RECIPE:
        return None
    model = recipe.pop("model")
    try:
        folder = Path(model) if Path(model).is_dir() else bundled(model)
        if folder is None or not (folder / CHECKPOINT_FILE).is_file():
            return None
        encoder = LightEncoder(folder, **recipe)
        return encoder if info.fingerprint in encoder.fingerprints() else None
    except (DebaterError, SafetensorError, OSError, LookupError, TypeError, ValueError):
        return None


class LightEncoder(TextReader):
    """A checkpoint of a BERT with full weights, for queries only. Made by `load_light`."""

    def __init__(
        self, folder: Path, *, thinking_steps: int | None = None, max_length: int | None = None, dim: int | None = None
    ) -> None:
        spec = EncoderSpec.from_dict(read_json(folder / CHECKPOINT_FILE))
        if thinking_steps not in (None, spec.thinking_steps):
            spec = spec.read_out_at(thinking_steps)
        if max_length is not None:
            spec = replace(spec, document_length=max_length)
        super().__init__(spec, load_tokenizer(folder))
        self.tokenizer_folder = folder
        self.weights = weight_files(folder)
        config = read_json(folder / "config.json")
        reading = spec.reading("query")
        if len(self.weights) > 1 or reading.thinking or any(config.get(k, v) != v for k, v in _PLAIN_BERT.items()):
            raise ValueError(f"{folder} is not a plain BERT in one file")
        self._pooled = _POOLED[reading.pooling]
        self._embed, self._layers = _parts(_Tensors(self.weights[0]), config)
        self._full_dim = int(config["hidden_size"])
        self.dim = min(dim or self._full_dim, self._full_dim)

    def fingerprints(self) -> tuple[str, str]:
        """As `Encoder` has them: the fingerprint, and that of version 0.1."""
        spec, weights = self.spec.as_dict(), [weights_sha256(path) for path in self.weights]
        dim = self.dim if self.dim < self._full_dim else None
        definition = definition_of(self)
        return encoder_sha256(spec, weights, {}, dim, definition), encoder_sha256(spec, weights, {}, dim)

    def encode_queries(
        self, texts: Sequence[str], *, instruction: str | None = None, progress: object = False
    ) -> np.ndarray:
        """As `TextEncoder.encode_queries`; no progress is shown, since there are few queries."""
        self.warn_without_room(instruction)
        out = np.empty((len(texts), self.dim), np.float32)
        for row, ids in enumerate(self.token_ids(contents(texts), "query", instruction)):
            states = self._embed(np.array(ids))
            for layer in self._layers:
                states = layer(states)
            vector = self._pooled(states)[: self.dim]
            out[row] = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return out


class _Tensors:
    """The tensors of a file by name, in float32; integers of 8 bits are multiplied by the scales of their rows."""

    def __init__(self, path: Path) -> None:
        self._stored = load_file(path)

    def vector(self, name: str) -> np.ndarray:
        """A bias, or the weights of a norm."""
        return self._stored[name].astype(np.float32, copy=False)

    def matrix(self, name: str) -> np.ndarray:
        """A weight [outputs, inputs] as [inputs, outputs], laid out so: a product with it is a third faster."""
        stored = self._stored[name]
        scale = self._stored[name + INT8_SCALE] if stored.dtype == np.int8 else np.float32(1)
        return np.multiply(stored.T, scale, dtype=np.float32, order="C")

    def table(self, name: str) -> Callable[[np.ndarray], np.ndarray]:
        """Ids [n] → rows [n, D] of a table."""
        stored, scales = self._stored[name], self._stored.get(name + INT8_SCALE)
        if scales is None:
            return lambda ids: stored[ids].astype(np.float32)
        return lambda ids: stored[ids] * scales[ids][:, None]


def _parts(tensors: _Tensors, config: dict[str, Any]) -> tuple[Part, list[Part]]:
    """What turns token ids [L] into states [L, D], and the layers behind it."""

    def linear(name: str) -> Part:
        weight, bias = tensors.matrix(f"{name}.weight"), tensors.vector(f"{name}.bias")
        return lambda states: states @ weight + bias

    def norm(name: str) -> Part:
        weight, bias = tensors.vector(f"{name}.weight"), tensors.vector(f"{name}.bias")
        return partial(_normed, weight=weight, bias=bias, epsilon=config.get("layer_norm_eps", 1e-12))

    words, places, kinds = (
        tensors.table(f"embeddings.{kind}_embeddings.weight") for kind in ("word", "position", "token_type")
    )
    first, heads = norm("embeddings.LayerNorm"), int(config["num_attention_heads"])

    def embed(ids: np.ndarray) -> np.ndarray:
        return first(words(ids) + kinds(np.zeros_like(ids)) + places(np.arange(len(ids))))

    def layer(name: str) -> Part:
        query, key, value = (linear(f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        attended, attended_norm = linear(f"{name}.attention.output.dense"), norm(f"{name}.attention.output.LayerNorm")
        up, down, out_norm = (
            linear(f"{name}.intermediate.dense"),
            linear(f"{name}.output.dense"),
            norm(f"{name}.output.LayerNorm"),
        )

        def forward(states: np.ndarray) -> np.ndarray:
            seen = _attention(query(states), key(states), value(states), heads)
            states = attended_norm(attended(seen) + states)
            return out_norm(down(_gelu(up(states))) + states)

        return forward

    return embed, [layer(f"encoder.layer.{number}") for number in range(int(config["num_hidden_layers"]))]


def _normed(states: np.ndarray, weight: np.ndarray, bias: np.ndarray, epsilon: float) -> np.ndarray:
    centred = states - states.mean(-1, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(-1, keepdims=True) + np.float32(epsilon))
    return centred / deviation * weight + bias


def _attention(queries: np.ndarray, keys: np.ndarray, values: np.ndarray, heads: int) -> np.ndarray:
    """Every token sees every token; all arrays are [L, D]."""
    length, width = queries.shape
    size = width // heads
    q, k, v = (part.reshape(length, heads, size).swapaxes(0, 1) for part in (queries, keys, values))  # [H, L, D / H]
    scores = q @ k.swapaxes(1, 2) * np.float32(size**-0.5)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    scores /= scores.sum(-1, keepdims=True)
    return (scores @ v).swapaxes(0, 1).reshape(length, width)


def _gelu(states: np.ndarray) -> np.ndarray:
    return states * np.float32(0.5) * (1 + _erf(states * np.float32(0.5**0.5)))


def _erf(values: np.ndarray) -> np.ndarray:
    """The error function within 1.5e-7, which is float32's own precision: Abramowitz and Stegun, formula 7.1.26."""
    size = np.abs(values)
    t = 1 / (1 + np.float32(0.3275911) * size)
    series = np.float32(1.061405429) * t
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + np.float32(factor)) * t
    return np.copysign(1 - series * np.exp(-size * size), values)
