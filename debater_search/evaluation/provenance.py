"""What made a result: the command, when, and with which versions."""

import hashlib
import json
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "faiss-cpu", "faiss-gpu", "mteb", "pytrec-eval-terrier", "numpy")


def digest(content: Any) -> str:
    """sha256 of something in JSON types, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def made_by() -> dict[str, Any]:
    """The command line of this process, the time, and the versions of what it computes with."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue  # faiss has two names, one of which is installed
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
    }
