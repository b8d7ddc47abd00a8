"""Model folders that can be loaded: a table, tried in order. Each entry turns files into parts of an encoder."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, normalizers
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from debater_search.encoder.backbone import (
    MINICPM,
    is_causal,
    load_backbone,
    model_type,
    positions,
    read_json,
    weight_files,
)
from debater_search.encoder.hub import Source, locate
from debater_search.encoder.spec import CHECKPOINT_FILE, EncoderSpec
from debater_search.encoder.template import Template, token_ids
from debater_search.encoder.thinking import add_thinking_tokens, reserved_tokens, with_thinking_tokens
from debater_search.encoder.tokenizer import declared_end, load_tokenizer, special_tokens
from debater_search.errors import DebaterError

PUBLISHED_FILE = "llm2vec_config.json"
PUBLISHED_STEPS = 8
DEFAULT_LENGTH = 512


@dataclass
class Parts:
    """What a layout delivers."""

    backbone: PreTrainedModel
    tokenizer: Tokenizer
    spec: EncoderSpec
    weights: list[Path]
    """Every file of weights that the encoder is made of; its fingerprint hashes them."""
    base: Source
    """The model below an adapter, or the model itself."""
    tokenizer_folder: Path
    head: nn.Module | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What the caller asks of a model."""

    source: Source
    base_model: str | None
    thinking_steps: int | None
    dtype: torch.dtype
    attention: str | None
    weights: bool = True
    """False: shapes and tokenizer only, for who must know a model without loading it."""

    @property
    def folder(self) -> Path:
        """The model's files."""
        return self.source.folder

    def locate(self, model: str) -> Source:
        """Find another model that this one is made of."""
        return locate(model, weights=self.weights)

    def backbone(self, folder: Path) -> PreTrainedModel:
        """The body of the model in a folder."""
        return load_backbone(folder, dtype=self.dtype, attention=self.attention, weights=self.weights)

    def weight_files(self, folder: Path) -> list[Path]:
        """The files of weights in a folder; none where they are not asked for."""
        return weight_files(folder) if self.weights else []


def load_parts(request: Request) -> Parts:
    """Load whatever kind of model folder this is. Raises DebaterError where it is none."""
    for marker, load in LAYOUTS:
        if (request.folder / marker).is_file():
            if request.base_model and not (request.folder / "adapter_config.json").is_file():
                raise DebaterError(
                    f"{request.source.name} is a whole model, not an adapter on base_model.", "Leave base_model out."
                )
            return load(request)
    raise DebaterError(
        f"{request.folder} is not a model folder: it has none of {', '.join(marker for marker, _ in LAYOUTS)}.",
        "Give a folder saved by debater, peft, transformers or sentence-transformers.",
    )


def load_checkpoint(request: Request) -> Parts:
    """Our own checkpoint: an adapter on a base model, or full weights, beside `debater.json`."""
    folder = request.folder
    saved = read_json(folder / CHECKPOINT_FILE)
    spec = EncoderSpec.from_dict(saved)
    if request.thinking_steps not in (None, spec.thinking_steps):
        spec = spec.read_out_at(request.thinking_steps)
    tokenizer = load_tokenizer(folder)
    if not (folder / "adapter_config.json").is_file():
        backbone, base, below = request.backbone(folder), None, []
    else:
        base = request.locate(request.base_model or saved["base_model"])
        backbone = request.backbone(base.folder)
        below = request.weight_files(base.folder)
        if tokenizer.get_vocab_size() > backbone.get_input_embeddings().weight.shape[0]:
            backbone.resize_token_embeddings(tokenizer.get_vocab_size(), mean_resizing=False)
        backbone = with_adapter(backbone, folder)
    return Parts(
        backbone=backbone,
        tokenizer=tokenizer,
        spec=spec,
        weights=[*below, *request.weight_files(folder)],
        base=base or request.source,
        tokenizer_folder=folder,
        provenance=saved.get("provenance", {}),
    )


