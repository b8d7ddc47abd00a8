"""Model folders that can be loaded: a table, tried in order. Each entry turns files into parts of an encoder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tokenizers import Tokenizer
from transformers import PretrainedConfig

from debater_search.encoder.families import MINICPM, is_causal, is_decoder, model_type, positions
from debater_search.encoder.loading.adapter import ADAPTER_FILE, read_adapter, with_adapter
from debater_search.encoder.loading.dense import load_head
from debater_search.encoder.loading.files import read_json
from debater_search.encoder.loading.origin import Origin
from debater_search.encoder.loading.parts import Parts, Request
from debater_search.encoder.loading.plain import DEFAULT_LENGTH, spec_between
from debater_search.encoder.loading.sentence_transformer import MODULES_FILE, read_declared
from debater_search.encoder.loading.thinking import add_thinking_tokens, reserved_tokens, with_thinking_tokens
from debater_search.encoder.loading.tokenizer import declared_end, load_tokenizer, special_tokens
from debater_search.encoder.spec import CHECKPOINT_FILE, EncoderSpec
from debater_search.errors import DamagedError, InvalidError, MissingError

PUBLISHED_FILE = "llm2vec_config.json"
TRAINING_LOG = "metrics.jsonl"
"""What a training run writes first."""
PUBLISHED_STEPS = 8
OTHER_TASKS = {
    "SequenceClassification": "a cross-encoder or classifier, which scores texts and makes no vectors",
    "TokenClassification": "which labels tokens and makes no vectors",
    "QuestionAnswering": "which marks answers and makes no vectors",
    "MultipleChoice": "which chooses answers and makes no vectors",
    "ColBERT": "which makes a vector of each token, not one of a text",
}
"""Part of an architecture's name → what such a model does instead of one vector per text."""


def load_parts(request: Request) -> Parts:
    """Load a model folder by the first layout whose marker it holds.

    Raises MissingError if it holds none, InvalidError for the output of a training run that has not ended.
    """
    _require_finished_run(request.folder)
    for marker, load in LAYOUTS:
        if (request.folder / marker).is_file():
            if request.base_model and not (request.folder / ADAPTER_FILE).is_file():
                raise InvalidError(
                    f"{request.source.name} is a whole model, not an adapter on base_model.", "Leave base_model out."
                )
            return load(request)
    raise MissingError(
        f"{request.folder} is not a model folder: it has none of {', '.join(marker for marker, _ in LAYOUTS)}.",
        "Give a folder saved by debater, peft, transformers or sentence-transformers.",
    )


def _require_finished_run(folder: Path) -> None:
    """Raise InvalidError for the output of a training run without a final model: other files may lie there."""
    if (folder / CHECKPOINT_FILE).is_file():
        return
    steps = [path.parent.name.partition("-")[2] for path in folder.glob(f"checkpoint-*/{CHECKPOINT_FILE}")]
    newest = max((int(step) for step in steps if step.isdecimal()), default=None)
    if newest is None and not (folder / TRAINING_LOG).is_file():
        return
    if newest is None and any((folder / marker).is_file() for marker, _ in LAYOUTS):
        return
    raise InvalidError(
        f"The training run in {folder} is unfinished.",
        "Go on with debater train --resume" + (f", or use {folder / f'checkpoint-{newest}'}." if newest else "."),
    )


