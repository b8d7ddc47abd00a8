"""What a sentence-transformers folder declares: pooling, prompts, lengths, layers behind the pooling.

Whatever changes its vectors is read or refused by its name, before the model itself is loaded. No torch is needed.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers

from debater_search.encoder.loading.files import read_json
from debater_search.encoder.loading.tokenizer import cuts_left, special_tokens
from debater_search.encoder.spec import DECLARABLE_POOLINGS, EncoderSpec
from debater_search.encoder.template import Template
from debater_search.errors import DamagedError, InvalidError
from debater_search.files import from_json

MODULES_FILE = "modules.json"
POOLING_NAMES = {"lasttoken": "last", "mean_sqrt_len_tokens": "mean_sqrt_len"}
"""Their names of poolings that have other names here."""
POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "last",
}
"""How older releases write them: one key each, true or false."""
QUERY_PROMPTS, DOCUMENT_PROMPTS = ("query", "search_query"), ("document", "passage", "corpus", "search_document")
UNLIMITED = 1e9
"""Tokenizers without a limit declare an astronomical one."""
HARMLESS = ("attn_implementation", "device_map", "dtype", "low_cpu_mem_usage", "model_max_length", "padding_side",
            "torch_dtype", "trust_remote_code", "unpad_inputs", "use_fast", "use_memory_efficient_attention",
            "use_safetensors")  # fmt: skip
"""Arguments of transformers in a folder that do not change vectors, or are set here in another way."""


@dataclass(frozen=True)
class Declared:
    """What the folder says beside the transformer itself."""

    body: Path
    """Where the transformer lies: the folder, or in old releases `0_Transformer` inside it."""
    pooling: str | None
    """None if the transformer stands alone."""
    layers: list[tuple[str, Path]]
    """Kind, Dense or Normalize, and place of the layers between the pooling and the last normalisation."""
    query_prompt: str
    document_prompt: str
    dim: int | None
    """How many numbers of each vector are kept; None for all."""
    lower_case: bool
    """Whether texts are lower-cased before a tokenizer that may not do it itself."""

    def prepare(self, tokenizer: Tokenizer) -> None:
        """Let a tokenizer read texts as the folder asks for."""
        if self.lower_case:
            first = [tokenizer.normalizer] if tokenizer.normalizer else []
            tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *first])

    def applied(self, spec: EncoderSpec, tokenizer: Tokenizer, positions: int | None) -> EncoderSpec:
        """The spec of the transformer alone, a plain model, with what the folder declares of it."""
        prefix, suffix = special_tokens(self.body, tokenizer)  # for a decoder too only what its tokenizer sets
        template = Template(
            prefix=prefix,
            query_suffix=suffix,
            document_suffix=suffix,
            query_prompt=self.query_prompt,
            document_prompt=self.document_prompt,
            cuts_left=cuts_left(self.body),
        )
        length = self._length(positions)
        pooling = self.pooling or spec.document_pooling
        return replace(
            spec,
            template=template,
            query_pooling=pooling,
            document_pooling=pooling,
            query_length=length or spec.query_length,
            document_length=length or spec.document_length,
        )

    def _length(self, positions: int | None) -> int | None:
        """`max_seq_length`, or, as newer releases write it, the tokenizer's `model_max_length`, within `positions`."""
        declared = [config.get("max_seq_length") for config in _body_configs(self.body)]
        if (self.body / "tokenizer_config.json").is_file():
            declared.append(read_json(self.body / "tokenizer_config.json").get("model_max_length"))
        length = next((n for n in declared if isinstance(n, int | float) and 0 < n < UNLIMITED), None)
        known = [int(n) for n in (length, positions) if n]
        return min(known) if known else None


def read_declared(folder: Path) -> Declared:
    """Read modules.json and what it points to, but for the layers behind the pooling (`dense.load_head`).

    Raises InvalidError for anything that would change the vectors and cannot be reproduced.
    """
    settings = _read_if_there(folder / "config_sentence_transformers.json")
    made_as = settings.get("model_type") or "SentenceTransformer"
    if made_as != "SentenceTransformer":
        raise InvalidError(
            f"{folder} is a {made_as} of sentence-transformers, which does not make one vector of a text.",
            "Use a SentenceTransformer.",
        )
    body, pooling = None, None
    layers: list[tuple[str, Path]] = []
    for kind, path in _modules(folder):
        if kind == "Transformer" and body is None:
            body = path
        elif kind == "Pooling" and body is not None and pooling is None and not layers:
            pooling = _pooling(path)
        elif kind in ("Dense", "Normalize"):
            _require_whole_texts(path)
            layers.append((kind, path))
        elif kind != "Dropout":
            raise InvalidError(f"{folder} uses the sentence-transformers module {kind}, which is not supported.", "")
    if body is None:
        raise InvalidError(f"{folder / 'modules.json'} names no Transformer.", "Fetch the model again.")
    if layers and pooling is None:
        raise InvalidError(
            f"{folder} has no Pooling: like ColBERT, it makes a vector of each token, not one of a text.",
            "Use a model that pools.",
        )
    _require_forward(body)
    dim = _truncated(settings, folder)
    normalised = bool(layers) and layers[-1][0] == "Normalize" and dim is None
    _require_cosine(settings, folder, normalised=normalised)
    while layers and layers[-1][0] == "Normalize":
        layers.pop()  # every embedding has length 1 anyway
    query_prompt, document_prompt = _prompts(settings, folder)
    return Declared(
        body=body,
        pooling=pooling,
        layers=layers,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        dim=dim,
        lower_case=any(config.get("do_lower_case") is True for config in _body_configs(body)),
    )


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """Kind and place of each module in modules.json, a JSON list. Raises InvalidError for code of the folder's own."""
    path = folder / MODULES_FILE
    try:
        modules = from_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedError(f"{path} is not valid JSON ({error}).", "Fetch the model again.") from None
    found = []
    for module in modules if isinstance(modules, list) else [None]:
        if not isinstance(module, dict) or not all(isinstance(module.get(k, ""), str) for k in ("type", "path")):
            raise DamagedError(f"{path} does not hold a list of modules.", "Fetch the model again.")
        package, _, kind = module.get("type", "").rpartition(".")
        if package.startswith("pylate."):
            raise InvalidError(
                f"{folder} is a ColBERT folder of pylate: it makes a vector of each token, not one of a text.",
                "Use a model that pools.",
            )
        if not package.startswith("sentence_transformers."):
            raise InvalidError(
                f"{folder} uses the module {module.get('type')}, whose code is not run.",
                "Use a model of sentence-transformers' own modules.",
            )
        found.append((kind, folder / module.get("path", "")))
    return found


