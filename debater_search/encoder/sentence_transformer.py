"""What a sentence-transformers folder declares: pooling, prompts, lengths, layers behind the pooling."""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from debater_search.encoder.backbone import read_json
from debater_search.encoder.spec import EncoderSpec
from debater_search.errors import DebaterError

POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_lasttoken": "last",
}
QUERY_PROMPTS, DOCUMENT_PROMPTS = ("query", "search_query"), ("document", "passage", "corpus", "search_document")
ACTIVATIONS = {"Tanh": nn.Tanh, "Identity": nn.Identity, "GELU": nn.GELU, "ReLU": nn.ReLU}


def declared_spec(folder: Path, plain: EncoderSpec) -> tuple[EncoderSpec, nn.Module | None, list[Path]]:
    """Read modules.json and what it points to.

    Returns the spec, the dense layers behind the pooling (None where there are none) and their weight files.
    Raises DebaterError for a module that cannot be reproduced.
    """
    pooling, layers, files = plain.document_pooling, [], []
    for module in read_module_list(folder):
        kind, path = module.get("type", "").rsplit(".", 1)[-1], folder / module.get("path", "")
        if kind == "Pooling":
            pooling = _pooling(path)
        elif kind == "Dense":
            layers.append(_dense(path))
            files.append(path / "model.safetensors")
        elif kind not in ("Transformer", "Normalize"):
            raise DebaterError(f"{folder} uses the sentence-transformers module {kind!r}, which is not supported.", "")
    length = _declared_length(folder) or plain.document_length
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
    import json

    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise DebaterError(
            f"{folder / 'modules.json'} is not valid JSON ({error}).", "Fetch the model again."
        ) from None
    if not isinstance(modules, list) or not all(isinstance(m, dict) for m in modules):
        raise DebaterError(f"{folder / 'modules.json'} does not hold a list of modules.", "Fetch the model again.")
    return modules


def _pooling(path: Path) -> str:
    config = read_json(path / "config.json")
    if isinstance(config.get("pooling_mode"), str):  # newer releases name it in one word
        modes = [{"lasttoken": "last", "mean_sqrt_len_tokens": "mean_sqrt_len"}.get(m, m)
                 for m in config["pooling_mode"].split("+")]  # fmt: skip
    else:
        modes = [POOLING_KEYS.get(k, k) for k, on in config.items() if k.startswith("pooling_mode_") and on]
    if len(modes) != 1 or modes[0] not in POOLING_KEYS.values():
        raise DebaterError(f"{path} asks for the pooling {' + '.join(modes) or 'none'}, which is not supported.", "")
    if config.get("include_prompt") is False:
        raise DebaterError(f"{path} leaves the prompt out of the pooling, which is not supported.", "")
    return modes[0]


def _dense(path: Path) -> nn.Module:
    config = read_json(path / "config.json")
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh").rsplit(".", 1)[-1]
    if activation not in ACTIVATIONS:
        raise DebaterError(f"{path} uses the activation {activation!r}, which is not supported.", "")
    layer = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    try:
        weights = load_file(path / "model.safetensors")
        layer.load_state_dict({k.removeprefix("linear."): v.to(torch.float32) for k, v in weights.items()})
    except Exception as error:  # safetensors and torch raise many kinds
        raise DebaterError(
            f"The dense layer in {path} cannot be loaded ({error}).", "Fetch the model again."
        ) from error
    return nn.Sequential(layer, ACTIVATIONS[activation]())


def _declared_length(folder: Path) -> int | None:
    for name in ("sentence_bert_config.json", "sentence_roberta_config.json", "sentence_xlm-roberta_config.json"):
        if (folder / name).is_file() and (length := read_json(folder / name).get("max_seq_length")):
            return int(length)
    return None


def _prompts(folder: Path) -> tuple[str, str]:
    path = folder / "config_sentence_transformers.json"
    config = read_json(path) if path.is_file() else {}
    prompts = {k: v for k, v in (config.get("prompts") or {}).items() if isinstance(v, str)}
    default = prompts.get(config.get("default_prompt_name") or "", "")
    query = next((prompts[name] for name in QUERY_PROMPTS if name in prompts), default)
    document = next((prompts[name] for name in DOCUMENT_PROMPTS if name in prompts), default)
    return query, document