def load_checkpoint(request: Request) -> Parts:
    """Our own checkpoint: an adapter on a base model, or full weights, beside `debater.json`."""
    folder = request.folder
    saved = read_json(folder / CHECKPOINT_FILE)
    spec = EncoderSpec.from_dict(saved)
    _require_pooling(request, spec.query_pooling)
    if request.bidirectional and not spec.bidirectional:
        raise InvalidError(
            f"{request.source.name} was not trained to be read in both directions.", "Leave `bidirectional` out."
        )
    request = replace(request, bidirectional=spec.bidirectional)
    if request.thinking_steps not in (None, spec.thinking_steps):
        spec = spec.read_out_at(request.thinking_steps)
    tokenizer = load_tokenizer(folder)
    if not (folder / ADAPTER_FILE).is_file():
        backbone, base, below = request.backbone(folder), None, []
    else:
        adapter = read_adapter(folder)
        base = request.locate(request.base_model or saved["base_model"])
        backbone = request.backbone(base.folder, adapted=True)
        below = request.weight_files(base.folder)
        if tokenizer.get_vocab_size() > backbone.get_input_embeddings().weight.shape[0]:
            backbone.resize_token_embeddings(tokenizer.get_vocab_size(), mean_resizing=False)
        backbone = with_adapter(backbone, adapter)
    return Parts(
        backbone=backbone,
        tokenizer=tokenizer,
        spec=spec,
        weights=[*below, *request.weight_files(folder)],
        base=base or request.source,
        tokenizer_folder=folder,
        provenance=saved.get("provenance", {}),
        origin=Origin.read(saved, folder) if request.weights else None,
    )


def load_published_adapter(request: Request) -> Parts:
    """A LoRA adapter of the published layout: adapter_config.json, safetensors, llm2vec_config.json."""
    folder = request.folder
    settings = read_json(folder / PUBLISHED_FILE) if (folder / PUBLISHED_FILE).is_file() else {}
    mode = settings.get("pooling_mode")
    if mode in ("M_token", "last_token"):
        _require_pooling(request, "last")
    elif mode is not None or request.pooling is None:
        read_adapter(folder)  # one of another kind is told so first
        raise InvalidError(
            f"The adapter in {folder} does not say how it pools (pooling_mode in {PUBLISHED_FILE} is {mode!r}).",
            "Expected last_token or M_token." if mode is not None else "Name its pooling with `pooling`.",
        )
    parts = _load_body(replace(request, pooling=request.pooling or "last"))
    spec, config = parts.spec, parts.backbone.config
    if mode is not None:
        length = settings.get("max_length", DEFAULT_LENGTH)
        if not isinstance(length, int) or length < 1:
            raise DamagedError(f"{folder / PUBLISHED_FILE} has max_length {length!r}, no length.", "Fetch it again.")
        length = min(length, positions(config) or length)
        spec = replace(spec, query_length=length, document_length=length, trained_with_instructions=True)
    if mode == "M_token":
        tokens = reserved_tokens(parts.tokenizer, PUBLISHED_STEPS)
        family = model_type(read_json(parts.base.folder / "config.json"))
        guessed = tokens and tokens[0].startswith(("<|reserved_special_token_", "<unused"))
        if not tokens or guessed or (family in MINICPM and not tokens[0].startswith("<reserved_")):
            raise InvalidError(
                f"The tokenizer of {folder} lacks the thinking tokens <reserved_12>… of a published adapter.",
                "Pass the base model it was trained on with base_model.",
            )
        spec = with_thinking_tokens(spec, tokens, causal=is_causal(config))
    if request.thinking_steps not in (None, spec.thinking_steps):
        spec = spec.read_out_at(request.thinking_steps)
    return replace(parts, spec=spec)


def load_sentence_transformer(request: Request) -> Parts:
    """A sentence-transformers folder, with the pooling, prompts and lengths it declares."""
    declared = read_declared(request.folder)
    head, files = load_head(declared.layers, weights=request.weights)
    if declared.pooling is not None:
        _require_pooling(request, declared.pooling)
    elif request.pooling is None and (declared.body / "config.json").is_file():
        _require_no_other_task(declared.body)
    body = replace(request, source=replace(request.source, folder=declared.body), thinking_steps=1)
    parts = _load_body(body)
    declared.prepare(parts.tokenizer)
    config = parts.backbone.config
    limit = positions(config) or getattr(config, "max_position_embeddings", None)
    parts = replace(
        parts,
        spec=declared.applied(parts.spec, parts.tokenizer, limit),
        head=head,
        weights=[*parts.weights, *files],
        dim=declared.dim,
        assumes_pooling=parts.assumes_pooling and declared.pooling is None,
    )
    return _deliberating(parts, request)


