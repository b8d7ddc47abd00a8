"""Where an exported folder comes from: what keeps the fingerprint of the model that it was made of.

A fingerprint is made of hashes of a model's files and of how it is read. An exported folder has other files with the
same vectors. It therefore carries the hashes of the model's files, which count as long as its own files are as they
were written. How it is read (lengths, thinking steps) counts as it is when it is loaded, as for the model itself.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from debater_search.encoder.fingerprint import weights_sha256
from debater_search.errors import DebaterError

FIELD = "exported_from"
"""Its name in `debater.json`."""
_FILES = ("config.json", "tokenizer.json", "*.safetensors")
"""What decides vectors beside `debater.json`, whose contents are part of every fingerprint."""


@dataclass(frozen=True)
class Origin:
    """The model that a folder was exported from."""

    model: str
    weights: list[str]
    """Hashes of its files of weights."""
    scales: dict[str, float]
    """Of its adapter (`fingerprint.unusual_scales`)."""
    definition: dict[str, Any]
    """What its other files say (`fingerprint.definition_of`)."""
    files: dict[str, str]
    """Hashes of the exported files."""

    @classmethod
    def read(cls, saved: dict[str, Any], folder: Path) -> Self | None:
        """The origin that a folder's `debater.json` names; None if there is none, or files have changed since."""
        try:
            origin = cls(**saved[FIELD])
            found = hashes_of(folder)
        except (KeyError, TypeError, OSError, DebaterError):
            return None
        return origin if found and origin.files == found else None

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def hashes_of(folder: Path) -> dict[str, str]:
    """The exported files of a folder, each with its hash."""
    files = sorted(path for pattern in _FILES for path in folder.glob(pattern))
    return {path.name: weights_sha256(path) for path in files}
