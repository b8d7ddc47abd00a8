"""The fingerprint of an encoder, and hashes of its files of weights, cached as long as a file does not change."""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from debater_search.cache import cache_folder
from debater_search.encoder.loading.files import read_json
from debater_search.encoder.loading.tokenizer import FILES_OF_TOKENIZERS
from debater_search.errors import DebaterError
from debater_search.files import atomic, from_json, sha256_file

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import nn

_LARGE = 1 << 16  # bytes; to hash fewer takes no longer than to remember it
_USUAL_SCALE = 2.0  # alpha / r of the published adapters and of ours
_PROBE = "The Ångström (10⁻¹⁰ m): it's ﬁne,\tИ 漢字 — 12,345.6 e-mail@x.org!"
"""A text of many kinds: what reads it otherwise is another tokenizer, whatever its files say."""
_SETTINGS_FILES = ("config.json", "adapter_config.json")
_WITHOUT_EFFECT = re.compile(
    r"_.*|transformers_version|peft_version|(torch_)?dtype|torchscript|architectures|auto_map(ping)?|return_dict|use_cache"
    r"|output_(attentions|hidden_states)|(id2label|label2id)|problem_type|task_type|initializer_.*|init_lora_weights"
    r"|gradient_checkpointing|.*(dropout|pdrop|dropout_prob)|inference_mode|base_model_name_or_path|revision|pretraining_tp"
)
"""Settings of a model that change no vector: who made the file, number types, training, names of classes."""
_SETS = ("target_modules", "exclude_modules", "modules_to_save", "target_parameters")
"""Settings of an adapter that libraries write in any order."""
_SETTLED_SECONDS = 10.0  # clocks of file systems are coarse: what has just changed may change again at the same time


class Files(Protocol):
    """The files that an encoder was read from."""

    @property
    def weights(self) -> list[Path]:
        """Every file of weights."""

    @property
    def tokenizer_folder(self) -> Path:
        """Where the tokenizer's files are."""

    @property
    def tokenizer(self) -> "Tokenizer":
        """What was made of them."""


def weights_sha256(path: Path) -> str:
    """The sha256 of a file of weights in hex; read once as long as path, size, times and inode stay the same."""
    return _remembered(path, sha256_file)


def _remembered(path: Path, compute: Callable[[Path], str]) -> str:
    """What `compute` says of a file, always the same function for the same file."""
    state = _state(path)
    if state["size"] < _LARGE:
        return compute(path)
    entry = _entry(path)
    known = _read(entry, state)
    if known is not None:
        return known
    sha256 = compute(path)
    settled = max(state["mtime_ns"], state["ctime_ns"]) / 1e9 < time.time() - _SETTLED_SECONDS
    if entry is not None and settled and _state(path) == state:
        with suppress(OSError), atomic(entry) as temporary:
            temporary.write_text(json.dumps({**state, "sha256": sha256}), encoding="utf-8")
    return sha256


def encoder_sha256(
    spec: dict[str, Any],
    weights: list[str],
    scales: dict[str, float],
    dim: int | None = None,
    definition: dict[str, Any] | None = None,
) -> str:
    """The fingerprint of an encoder: spec, hashes of its weights, scales of an adapter, `dim` if vectors are cut.

    `definition` is what else its files say (`definition_of`); None in fingerprints of version 0.1.
    """
    identity: dict[str, Any] = {"spec": spec, "weights": weights}
    if definition is not None:
        identity["definition"] = definition
    if scales:
        identity["scales"] = scales
    if dim is not None:
        identity["dim"] = dim
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def definition_of(parts: Files) -> dict[str, Any]:
    """What the files beside an encoder's weights say of its vectors: model and adapter, tokenizer, and how it reads."""
    folders = dict.fromkeys(path.parent for path in parts.weights)
    files = [folder / name for folder in folders for name in _SETTINGS_FILES if (folder / name).is_file()]
    return {
        "settings": [_effective(read_json(file)) for file in files],
        "tokenizer": [_remembered(path, _tokenizer_sha256) for path in _tokenizer_files(parts.tokenizer_folder)],
        "reads": parts.tokenizer.encode(_PROBE).ids,
    }


def _effective(settings: Any) -> Any:
    """Settings without those that change no vector, and sets in one order."""
    if isinstance(settings, dict):
        kept = {name: value for name, value in settings.items() if not _WITHOUT_EFFECT.fullmatch(name)}
        return {name: sorted(v) if name in _SETS and isinstance(v, list) else _effective(v) for name, v in kept.items()}
    return settings


def _tokenizer_files(folder: Path) -> list[Path]:
    """The files that a tokenizer was read from: tokenizer.json alone, or those of older forms."""
    whole = folder / "tokenizer.json"
    if whole.is_file():
        return [whole]
    return [folder / name for name in FILES_OF_TOKENIZERS if (folder / name).is_file()]


def _tokenizer_sha256(path: Path) -> str:
    """The hash of a file of a tokenizer; of JSON its contents', without lengths, which `Encoder` sets itself."""
    if path.suffix != ".json":
        return sha256_file(path)
    contents = read_json(path)
    kept = {name: value for name, value in contents.items() if name not in ("truncation", "padding")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def unusual_scales(backbone: "nn.Module") -> dict[str, float]:
    """The factors of an adapter's updates by layer, which its weights do not hold.

    A factor of 2 is left out, so that existing fingerprints stay valid.
    """
    layers = ((name, module) for name, module in backbone.named_modules() if hasattr(module, "lora_A"))
    return {name: scale for name, layer in layers for scale in layer.scaling.values() if scale != _USUAL_SCALE}


def _state(path: Path) -> dict[str, Any]:
    """What changes when a file does: every write sets ctime, which no program can set back."""
    found = path.stat()
    return {
        "path": os.path.realpath(path),
        "device": found.st_dev,
        "inode": found.st_ino,
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "ctime_ns": found.st_ctime_ns,
    }


def _entry(path: Path) -> Path | None:
    """Where the hash of a file is remembered; None where nothing can be."""
    try:
        return cache_folder("hashes") / f"{hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:32]}.json"
    except DebaterError:
        return None


def _read(entry: Path | None, state: dict[str, Any]) -> str | None:
    """The hash that was remembered for a file in this state."""
    if entry is None:
        return None
    try:
        known = from_json(entry.read_text(encoding="utf-8"))
        sha256 = known.pop("sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return sha256 if known == state and isinstance(sha256, str) and len(sha256) == 64 else None