def load_plain(request: Request) -> Parts:
    """A plain Hugging Face model: the pooling asked for, else last token for decoders, mean for encoders."""
    if request.pooling is None:
        _require_no_other_task(request.folder)
    return _deliberating(_load_body(request), request)


def _load_body(request: Request) -> Parts:
    """A transformer, or an adapter on one, read as a plain model."""
    folder, base, adapter = request.folder, request.source, None
    if (folder / ADAPTER_FILE).is_file():
        adapter = read_adapter(folder)
        base = request.locate(request.base_model or request.source.base_model or adapter.base_model)
    backbone = request.backbone(base.folder, adapted=adapter is not None)
    tokenizer_folder = folder if (folder / "tokenizer.json").is_file() else base.folder
    tokenizer = load_tokenizer(tokenizer_folder)
    decodes = is_decoder(backbone.config) and not request.bidirectional
    pooling = request.pooling or ("last" if decodes else "mean")
    parts = Parts(
        backbone=backbone,
        tokenizer=tokenizer,
        spec=replace(plain_spec(base.folder, tokenizer, backbone.config, pooling), bidirectional=request.bidirectional),
        weights=request.weight_files(base.folder),
        base=base,
        tokenizer_folder=tokenizer_folder,
        assumes_pooling=request.pooling is None,
    )
    if adapter is None:
        return parts
    weights = [*parts.weights, *request.weight_files(folder)]
    return replace(parts, backbone=with_adapter(backbone, adapter), weights=weights)


LAYOUTS: list[tuple[str, Callable[[Request], Parts]]] = [
    (CHECKPOINT_FILE, load_checkpoint),
    (PUBLISHED_FILE, load_published_adapter),
    (MODULES_FILE, load_sentence_transformer),
    (ADAPTER_FILE, load_published_adapter),
    ("config.json", load_plain),
]
"""Marker file → loader, the most specific first."""


def _deliberating(parts: Parts, request: Request) -> Parts:
    steps = request.thinking_steps
    if steps is None or steps == 1:
        return parts
    if steps < 1:
        raise InvalidError(f"thinking_steps is {steps}.", "Use 1 (no deliberation) or more.")
    if parts.head is not None:
        raise InvalidError("Thinking tokens behind a sentence-transformers dense layer are not supported.", "")
    family = model_type(read_json(parts.base.folder / "config.json"))
    spec = add_thinking_tokens(parts.spec, steps, parts.backbone, parts.tokenizer, family)
    return replace(parts, spec=spec)


def plain_spec(folder: Path, tokenizer: Tokenizer, config: PretrainedConfig, pooling: str) -> EncoderSpec:
    """How a plain model is read: special tokens as its tokenizer sets them, `</s>` literally for MiniCPM."""
    family = model_type(read_json(folder / "config.json"))
    prefix, suffix = (("<s>",), ("</s>",)) if family in MINICPM else special_tokens(folder, tokenizer)
    if is_decoder(config) and not suffix:
        suffix = (declared_end(folder, tokenizer),)
    return spec_between((prefix, suffix), folder, tokenizer, pooling, positions(config))


def _require_pooling(request: Request, declared: str) -> None:
    """Raise InvalidError if the caller asks for another pooling than the one that a model declares."""
    if request.pooling not in (None, declared):
        raise InvalidError(
            f"{request.source.name} declares the pooling {declared}; it cannot be read by {request.pooling}.",
            "Leave `pooling` out.",
        )


def _require_no_other_task(folder: Path) -> None:
    """Raise InvalidError for a plain model that was trained for something else than one vector of a text."""
    named = read_json(folder / "config.json").get("architectures")
    for name in named if isinstance(named, list) else ():
        for task, what in OTHER_TASKS.items():
            if task.lower() in str(name).lower():
                raise InvalidError(
                    f"{folder} holds a {name}, {what}.",
                    "If it was trained for vectors all the same, name its `pooling`.",
                )