def load_published_adapter(request: Request) -> Parts:
    """A LoRA adapter of the published layout: adapter_config.json, safetensors, llm2vec_config.json."""
    folder = request.folder
    declared = read_json(folder / "adapter_config.json").get("base_model_name_or_path") or ""
    settings = read_json(folder / PUBLISHED_FILE) if (folder / PUBLISHED_FILE).is_file() else {}
    mode = settings.get("pooling_mode")
    if mode not in ("M_token", "last_token"):
        raise DebaterError(
            f"The adapter in {folder} does not say how it pools (pooling_mode in {PUBLISHED_FILE} is {mode!r}).",
            "Expected last_token or M_token.",
        )
    base = request.locate(request.base_model or request.source.base_model or declared)
    family = model_type(read_json(base.folder / "config.json"))
    tokenizer = load_tokenizer(folder if (folder / "tokenizer.json").is_file() else base.folder)
    backbone = request.backbone(base.folder)
    spec = plain_spec(base.folder, tokenizer, family, backbone.config)
    length = int(settings.get("max_length", 512))
    spec = replace(spec, query_length=length, document_length=length, trained_with_instructions=True)
    if mode == "M_token":
        tokens = reserved_tokens(tokenizer, PUBLISHED_STEPS)
        if not tokens or (family in MINICPM and not tokens[0].startswith("<reserved_")):
            raise DebaterError(
                f"The tokenizer of {folder} lacks the thinking tokens <reserved_12>… of a published adapter.",
                "Pass the base model it was trained on with base_model.",
            )
        spec = with_thinking_tokens(spec, tokens, causal=is_causal(backbone.config))
    if request.thinking_steps not in (None, spec.thinking_steps):
        spec = spec.read_out_at(request.thinking_steps)
    return Parts(
        backbone=with_adapter(backbone, folder),
        tokenizer=tokenizer,
        spec=spec,
        weights=[*request.weight_files(base.folder), *request.weight_files(folder)],
        base=base,
        tokenizer_folder=folder if (folder / "tokenizer.json").is_file() else base.folder,
    )


def load_sentence_transformer(request: Request) -> Parts:
    """A sentence-transformers folder, with the pooling, prompts and lengths it declares."""
    from debater_search.encoder.sentence_transformer import asks_lower_case, body_folder, declared_spec

    body = body_folder(request.folder)
    parts = load_plain(replace(request, source=replace(request.source, folder=body), thinking_steps=1))
    if asks_lower_case(body):
        first = [parts.tokenizer.normalizer] if parts.tokenizer.normalizer else []
        parts.tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *first])
    prefix, suffix = special_tokens(parts.tokenizer)  # also of a decoder nothing but what its tokenizer sets
    plain = replace(parts.spec, template=Template(prefix=prefix, query_suffix=suffix, document_suffix=suffix))
    config = parts.backbone.config
    limit = positions(config) or getattr(config, "max_position_embeddings", None)
    spec, head, files = declared_spec(request.folder, body, plain, limit)
    return _deliberating(replace(parts, spec=spec, head=head, weights=[*parts.weights, *files]), request)


def load_plain(request: Request) -> Parts:
    """A plain Hugging Face model: last token for decoders, mean for encoders, no instruction."""
    backbone = request.backbone(request.folder)
    tokenizer = load_tokenizer(request.folder)
    family = model_type(read_json(request.folder / "config.json"))
    spec = plain_spec(request.folder, tokenizer, family, backbone.config)
    parts = Parts(backbone, tokenizer, spec, request.weight_files(request.folder), request.source, request.folder)
    return _deliberating(parts, request)


LAYOUTS: list[tuple[str, Callable[[Request], Parts]]] = [
    (CHECKPOINT_FILE, load_checkpoint),
    ("adapter_config.json", load_published_adapter),
    ("modules.json", load_sentence_transformer),
    ("config.json", load_plain),
]
"""Marker file → loader, the most specific first."""


