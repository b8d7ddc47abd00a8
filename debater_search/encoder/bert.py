"""The forward pass of BERT and RoBERTa in NumPy: that of transformers' classes in float32, for one text at a time."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from debater_search.encoder.loading.files import INT8_SCALE

FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert")
_PLAIN: dict[str, Any] = {
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "quantization_config": None,
}
"""What `config.json` must say, or leave out: the forward pass below is for nothing else."""
_PADDING = 1
"""The token of RoBERTa that fills up texts: positions begin behind its number, and it has no position itself."""
_PREFIXES = ("bert.", "roberta.")
"""What stands before the names of tensors that were saved with the head of another task."""

Part = Callable[[np.ndarray], np.ndarray]
"""A part of the model: states [L, D] → states."""


class Bert:
    """The body of a model, read from its config and its file of weights.

    Raises ValueError or LookupError for a config or tensors of another kind.
    """

    def __init__(self, config: dict[str, Any], weights: Path) -> None:
        if config["model_type"] not in FAMILIES or any(config.get(name, v) != v for name, v in _PLAIN.items()):
            raise ValueError("config.json is not that of a plain BERT")
        padded = config["model_type"] != "bert"
        if padded and config.get("pad_token_id", _PADDING) != _PADDING:
            raise ValueError("positions begin behind another padding token")
        self.dim = int(config["hidden_size"])
        self.positions = int(config["max_position_embeddings"]) - (_PADDING + 1 if padded else 0)
        """The longest text in tokens."""
        self._embed, self._layers = _parts(_Tensors(weights), config, padded=padded)

    def states(self, ids: np.ndarray) -> np.ndarray:
        """Token ids [L] → the last hidden states [L, D]."""
        states = self._embed(ids)
        for layer in self._layers:
            states = layer(states)
        return states


class _Tensors:
    """The tensors of a file by name, in float32; integers of 8 bits are multiplied by the scales of their rows."""

    def __init__(self, path: Path) -> None:
        self._stored = {_usual(name): tensor for name, tensor in load_file(path).items()}
        if any(tensor.dtype.kind not in "fiu" for tensor in self._stored.values()):
            raise ValueError(f"{path} has numbers of a type that NumPy lends from another library, such as bfloat16")

    def vector(self, name: str) -> np.ndarray:
        """A bias, or the weights of a norm."""
        return self._stored[name].astype(np.float32, copy=False)

    def matrix(self, name: str) -> np.ndarray:
        """A weight [outputs, inputs]."""
        stored, scale = self._stored[name], self._stored.get(name + INT8_SCALE)
        return stored.astype(np.float32, copy=False) if scale is None else stored * scale[:, None]

    def table(self, name: str) -> Callable[[np.ndarray], np.ndarray]:
        """Ids [n] → rows [n, D] of a table."""
        stored, scales = self._stored[name], self._stored.get(name + INT8_SCALE)
        if scales is None:
            return lambda ids: stored[ids].astype(np.float32)
        return lambda ids: stored[ids] * scales[ids][:, None]


def _usual(name: str) -> str:
    """The name of a tensor as the body alone has it; norms of the first BERTs have names of their own."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _parts(tensors: _Tensors, config: dict[str, Any], *, padded: bool) -> tuple[Part, list[Part]]:
    """What turns token ids [L] into states [L, D], and the layers behind it."""

    def linear(name: str) -> Part:
        weight, bias = tensors.matrix(f"{name}.weight"), tensors.vector(f"{name}.bias")
        return lambda states: (weight @ states.T).T + bias  # a third faster than states @ weight.T

    def norm(name: str) -> Part:
        weight, bias = tensors.vector(f"{name}.weight"), tensors.vector(f"{name}.bias")
        return partial(_normed, weight=weight, bias=bias, epsilon=config.get("layer_norm_eps", 1e-12))

    words, places, kinds = (
        tensors.table(f"embeddings.{kind}_embeddings.weight") for kind in ("word", "position", "token_type")
    )
    first, heads = norm("embeddings.LayerNorm"), int(config["num_attention_heads"])

    def embed(ids: np.ndarray) -> np.ndarray:
        real = ids != _PADDING
        positions = _PADDING + real.cumsum() * real if padded else np.arange(len(ids))
        return first(words(ids) + kinds(np.zeros_like(ids)) + places(positions))

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
