"""Load the model of an index again: the one loader that indexing, search, evaluation and the command line use."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from debater_search.encoder.arguments import FLASH, require_arguments
from debater_search.encoder.loading.hub import REMOVED, require_model
from debater_search.errors import DebaterError, UnavailableError
from debater_search.identity import INT8, EncoderInfo, require_same

if TYPE_CHECKING:
    from debater_search.encoder.encoder import Encoder


def load_again(
    info: EncoderInfo,
    folder: Path,
    *,
    model: str | None = None,
    base_model: str | None = None,
    device: str = "auto",
    for_queries: bool = False,
    weights: bool = True,
) -> "Encoder":
    """Load the model that made the index in `folder`.

    Args:
        info: the encoder that the index records. Its lengths and thinking steps hold whatever is given below.
        folder: the index, for messages.
        model: the model's place now, if it was moved.
        base_model: the place now of the model below an adapter.
        device: as for `Encoder.load`.
        for_queries: it encodes queries, which are in floating point even where documents are in 8-bit integers.
        weights: False loads the tokenizer and the shapes only, without a check of the fingerprint.

    Raises:
        UnavailableError: the model cannot be loaded.
        InvalidError: it is not the model that made the index.

    Examples:
        >>> from debater_search.encoder import load_again
        >>> load_again(engine.manifest.encoder, engine.folder).name
        'debater-small'
    """
    moved = {name: value for name, value in (("model", model), ("base_model", base_model)) if value is not None}
    arguments: dict[str, Any] = {**info.recipe, **moved}
    if device != "auto":
        arguments["device"] = device
    if not weights:
        arguments["weights"] = False
    require_arguments(device=device)
    try:
        require_model(arguments["model"], weights=weights)  # before torch is imported
        from debater_search.encoder import Encoder
        from debater_search.encoder.speed.hardware import choose_device

        kind = choose_device(device).type
        if info.int8 and not for_queries and kind == "cpu":
            arguments["dtype"] = INT8
        if kind != "cuda" and arguments.get("attention") == FLASH:  # it was asked for where there was a GPU
            del arguments["attention"]
        encoder = Encoder.load(**arguments)
    except DebaterError as error:
        if model is not None and Path(model).name != info.name:
            raise UnavailableError(
                f"The index {folder} was made by {info.name}, and {model} cannot be loaded. {error.message}",
                f"Leave `model` out, or name the place of {info.name}.",
            ) from error
        again = "Index the corpus again, or install the version of debater that made the index."
        moved_to = "If it is in another place now, name that place as `model`."
        raise UnavailableError(
            f"The model of the index {folder} cannot be loaded. {error.message}",
            again if arguments["model"] in REMOVED else moved_to,
        ) from error
    return require_same(encoder, info, folder) if weights else encoder
