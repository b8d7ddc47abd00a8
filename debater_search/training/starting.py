"""What a run starts from: the model as the settings want it, and whether its limits leave room for texts."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from debater_search.encoder import Encoder
from debater_search.encoder.speed.hardware import choose_device
from debater_search.errors import InvalidError
from debater_search.training.precision import computes_in
from debater_search.training.settings import DTYPES, TeacherModel, TrainingSettings
from debater_search.training.steps import cut_documents
from debater_search.training.student import Student, read_beside_mean, with_instruction

log = logging.getLogger(__name__)


def load_start(settings: TrainingSettings, device: str, *, weights: bool = True) -> Student:
    """The model to train, with its lengths and instruction; without `weights` it has shapes only.

    Raises DebaterError for a model that cannot be loaded or could not be saved again.
    """
    start = _load(
        settings,
        device,
        thinking_steps=settings.thinking_steps,
        merged=False,
        weights_dtype="float32" if settings.lora is None else None,  # small updates vanish in half precision
        weights=weights,
    )
    if start.model.head is not None:
        raise InvalidError(
            f"{settings.model} has dense layers behind its pooling, which cannot be trained.", "Use another model."
        )
    spec = start.spec
    if settings.readout == "residual":
        spec = read_beside_mean(start, settings.thinking_weight)
    instructed = any(data.instruction for data in settings.data)
    others = any(f"{lead} " != spec.template.query_prompt for lead in _instructions(settings) if lead)
    spec = with_instruction(spec, settings.search_instruction, trained_with_instructions=others)
    lengths = settings.max_length
    parts = replace(start.parts, spec=spec)
    parts = parts.with_lengths(query=lengths.query, document=lengths.search or lengths.document)
    if instructed and (bare := [Path(data.path).name for data in settings.data if not data.instruction]):
        log.warning("No instruction is set for %s, while other sets have one.", ", ".join(bare))
    return Student(start, parts, compute=computes_in(settings.precision, choose_device(device)))


def _instructions(settings: TrainingSettings) -> list[str]:
    """Those of all sets."""
    given = [d.instruction if isinstance(d.instruction, list) else [d.instruction] for d in settings.data]
    return [lead for leads in given for lead in leads]


def load_base(settings: TrainingSettings, device: str) -> Encoder:
    """The model as it is before training, without thinking tokens of ours: a teacher."""
    return _load(settings, device)


def load_teacher(teacher: TeacherModel, device: str) -> tuple[Encoder, float]:
    """Another encoder that teaches, and the weight of its cosines."""
    return Encoder.load(teacher.model, device=device, dtype=teacher.dtype), teacher.weight


def _load(settings: TrainingSettings, device: str, **more: Any) -> Encoder:
    dtype = DTYPES[settings.precision]
    return Encoder.load(settings.model, device=device, dtype=dtype, attention=settings.attention, **more)


def require_room(student: Student, settings: TrainingSettings) -> None:
    """Raise InvalidError if a limit leaves no room for texts, which would all be the same, or a vector is too short."""
    for instruction in [settings.search_instruction, *_instructions(settings)]:
        if not student.leaves_room(instruction):
            raise InvalidError(
                f"max_length.query ({settings.max_length.query}) leaves no room for a query"
                + (f" behind the instruction {instruction!r}." if instruction else "."),
                "Raise max_length.query.",
            )
    # Refuses a limit below the prompt and the thinking tokens.
    [empty] = cut_documents(student, [""], settings.max_length.document)
    if len(empty) >= settings.max_length.document:
        raise InvalidError(
            f"max_length.document ({len(empty)}) leaves no room for a document.", "Raise max_length.document."
        )
    if too_long := [dim for dim in settings.loss.matryoshka if dim > student.dim]:
        raise InvalidError(
            f"loss.matryoshka names {too_long[0]} dimensions, and the model has {student.dim}.", "Name shorter ones."
        )
    if settings.warm_start is not None:
        cut_documents(student, [""], settings.warm_start.length)
