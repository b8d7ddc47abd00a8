"""What a run starts from: the model as the settings want it, and whether its limits leave room for texts."""

import logging
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch.distributed.device_mesh import DeviceMesh

from debater_search.encoder import Encoder
from debater_search.encoder.families import positions, require_states_as_input
from debater_search.encoder.spec import EncoderSpec
from debater_search.encoder.speed.hardware import choose_device
from debater_search.errors import InvalidError
from debater_search.training.adapter import make_trainable
from debater_search.training.batches import Batch, TrainingData
from debater_search.training.checkpoints import restore_weights
from debater_search.training.gather import in_turn
from debater_search.training.horizon import Horizon
from debater_search.training.parallel import shard
from debater_search.training.precision import computes_in
from debater_search.training.sections import TeacherModel
from debater_search.training.settings import DTYPES, TrainingSettings
from debater_search.training.steps import tokenized
from debater_search.training.student import Student, read_beside_mean, with_instruction
from debater_search.training.teacher import BaseTeacher, texts_to_count

log = logging.getLogger(__name__)

MANY_CUT = 0.05  # of the queries of a batch; a few long ones are no mistake


def load_student(
    settings: TrainingSettings, device: str, mesh: DeviceMesh | None = None, resume_from: Path | None = None
) -> Student:
    """The model to train, with what learns made trainable, and the weights of a checkpoint if a run resumes.

    It is spread over the processes of `mesh`, if there is one: no card, and no machine more than once at a time, holds
    the whole. Raises InvalidError as `require_room`, `make_trainable` and `restore_weights`.
    """
    with in_turn() if mesh is not None else nullcontext():
        student = load_start(settings, device, placed=mesh is None)
        require_room(student, settings)
        make_trainable(student, settings.lora, gradient_checkpointing=settings.gradient_checkpointing)
        if resume_from is not None:
            restore_weights(resume_from, student)
        if mesh is not None:
            shard(student.model, student.compute, mesh)
    return student


def load_start(settings: TrainingSettings, device: str, *, weights: bool = True, placed: bool = True) -> Student:
    """The model to train, with its lengths and instruction; without `weights` it has shapes only.

    `placed` False leaves it in memory, as it will compute on `device`.

    Raises DebaterError for a model that cannot be loaded or could not be saved again.
    """
    start = _load(
        settings,
        device,
        thinking_steps=settings.thinking_steps,
        merged=False,
        weights_dtype="float32" if settings.lora is None else None,  # small updates vanish in half precision
        weights=weights,
        placed=placed,
        quantize=settings.quantize if weights else None,
        bidirectional=settings.bidirectional,
    )
    if start.model.head is not None:
        raise InvalidError(
            f"{settings.model} has dense layers behind its pooling, which cannot be trained.", "Use another model."
        )
    spec = start.spec
    if settings.readout == "residual":
        spec = read_beside_mean(start, settings.thinking_weight)
    spec = _thinking_as(spec, settings, start)
    instructed = any(data.instruction for data in settings.data)
    others = any(f"{lead} " != spec.template.query_prompt for lead in _instructions(settings) if lead)
    spec = with_instruction(spec, settings.search_instruction, trained_with_instructions=others)
    if settings.document_prompt is not None:
        spec = replace(spec, template=replace(spec.template, document_prompt=settings.document_prompt))
    lengths = settings.max_length
    _require_positions(start, settings)
    parts = replace(start.parts, spec=spec)
    parts = parts.with_lengths(query=lengths.query, document=lengths.search or lengths.document)
    if instructed and (bare := [Path(data.path).name for data in settings.data if not data.instruction]):
        log.warning("No instruction is set for %s, while other sets have one.", ", ".join(bare))
    return Student(start, parts, compute=computes_in(settings.precision, choose_device(device)))


def _instructions(settings: TrainingSettings) -> list[str]:
    """Those of all sets."""
    given = [d.instruction if isinstance(d.instruction, list) else [d.instruction] for d in settings.data]
    return [lead for leads in given for lead in leads]


def _thinking_as(spec: EncoderSpec, settings: TrainingSettings, start: Encoder) -> EncoderSpec:
    """The spec with what steps read and how queries think, where the settings say so; else as the model has it."""
    if not spec.deliberates:
        return spec
    asked = settings.thinking
    reads = asked.input if "input" in asked.model_fields_set else spec.thinking_input
    queries = asked.query if "query" in asked.model_fields_set else spec.template.query_thinking
    if queries == 0 and spec.template.query_thinking:
        raise InvalidError(f"Queries of {start.name} think.", "Leave thinking.query out, or set it above 0.")
    if queries and spec.document_pooling == "residual":
        raise InvalidError(
            f"Queries of {start.name} are a mean over their text (readout: residual) and cannot think.",
            "Leave thinking.query out.",
        )
    if reads == "state":
        require_states_as_input(start.model.backbone.config)
        if settings.gradient_checkpointing or settings.parallel == "fsdp":
            raise InvalidError(
                f"Thinking steps of {start.name} read states: not with gradient_checkpointing or parallel: fsdp.",
                "Leave them out.",
            )
    template = replace(spec.template, query_thinking=queries)
    pooling = "last" if queries else spec.query_pooling
    return replace(spec, template=template, thinking_input=reads, query_pooling=pooling)


