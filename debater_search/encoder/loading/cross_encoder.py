"""Folders of rerankers, checked before anything of them is loaded: what would score at random is refused.

Three kinds are understood: a sequence classifier with one label; a causal language model, whose score is the log-odds
of "yes" against "no"; and a CrossEncoder folder of sentence-transformers made of one of them.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import safe_open

from debater_search.encoder.fingerprint import weights_sha256
from debater_search.encoder.loading.adapter import ADAPTER_FILE
from debater_search.encoder.loading.files import one_line, read_json, weight_files
from debater_search.encoder.loading.tokenizer import load_tokenizer
from debater_search.errors import DamagedError, InvalidError, MissingError
from debater_search.files import from_json, sha256_file

DESCRIBING = ("*.json", "*.jinja", "*.txt", "*.model")
"""Files that decide scores beside the weights: settings, tokenizer, template."""
HEADS = ("classifier", "classification_head", "score")
"""Modules of transformers' sequence classifiers that turn a state into a score."""
ANSWERS = ("yes", "no")
SCORING = ("Transformer", "LogitScore", "Pooling", "Dense", "Normalize")
"""Modules of sentence-transformers that a CrossEncoder folder is made of."""
A_RERANKER = "Use a cross-encoder with one label, or a causal model made for reranking."


def check_folder(folder: Path) -> None:
    """Make sure that a folder holds a reranker in safetensors.

    Raises:
        MissingError: files are missing.
        DamagedError: a file cannot be read.
        InvalidError: a pickle, an adapter, a model that makes vectors, or one without a head for one score.

    """
    if (folder / ADAPTER_FILE).is_file():
        raise InvalidError(
            f"{folder} is an adapter, and rerankers are loaded whole.", "Merge it into its base model with peft."
        )
    modules = _modules(folder) if (folder / "modules.json").is_file() else {}
    body = modules.get("Transformer", folder)
    if not (body / "config.json").is_file():
        raise MissingError(f"{folder} is not a model folder: {body / 'config.json'} is missing.", A_RERANKER)
    weight_files(body)
    if modules:
        _require_cross_encoder(folder, modules)
    if "LogitScore" in modules:
        return
    if "Dense" in modules:
        weight_files(modules["Dense"])
        return
    settings = read_json(body / "config.json")
    named = settings.get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else ""
    if architecture.endswith("ForCausalLM"):
        _require_answers(body)
    else:
        _require_one_label(body, settings)
        _require_head(body)


def scorer_sha256(folder: Path, length: int) -> str:
    """The fingerprint of a reranker: its weights, its settings, its tokenizer, and the tokens of a pair."""
    identity = hashlib.sha256(f"{length}".encode())
    for path in sorted(folder.rglob("*.safetensors")):
        identity.update(f"{path.relative_to(folder)} {weights_sha256(path)}\n".encode())
    for path in sorted({path for pattern in DESCRIBING for path in folder.rglob(pattern)}):
        identity.update(f"{path.relative_to(folder)} {sha256_file(path)}\n".encode())
    return identity.hexdigest()


def require_whole(folder: Path, needed: Iterable[str]) -> None:
    """Raise DamagedError if tensors that a classifier needs are missing: they would be random.

    Only where all names in the files are names of the model: files of older releases have other names for some.
    """
    stored, needed = _tensors(folder), set(needed)
    missing = sorted(needed - stored)
    if missing and stored <= needed:
        raise DamagedError(
            f"The weights in {folder} lack {len(missing)} tensors of the model (first: {missing[0]}).",
            "Fetch the model again, or check that config.json belongs to these weights.",
        )


def _modules(folder: Path) -> dict[str, Path]:
    """Kind → place of the modules of a sentence-transformers folder; InvalidError for code of the folder's own."""
    try:
        modules = from_json((folder / "modules.json").read_text(encoding="utf-8"))
        found = [(str(module["type"]), folder / str(module["path"])) for module in modules]
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedError(f"{folder / 'modules.json'} is not a list of modules ({error}).", "") from None
    kinds = {}
    for name, path in found:
        package, _, kind = name.rpartition(".")
        if not package.startswith("sentence_transformers.") or not path.resolve().is_relative_to(folder.resolve()):
            raise InvalidError(f"{folder} uses the module {name}, whose code is not run.", A_RERANKER)
        if kind in kinds or kind not in SCORING:
            raise InvalidError(f"{folder} uses the module {kind}, which no reranker here has.", A_RERANKER)
        kinds[kind] = path
    return kinds


def _require_cross_encoder(folder: Path, modules: dict[str, Path]) -> None:
    """Raise InvalidError for a folder that makes vectors: sentence-transformers would give it a random head."""
    settings = folder / "config_sentence_transformers.json"
    made_as = read_json(settings).get("model_type") if settings.is_file() else None
    dense = modules.get("Dense")
    scores = dense is None or read_json(dense / "config.json").get("module_output_name") == "scores"
    if made_as != "CrossEncoder" or not scores or ("Pooling" in modules and dense is None):
        raise InvalidError(
            f"{folder} is a model of sentence-transformers that makes vectors: it has no head that scores a pair.",
            A_RERANKER,
        )


def _require_answers(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    missing = [word for word in ANSWERS if tokenizer.token_to_id(word) is None]
    if missing:
        raise InvalidError(
            f"{folder} holds a causal model whose tokenizer has no token {missing[0]!r}: its answers cannot be read.",
            A_RERANKER,
        )


def _require_one_label(folder: Path, settings: dict[str, Any]) -> None:
    from transformers import AutoConfig

    try:
        labels = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True).num_labels
    except Exception as error:  # transformers raises many kinds
        raise DamagedError(f"{folder / 'config.json'} cannot be read: {one_line(error)}", "") from error
    classifies = any("SequenceClassification" in str(name) for name in settings.get("architectures") or [])
    if classifies and labels != 1:
        raise InvalidError(
            f"{folder} holds a classifier with {labels} labels; a reranker gives one score (num_labels is 1).",
            A_RERANKER,
        )


def _require_head(folder: Path) -> None:
    if not any(part in HEADS for name in _tensors(folder) for part in name.split(".")):
        raise InvalidError(
            f"The weights in {folder} have no head that scores a pair (no tensor {' or '.join(HEADS)}): "
            "its scores would be random.",
            A_RERANKER,
        )


def _tensors(folder: Path) -> set[str]:
    names: set[str] = set()
    for path in weight_files(folder):
        try:
            with safe_open(path, "pt") as file:
                names.update(file.keys())
        except Exception as error:  # safetensors raises its own kinds
            raise DamagedError(f"{path} cannot be read: {one_line(error)}", "Fetch the model again.") from error
    return names
