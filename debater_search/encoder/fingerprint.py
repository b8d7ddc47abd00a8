"""The fingerprint of an encoder, and hashes of its files of weights, cached as long as a file does not change."""

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from debater_search.cache import cache_folder
from debater_search.errors import DebaterError
from debater_search.files import atomic, sha256_file

if TYPE_CHECKING:
    from torch import nn

_LARGE = 1 << 20  # bytes; to hash fewer takes no longer than to remember it
_USUAL_SCALE = 2.0  # alpha / r of the published adapters and of ours
_SETTLED_SECONDS = 10.0  # clocks of file systems are coarse: what has just changed may change again at the same time


def weights_sha256(path: Path) -> str:
    """The sha256 of a file of weights in hex; read once as long as path, size, times and inode stay the same."""
    state = _state(path)
    if state["size"] < _LARGE:
        return sha256_file(path)
    entry = _entry(path)
    known = _read(entry, state)
    if known is not None:
        return known
    sha256 = sha256_file(path)
    settled = max(state["mtime_ns"], state["ctime_ns"]) / 1e9 < time.time() - _SETTLED_SECONDS
    if entry is not None and settled and _state(path) == state:
        with suppress(OSError), atomic(entry) as temporary:
            temporary.write_text(json.dumps({**state, "sha256": sha256}), encoding="utf-8")
    return sha256


def encoder_sha256(spec: dict[str, Any], weights: list[str], scales: dict[str, float], dim: int | None = None) -> str:
    """The fingerprint of an encoder: spec, hashes of its weights, scales of an adapter, `dim` if vectors are cut."""
    identity: dict[str, Any] = {"spec": spec, "weights": weights}
    if scales:
        identity["scales"] = scales
    if dim is not None:
        identity["dim"] = dim
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


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
        known = json.loads(entry.read_text(encoding="utf-8"))
        sha256 = known.pop("sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return sha256 if known == state and isinstance(sha256, str) and len(sha256) == 64 else None
