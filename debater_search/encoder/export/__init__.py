"""An encoder as other programs read it: a plain Hugging Face folder, sentence-transformers, ONNX.

`export("debater-small", "exported/small", "sentence-transformers")` writes a folder whole or not at all, and only after
the vectors of the new folder were compared with the encoder's. `push.push` puts a folder on the Hugging Face hub.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from debater_search.errors import InvalidError
from debater_search.files import atomic_folder

if TYPE_CHECKING:
    from debater_search.encoder.encoder import Encoder

Format = Literal["hf", "sentence-transformers", "onnx"]
FORMATS: tuple[Format, ...] = get_args(Format)
MARKERS = ("debater.json", "template.json")
"""An exported folder holds one of them: nothing else is replaced."""


def export(
    model: "Encoder | str | Path",
    folder: str | Path,
    format: Format = "hf",
    *,
    int8: bool = False,
    base_model: str | Path | None = None,
    force: bool = False,
) -> Path:
    """Write an encoder to `folder`, which other programs load; returns the folder.

    hf: weights with the adapter merged, in the number type of the base model, tokenizer and `debater.json`; it loads
    with `Encoder.load` and in transformers, and an index of the model accepts it.
    sentence-transformers: that folder with sentence-transformers' own modules where they give the same vectors, else
    with the module `modeling_debater.py`, which needs `trust_remote_code=True`.
    onnx: `query.onnx`, `document.onnx` (input_ids, attention_mask → sentence_embedding; of documents also views), the
    tokenizer, and `template.json`, which says how texts become token ids.

    Args:
        model: an encoder, or what `Encoder.load` takes, together with `base_model`.
        folder: an empty or new folder; with `force`, an earlier export is replaced.
        format: hf, sentence-transformers or onnx.
        int8: linear layers in 8-bit integers, for hf (only `Encoder.load` reads it) and onnx; vectors are close, not
            equal.

    Raises:
        InvalidError: the folder is taken, the model cannot be exported, or the exported folder gives other vectors.
        UnavailableError: a library of the format is not installed.
        DebaterError: the model cannot be loaded.

    Examples:
        >>> from debater_search.export import export
        >>> export("models/tiny", "exported/tiny", "hf").name
        'tiny'
        >>> Encoder.load("exported/tiny").thinking_steps
        1
    """
    if format not in FORMATS:
        raise InvalidError(f"There is no format called {format!r}.", f"Formats: {', '.join(FORMATS)}.")
    if int8 and format == "sentence-transformers":
        raise InvalidError("sentence-transformers has no 8-bit weights.", "Leave `int8` out.")
    folder = Path(folder).absolute()
    require_free(folder, force=force)
    write = _writer(format)  # a missing library is said before the model is loaded
    from debater_search.encoder.card import write_card
    from debater_search.encoder.export.source import load_source

    encoder = load_source(model, base_model)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(folder) as temporary:
        write(encoder, temporary, int8)
        write_card(temporary, format, name=folder.name)
    return folder


def require_free(folder: Path, *, force: bool = False) -> None:
    """Raise InvalidError if a folder holds something, unless that is an export and `force` is set."""
    if folder.is_file():
        raise InvalidError(f"{folder} is a file.", "Choose another `output`.")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not any((folder / marker).is_file() for marker in MARKERS):
        raise InvalidError(f"{folder} holds something else.", "Choose another `output`.")
    if not force:
        raise InvalidError(f"{folder} exists.", "Choose another `output`, or replace it with `force`.")


def _writer(format: Format) -> "Callable[[Encoder, Path, bool], None]":
    if format == "hf":
        from debater_search.encoder.export.huggingface import write_huggingface

        return write_huggingface
    if format == "onnx":
        from debater_search.encoder.export.onnx_files import write_onnx

        return write_onnx
    from debater_search.encoder.export.sentence_transformer import write_sentence_transformer

    return write_sentence_transformer


__all__ = ["FORMATS", "Format", "export", "require_free"]
