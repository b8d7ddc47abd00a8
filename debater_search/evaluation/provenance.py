"""The provenance of a result: command, time and library versions."""

import hashlib
import json
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from debater_search.search.request import DEFAULT_WEIGHTS, Mode

PACKAGES = ("torch", "transformers", "faiss-cpu", "faiss-gpu", "mteb", "pytrec-eval-terrier", "numpy")


def digest(content: Any) -> str:
    """sha256 of a value in JSON types; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def fusion_of(mode: Mode) -> dict[str, Any]:
    """How hybrid search joins the dense and the lexical ranking, and their weights; {} in other modes."""
    return {"fusion": "weighted mean", "weights": list(DEFAULT_WEIGHTS)} if mode == "hybrid" else {}


def made_by() -> dict[str, Any]:
    """The command line of this process, the time, and the versions of the libraries in use."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue  # an optional library, or the other build of FAISS
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
    }