def load_base(settings: TrainingSettings, device: str) -> Encoder:
    """The model as it is before training, without thinking tokens of ours: a teacher."""
    return _load(settings, device)


def load_teachers(settings: TrainingSettings, data: TrainingData, student: Student, device: str) -> BaseTeacher:
    """The model as it is before training, words, and the other encoders that teach with it; or the guide alone."""
    texts = texts_to_count(data, settings.seed) if any(settings.lexical_weights) else []
    # What the student sees of a text.
    length = settings.max_length.document - len(student.spec.template.thinking_tokens)
    cached, guide = settings.loss.teacher_cache, settings.loss.guide
    if settings.loss.teacher != "base":
        named = next((model for model in settings.loss.teacher_models if model.name == guide), None)
        alone = load_base(settings, device) if named is None else _load_teacher(named, device)
        return BaseTeacher(alone, length, instructed=named is None, cached=cached)
    others = [(_load_teacher(model, device), model.weight) for model in settings.loss.teacher_models]
    return BaseTeacher(load_base(settings, device), length, texts, others=others, cached=cached)


def _load_teacher(teacher: TeacherModel, device: str) -> Encoder:
    return Encoder.load(teacher.model, device=device, dtype=teacher.dtype)


def _load(settings: TrainingSettings, device: str, **more: Any) -> Encoder:
    dtype = DTYPES[settings.precision]
    return Encoder.load(settings.model, device=device, dtype=dtype, attention=settings.attention, **more)


def require_room(student: Student, settings: TrainingSettings) -> None:
    """Raise InvalidError if a limit leaves no room for texts, which would all be the same, or a vector is too short."""
    template, tokenizer, lengths = student.spec.template, student.tokenizer, settings.max_length
    for instruction in [settings.search_instruction or None, *(lead or None for lead in _instructions(settings))]:
        [around] = template.query_ids(tokenizer, [""], sys.maxsize, instruction)
        behind = f" behind the instruction {instruction!r}" if instruction else ""
        _require_above(len(around), "max_length.query", lengths.query, f"a query{behind}")
    for prompt in {data.document_prompt for data in settings.data} | {None}:
        [around] = template.document_ids(tokenizer, [""], sys.maxsize, prompt)
        _require_above(len(around), "max_length.document", lengths.document, "a document")
        if settings.warm_start is not None and prompt is None:
            _require_above(len(around), "warm_start.length", settings.warm_start.length, "a text")
    if too_long := [dim for dim in settings.loss.matryoshka if dim > student.dim]:
        raise InvalidError(
            f"loss.matryoshka names {too_long[0]} dimensions, and the model has {student.dim}.", "Name shorter ones."
        )


def _require_positions(start: Encoder, settings: TrainingSettings) -> None:
    """Raise InvalidError, naming the setting, for a length beyond what the model has positions for."""
    limit = positions(start.model.backbone.config)
    for name, length in settings.max_length.model_dump().items():
        if limit is not None and length is not None and length > limit:
            raise InvalidError(
                f"max_length.{name} is {length:,}, but {settings.model} reads at most {limit:,} tokens.",
                f"Set max_length.{name} to at most {limit}.",
            )


def _require_above(around: int, name: str, length: int, text: str) -> None:
    """Raise InvalidError if a limit holds no more than the tokens `around` a text."""
    if length <= around:
        raise InvalidError(
            f"{name} ({length}) leaves no room for {text}: what stands around it takes {around} tokens.",
            f"Set {name} to {around + 1} or more.",
        )


def warn_of_cut_queries(student: Student, settings: TrainingSettings, batch: Batch) -> None:
    """Warn where many queries of a batch are as long as `max_length.query` lets them be."""
    queries = tokenized(student, replace(batch, positives=[], negatives=[]), settings.max_length.document)
    full = sum(len(query.ids) >= settings.max_length.query for query in queries)
    if full > MANY_CUT * len(queries):
        log.warning(
            "%d of the first %d queries fill max_length.query (%d tokens, instruction included): what is behind is cut "
            "off, in search, too. Raise it.",
            full, len(queries), settings.max_length.query,
        )  # fmt: skip


def describe_start(
    settings: TrainingSettings, data: TrainingData, student: Student, horizon: Horizon, processes: int
) -> None:
    """Log what a run trains, on what and for how long, and what may surprise."""
    parameters, steps = list(student.model.parameters()), student.thinking_steps
    trainable, total = sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)
    log.info(
        "Training %s on %s (%s%s): %s of %s parameters learn, from %s examples, in %s steps of %d queries each, %s.",
        settings.model, student.device, str(student.compute).removeprefix("torch."),
        f", {processes} processes, {settings.parallel.upper()}" if processes > 1 else "", f"{trainable:,}",
        f"{total:,}", f"{data.examples:,}", f"{horizon.steps:,}", settings.batch_size,
        f"with {steps} thinking steps" if steps > 1 else "without thinking",
    )  # fmt: skip
    for name, fields in data.ignored.items():
        log.info("Fields of %s that are not read: %s.", name, ", ".join(fields))
    horizon.warn(settings)
    data.warn_of_unscored()
    warn_of_cut_queries(student, settings, data.batch(0))
