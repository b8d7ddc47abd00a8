"""Where an exported folder comes from: what keeps the fingerprint of the model that it was made of.

A fingerprint is made of hashes of a model's files and of how it is read. An exported folder has other files with the
same vectors. It therefore carries the hashes of the model's files, which count as long as its own files are as they
were written. How it is read (lengths, thinking steps) counts as it is when it is loaded, as for the model itself.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from debater_search.encoder.fingerprint import unusual_scales, weights_sha256
from debater_search.errors import DebaterError

if TYPE_CHECKING:
    from debater_search.encoder.encoder import Encoder

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
    def of(cls, encoder: "Encoder", folder: Path) -> Self:
        """The origin of what was exported from an encoder to a folder."""
        files = {path.name: weights_sha256(path) for path in _exported(folder)}
        if (known := encoder.parts.origin) is not None:
            return cls(known.model, known.weights, known.scales, known.definition, files)
        hashes = [weights_sha256(path) for path in encoder.parts.weights]
        return cls(encoder.name, hashes, unusual_scales(encoder.model.backbone), encoder.definition, files)

    @classmethod
    def read(cls, saved: dict[str, Any], folder: Path) -> Self | None:
        """The origin that a folder's `debater.json` names; None if there is none, or files have changed since."""
        try:
            origin = cls(**saved[FIELD])
            found = {path.name: weights_sha256(path) for path in _exported(folder)}
        except (KeyError, TypeError, OSError, DebaterError):
            return None
        return origin if found and origin.files == found else None

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def _exported(folder: Path) -> list[Path]:
    return sorted(path for pattern in _FILES for path in folder.glob(pattern))
