"""What a run starts from: the model as the settings want it, and whether its limits leave room for texts."""

import logging
from pathlib import Path

from debater_search.encoder import Encoder
from debater_search.errors import DebaterError
from debater_search.training.settings import TrainingSettings
from debater_search.training.steps import cut_documents

log = logging.getLogger(__name__)


def load_start(settings: TrainingSettings, device: str, *, thinking: bool = True, weights: bool = True) -> Encoder:
    """The model to train, with its lengths and instruction; `thinking` False gives the base model as it is.

    Without `weights` it is known by its shapes only.

    Raises DebaterError for a model that cannot be loaded or could not be saved again.
    """
    full = settings.lora is None and settings.dtype == "auto"
    dtype = "float32" if full else settings.dtype  # small updates of all weights vanish in half precision
    steps = settings.thinking_steps if thinking else None
    encoder = Encoder.load(settings.model, device=device, dtype=dtype, thinking_steps=steps, weights=weights)
    if not thinking:
        return encoder
    if encoder.model.head is not None:
        raise DebaterError(
            f"{settings.model} has dense layers behind its pooling, which cannot be trained.", "Use another model."
        )
    if settings.readout == "residual":
        encoder.read_beside_mean(settings.thinking_weight)
    lengths = settings.max_length
    encoder.set_lengths(query=lengths.query, document=lengths.search or lengths.document)
    instructed = any(data.instruction for data in settings.data)
    if instructed and (bare := [Path(data.path).name for data in settings.data if not data.instruction]):
        log.warning("No instruction is set for %s, while other sets have one.", ", ".join(bare))
    encoder.set_instruction(settings.search_instruction, trained_with_instructions=instructed)
    return encoder


def require_room(encoder: Encoder, settings: TrainingSettings) -> None:
    """Raise DebaterError where a limit leaves nothing of a text, as all would be the same, or a vector is too short."""
    given = [d.instruction if isinstance(d.instruction, list) else [d.instruction] for d in settings.data]
    for instruction in [settings.search_instruction, *(lead for leads in given for lead in leads)]:
        if not encoder.leaves_room(instruction):
            raise DebaterError(
                f"max_length.query ({settings.max_length.query}) leaves no room for a query"
                + (f" behind the instruction {instruction!r}." if instruction else "."),
                "Raise max_length.query.",
            )
    # Refuses a limit below the prompt and the thinking tokens.
    [empty] = cut_documents(encoder, [""], settings.max_length.document)
    if len(empty) >= settings.max_length.document:
        raise DebaterError(
            f"max_length.document ({len(empty)}) leaves no room for a document.", "Raise max_length.document."
        )
    if too_long := [dim for dim in settings.loss.matryoshka if dim > encoder.dim]:
        raise DebaterError(
            f"loss.matryoshka names {too_long[0]} dimensions, and the model has {encoder.dim}.", "Name shorter ones."
        )
    if settings.warm_start is not None:
        cut_documents(encoder, [""], settings.warm_start.length)
