"""What a sentence-transformers folder declares: pooling, prompts, lengths, layers behind the pooling."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from debater_search.encoder.loading.files import read_json
from debater_search.encoder.spec import EncoderSpec
from debater_search.errors import DamagedError, InvalidError
from debater_search.files import from_json

POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_lasttoken": "last",
}
QUERY_PROMPTS, DOCUMENT_PROMPTS = ("query", "search_query"), ("document", "passage", "corpus", "search_document")
UNLIMITED = 1e9
"""Tokenizers without a limit declare an astronomical one."""
ACTIVATIONS = {"Tanh": nn.Tanh, "Identity": nn.Identity, "GELU": nn.GELU, "ReLU": nn.ReLU}


class Normalize(nn.Module):
    """Unit length between the pooling and a dense layer; behind all layers every embedding has it anyway."""

    def forward(self, pooled: Tensor) -> Tensor:
        """The same vectors [..., D] with length 1."""
        return normalize(pooled, dim=-1)


def body_folder(folder: Path) -> Path:
    """Where the transformer itself lies: the folder, or in old releases `0_Transformer` inside it."""
    modules = read_module_list(folder)
    return next((folder / m.get("path", "") for m in modules if _kind(m) == "Transformer"), folder)


def asks_lower_case(body: Path) -> bool:
    """Whether texts are lower-cased before a tokenizer that may not do it itself."""
    return any(config.get("do_lower_case") is True for config in _body_configs(body))


def declared_spec(
    folder: Path, body: Path, plain: EncoderSpec, positions: int | None
) -> tuple[EncoderSpec, nn.Module | None, list[Path]]:
    """Read modules.json and what it points to. `positions` is the longest text that the model can read.

    Returns the spec, the layers behind the pooling (None where there are none) and their weight files.
    Raises InvalidError for a module that cannot be reproduced.
    """
    pooling, files = plain.document_pooling, []
    layers: list[nn.Module] = []
    for module in read_module_list(folder):
        kind, path = _kind(module), folder / module.get("path", "")
        if kind == "Pooling":
            pooling = _pooling(path)
        elif kind == "Dense":
            layers.append(_dense(path))
            files.append(path / "model.safetensors")
        elif kind == "Normalize":
            layers.append(Normalize())
        elif kind not in ("Transformer", "Dropout"):
            raise InvalidError(f"{folder} uses the sentence-transformers module {kind!r}, which is not supported.", "")
    while layers and isinstance(layers[-1], Normalize):
        layers.pop()
    length = _declared_length(body, positions) or plain.document_length
    query_prompt, document_prompt = _prompts(folder)
    template = replace(plain.template, query_prompt=query_prompt, document_prompt=document_prompt)
    spec = replace(
        plain,
        template=template,
        query_pooling=pooling,
        document_pooling=pooling,
        query_length=length,
        document_length=length,
    )
    return spec, nn.Sequential(*layers) if layers else None, files


def read_module_list(folder: Path) -> list[dict[str, str]]:
    """modules.json, a JSON list."""
    try:
        modules = from_json((folder / "modules.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedError(
            f"{folder / 'modules.json'} is not valid JSON ({error}).", "Fetch the model again."
        ) from None
    if not isinstance(modules, list) or not all(isinstance(m, dict) for m in modules):
        raise DamagedError(f"{folder / 'modules.json'} does not hold a list of modules.", "Fetch the model again.")
    return modules


def _kind(module: dict[str, str]) -> str:
    return module.get("type", "").rsplit(".", 1)[-1]


def _pooling(path: Path) -> str:
    config = read_json(path / "config.json")
    if isinstance(config.get("pooling_mode"), str):  # newer releases name it in one word
        modes = [{"lasttoken": "last", "mean_sqrt_len_tokens": "mean_sqrt_len"}.get(m, m)
                 for m in config["pooling_mode"].split("+")]  # fmt: skip
    else:
        modes = [POOLING_KEYS.get(k, k) for k, on in config.items() if k.startswith("pooling_mode_") and on]
    if len(modes) != 1 or modes[0] not in POOLING_KEYS.values():
        raise InvalidError(f"{path} asks for the pooling {' + '.join(modes) or 'none'}, which is not supported.", "")
    if config.get("include_prompt") is False:
        raise InvalidError(f"{path} leaves the prompt out of the pooling, which is not supported.", "")
    return modes[0]


def _dense(path: Path) -> nn.Module:
    config = read_json(path / "config.json")
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh").rsplit(".", 1)[-1]
    if activation not in ACTIVATIONS:
        raise InvalidError(f"{path} uses the activation {activation!r}, which is not supported.", "")
    if config.get("use_residual"):
        raise InvalidError(f"{path} adds its input to its output (use_residual), which is not supported.", "")
    try:
        layer = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
        weights = load_file(path / "model.safetensors")
        layer.load_state_dict({k.removeprefix("linear."): v.to(torch.float32) for k, v in weights.items()})
    except Exception as error:  # safetensors and torch raise many kinds
        raise DamagedError(
            f"The dense layer in {path} cannot be loaded ({error}).", "Fetch the model again."
        ) from error
    return nn.Sequential(layer, ACTIVATIONS[activation]())


def _body_configs(body: Path) -> list[dict[str, Any]]:
    names = ("sentence_bert_config.json", "sentence_roberta_config.json", "sentence_xlm-roberta_config.json")
    return [read_json(body / name) for name in names if (body / name).is_file()]


def _declared_length(body: Path, positions: int | None) -> int | None:
    """`max_seq_length`, or, as newer releases write it, the tokenizer's `model_max_length`; within the positions."""
    declared = [config.get("max_seq_length") for config in _body_configs(body)]
    if (body / "tokenizer_config.json").is_file():
        declared.append(read_json(body / "tokenizer_config.json").get("model_max_length"))
    length = next((n for n in declared if isinstance(n, int | float) and 0 < n < UNLIMITED), None)
    known = [int(n) for n in (length, positions) if n]
    return min(known) if known else None


def _prompts(folder: Path) -> tuple[str, str]:
    path = folder / "config_sentence_transformers.json"
    config = read_json(path) if path.is_file() else {}
    prompts = {k: v for k, v in (config.get("prompts") or {}).items() if isinstance(v, str)}
    default = prompts.get(config.get("default_prompt_name") or "", "")
    query = next((prompts[name] for name in QUERY_PROMPTS if name in prompts), default)
    document = next((prompts[name] for name in DOCUMENT_PROMPTS if name in prompts), default)
    return query, document