def _deliberating(parts: Parts, request: Request) -> Parts:
    steps = request.thinking_steps
    if steps is None or steps == 1:
        return parts
    if steps < 1:
        raise DebaterError(f"thinking_steps is {steps}.", "Use 1 (no deliberation) or more.")
    if parts.head is not None:
        raise DebaterError("Thinking tokens behind a sentence-transformers dense layer are not supported.", "")
    family = model_type(read_json(parts.tokenizer_folder / "config.json"))
    spec = add_thinking_tokens(parts.spec, steps, parts.backbone, parts.tokenizer, family)
    return replace(parts, spec=spec)


def plain_spec(folder: Path, tokenizer: Tokenizer, family: str, config: PretrainedConfig) -> EncoderSpec:
    """How a plain model is read: special tokens as its tokenizer sets them, `</s>` literally for MiniCPM."""
    causal = is_causal(config)
    prefix, suffix = (("<s>",), ("</s>",)) if family in MINICPM else special_tokens(tokenizer)
    if causal and not suffix:
        suffix = (declared_end(folder, tokenizer),)
    token_ids(tokenizer, prefix + suffix)
    template = Template(prefix=prefix, query_suffix=suffix, document_suffix=suffix)
    pooling = "last" if causal else "mean"
    length = min(DEFAULT_LENGTH, positions(config) or DEFAULT_LENGTH)
    return EncoderSpec(template, pooling, pooling, query_length=length, document_length=length)


def with_adapter(backbone: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Put a LoRA adapter on a model. Raises DebaterError where any of its tensors finds no place."""
    from peft import PeftConfig, get_peft_model, set_peft_model_state_dict

    weight_files(folder)
    try:
        settings = PeftConfig.from_pretrained(str(folder))
        if not getattr(settings, "target_modules", None):
            raise ValueError("adapter_config.json names no target_modules")
        weights = load_file(folder / "adapter_model.safetensors")
    except Exception as error:  # safetensors, JSON and peft raise many kinds
        raise DebaterError(f"The adapter in {folder} cannot be read ({error}).", "Fetch it again.") from error
    settings.inference_mode, settings.base_model_name_or_path, settings.task_type = True, None, None
    # An adapter saved on the model with its head names every layer one `model.` deeper; the head itself is not used.
    weights = {k.replace("base_model.model.model.", "base_model.model.", 1): v for k, v in weights.items()
               if ".lm_head." not in k}  # fmt: skip
    for name in ("target_modules", "modules_to_save"):
        if isinstance(targets := getattr(settings, name), list | set):
            setattr(settings, name, {target.removeprefix("model.") for target in targets} - {"lm_head"} or None)
    try:
        adapted = get_peft_model(backbone, settings)
        report = set_peft_model_state_dict(adapted, weights)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DebaterError(
            f"The adapter in {folder} does not fit its base model: {reason}", "Check base_model."
        ) from error
    lost = [*report.unexpected_keys, *(k for k in report.missing_keys if "lora_" in k or "trainable_tokens" in k)]
    if lost:
        raise DebaterError(
            f"The adapter in {folder} does not fit its base model ({len(lost)} tensors, first: {lost[0]}).",
            "Check base_model.",
        )
    return adapted.eval()


def with_document_length(parts: Parts, length: int) -> EncoderSpec:
    """The spec with another document limit. Raises DebaterError beyond what the model has positions for."""
    require_positions(parts, length)
    return replace(parts.spec, document_length=length)


def require_positions(parts: Parts, length: int) -> None:
    """Raise DebaterError where texts of `length` tokens are impossible."""
    limit = positions(parts.backbone.config)
    if length < 1 or (limit is not None and length > limit):
        raise DebaterError(f"max_length={length} is not possible for this model.", f"Use 1 to {limit or 'any length'}.")
