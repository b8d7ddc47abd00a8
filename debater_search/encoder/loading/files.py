"""Files of a model folder: JSON and safetensors; pickles are refused."""

import json
from pathlib import Path
from typing import Any

from debater_search.errors import DamagedError, InvalidError, MissingError
from debater_search.files import from_json

INT8_FILE = "model-int8.safetensors"
INT8_SCALE = ".scale"
"""Weights of 8 bits (`eight_bits`): their file, and the end of the names of their scales."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object on disk. Raises MissingError or DamagedError."""
    try:
        values = from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"{path} is missing.", "Was the model folder copied whole?") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise DamagedError(f"{path} is not valid JSON ({error}).", "Fetch the model again.") from None
    if not isinstance(values, dict):
        raise DamagedError(f"{path} does not hold a JSON object.", "Fetch the model again.")
    return values


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Indented JSON, UTF-8."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def one_line(error: Exception) -> str:
    """What a library complains of, without the title that torch puts above it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[1] if lines[0].endswith(":") and len(lines) > 1 else lines[0]


def weight_files(folder: Path) -> list[Path]:
    """The safetensors of a model folder. Raises MissingError if there are none, InvalidError for pickles."""
    files = sorted(folder.glob("*.safetensors"))
    if files:
        return files
    pickles = sorted(path for pattern in PICKLES for path in folder.glob(pattern))
    if pickles:
        raise InvalidError(
            f"{pickles[0]} is a pickle, which can run code when it is read; only safetensors are loaded.",
            "Convert it once with safetensors.torch.save_file, or take a revision that has model.safetensors.",
        )
    raise MissingError(f"The model folder {folder} holds no weights (*.safetensors).", "Was it copied whole?")
