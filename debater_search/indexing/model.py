"""The model of an index, for stages that encode more of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from debater_search.errors import DebaterError
from debater_search.store.manifest import EncoderInfo

if TYPE_CHECKING:
    from debater_search.encoder import Encoder


def load_again(
    made_by: EncoderInfo,
    folder: Path,
    *,
    model: str | None = None,
    base_model: str | None = None,
    device: str = "auto",
    weights: bool = True,
) -> "Encoder":
    """Load the model that made the index in `folder`; `model` says where it is now, if it was moved.

    Without `weights` it only tokenizes, and is taken on trust.

    Raises:
        DebaterError: it cannot be loaded, or is another one.

    """
    from debater_search.encoder import Encoder
    from debater_search.encoder.hardware import INT8, choose_device

    moved = {name: value for name, value in (("model", model), ("base_model", base_model)) if value is not None}
    recipe: dict[str, Any] = {**made_by.recipe, **moved}  # lengths and the like stay those of the index
    if not weights:
        recipe["weights"] = False
    if made_by.int8 and choose_device(device).type == "cpu":
        recipe["dtype"] = INT8
    try:
        encoder = Encoder.load(**recipe, device=device)
    except DebaterError as error:
        raise DebaterError(
            f"The model of the index {folder} cannot be loaded. {error.message}",
            "If it lies elsewhere now, name it with --model.",
        ) from error
    return require_same(encoder, made_by, folder) if weights else encoder


def require_same(encoder: "Encoder", made_by: EncoderInfo | None, folder: Path) -> "Encoder":
    """The encoder, if it is the one that made the index in `folder`; else raises DebaterError, naming both."""
    made_by = require_dense(made_by, folder)
    if encoder.fingerprint != made_by.fingerprint:
        raise DebaterError(
            f"The index {folder} was made by {made_by}, not by {EncoderInfo.of(encoder)}.",
            "Use the model that made it, or index the corpus again with this one.",
        )
    return encoder


def require_dense(made_by: EncoderInfo | None, folder: Path) -> EncoderInfo:
    """The model that made an index; DebaterError where none did, for the index holds words only."""
    if made_by is None:
        raise DebaterError(f"The index {folder} holds words only: no model made it.", "Leave --model out.")
    return made_by