def _pooling(path: Path) -> str:
    config = read_json(path / "config.json")
    named = config.get("pooling_mode")
    if named is None:  # older releases
        modes = [POOLING_KEYS.get(k, k) for k, on in config.items() if k.startswith("pooling_mode_") and on is True]
    else:
        named = named.split("+") if isinstance(named, str) else named if isinstance(named, list) else [named]
        modes = [POOLING_NAMES.get(str(mode), str(mode)) for mode in named]
    modes = modes or ["mean"]  # their default
    if len(modes) != 1 or modes[0] not in DECLARABLE_POOLINGS:
        raise InvalidError(f"{path} asks for the pooling {' + '.join(modes)}, which is not supported.", "")
    if config.get("include_prompt") is False:
        raise InvalidError(
            f"{path} leaves the prompt out of the pooling (include_prompt is false), which is not supported.", ""
        )
    return modes[0]


def _require_whole_texts(path: Path) -> None:
    """Raise InvalidError for a layer that reads or writes other vectors than those of whole texts."""
    config = _read_if_there(path / "config.json")
    for setting in ("module_input_name", "module_output_name"):
        if (name := config.get(setting) or "sentence_embedding") != "sentence_embedding":
            raise InvalidError(f"{path} works on {name!r} ({setting}), which is not supported.", "")


def _require_forward(body: Path) -> None:
    """Raise InvalidError if the transformer is not read plainly: text in, the last layer's states out."""
    for config in _body_configs(body):
        modalities = config.get("modality_config") or {"text": {}}
        text = modalities.get("text") if isinstance(modalities, dict) else None
        if not isinstance(text, dict):
            raise InvalidError(f"{body} reads no plain text (modality_config), which is not supported.", "")
        read = {
            "transformer_task": (config.get("transformer_task"), "feature-extraction"),
            "method": (text.get("method"), "forward"),
            "method_output_name": (text.get("method_output_name"), "last_hidden_state"),
            "module_output_name": (config.get("module_output_name"), "token_embeddings"),
        }
        for setting, (value, supported) in read.items():
            if value not in (None, supported):
                raise InvalidError(f"{body} sets {setting} to {value!r}, which is not supported.", "")
        for setting, values in config.items():
            if setting.endswith(("_args", "_kwargs")) and isinstance(values, dict):
                for name in sorted(values.keys() - HARMLESS):
                    raise InvalidError(f"{body} sets {name} in {setting}, which is not supported.", "")


def _require_cosine(settings: dict[str, Any], folder: Path, *, normalised: bool) -> None:
    """Raise InvalidError if texts are not ranked as by the cosine, which every search here ranks by."""
    name = settings.get("similarity_fn_name") or "cosine"
    if name != "cosine" and not (normalised and name in ("dot", "euclidean")):
        raise InvalidError(
            f"{folder} declares the similarity {name} (similarity_fn_name); here vectors have length 1 and are "
            "compared by cosine, which ranks differently.",
            "Use a model for cosine similarity.",
        )


def _truncated(settings: dict[str, Any], folder: Path) -> int | None:
    dim = settings.get("truncate_dim")
    if dim is not None and (not isinstance(dim, int) or isinstance(dim, bool) or dim < 1):
        raise InvalidError(f"{folder} sets truncate_dim to {dim!r}, which is no number of dimensions.", "")
    return dim


def _prompts(settings: dict[str, Any], folder: Path) -> tuple[str, str]:
    declared = settings.get("prompts")
    prompts = {k: v for k, v in declared.items() if isinstance(v, str)} if isinstance(declared, dict) else {}
    name = settings.get("default_prompt_name")
    if name and (not isinstance(name, str) or name not in prompts):
        raise InvalidError(f"{folder} has no prompt {name!r} (default_prompt_name).", "Fetch the model again.")
    default = prompts[name] if name else ""
    query = next((prompts[name] for name in QUERY_PROMPTS if name in prompts), default)
    document = next((prompts[name] for name in DOCUMENT_PROMPTS if name in prompts), default)
    return query, document


def _body_configs(body: Path) -> list[dict[str, Any]]:
    names = ("sentence_bert_config.json", "sentence_roberta_config.json", "sentence_xlm-roberta_config.json")
    return [read_json(body / name) for name in names if (body / name).is_file()]


def _read_if_there(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
