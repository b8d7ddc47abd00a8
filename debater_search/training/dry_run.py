"""`debater train --dry-run`: everything that can be known, and can fail, before weights are loaded."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debater_search.encoder.speed.hardware import choose_device
from debater_search.errors import InvalidError, MissingError, UnavailableError
from debater_search.training.adapter import make_trainable
from debater_search.training.backbones import SIZES, stand_in
from debater_search.training.batches import Batch, TrainingData
from debater_search.training.budget import MOMENTS
from debater_search.training.development import DevelopmentSet
from debater_search.training.echo_data import require_any
from debater_search.training.horizon import Horizon
from debater_search.training.launch import processes_for
from debater_search.training.memory import FLOAT32, memory_of, memory_per_device, savings
from debater_search.training.run_folder import is_finished
from debater_search.training.settings import TrainingSettings
from debater_search.training.starting import load_start, require_room, warn_of_cut_queries
from debater_search.training.steps import prepare
from debater_search.training.student import Student
from debater_search.training.trackers import require_trackers

SAMPLED_STEPS = 4
SHOWN_CHARACTERS = 160


@dataclass(frozen=True)
class Plan:
    """What a training run would do."""

    facts: dict[str, Any]
    """Sizes: parameters, examples, tokens a step (estimated from the first steps), bytes."""
    examples: list[dict[str, Any]]
    """The first row of each set as the model would read it: special tokens written out, long texts cut."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**self.facts, "examples": self.examples}


def plan(
    settings: TrainingSettings,
    *,
    output: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    device: str = "auto",
    processes: int | None = None,
    without_data: bool = False,
) -> Plan:
    """What `train` with the same arguments would do. Loads no weights and writes nothing.

    Raises DebaterError for all that would fail at the start of training, or later: data, lengths, the development set,
    trackers, processes without work, an output that cannot be used, a disk without room for checkpoints. A run that
    holds the output is named in the plan. What the published recipes take from elsewhere, data and backbone, may be
    missing: the plan says where it comes from, and estimates by lengths and known sizes. `without_data` estimates by
    lengths alone, for other data that is elsewhere.

    Examples:
        >>> from debater_search.training import load_config, plan
        >>> plan(load_config("train.yaml")).facts["rows"]
        4
    """
    folder = Path(output or settings.output)
    processes = processes_for(settings, processes, device)
    taken = _held_by(folder, settings, resume=resume, force=force)
    require_trackers(settings.report_to)
    missing = _missing(settings)
    data = None if without_data or missing else TrainingData(settings)
    student, assumed = _student(settings, device)
    require_room(student, settings)
    make_trainable(student, settings.lora, gradient_checkpointing=settings.gradient_checkpointing)
    if settings.eval is not None:
        DevelopmentSet(settings.eval, settings.seed).require_readable()
    ahead = Horizon.of(settings, 0 if data is None else data.steps_per_epoch)
    if data is not None or settings.epochs is None:
        ahead.warn(settings)
    if data is not None:
        data.warn_of_unscored()
    if data is not None and assumed is None:
        warn_of_cut_queries(student, settings, data.batch(0))
    read = data if assumed is None else None  # a stand-in does not read texts as the model does
    tokens = _tokens_per_step(student, settings, read, ahead.steps)
    parameters = list(student.model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    saved = sum(p.numel() * p.element_size() for p in parameters if p.requires_grad)
    _require_disk(folder, saved + trained * MOMENTS * FLOAT32, settings, ahead.steps)
    chosen = choose_device(device)
    memory = memory_of(chosen, processes)
    facts = {
        "model": settings.model,
        "device": str(chosen),
        "processes": processes,
        "dtype": str(student.compute).removeprefix("torch."),
        "parameters": sum(p.numel() for p in parameters),
        "trainable": trained,
        "thinking_steps": student.thinking_steps,
        "search_length": student.spec.document_length,
        **_counts(data),
        "steps": ahead.steps if data is not None or settings.epochs is None else 0,
        "queries_per_step": settings.batch_size,
        "tokens_per_step": tokens,
        "checkpoint_bytes": saved + trained * MOMENTS * FLOAT32,
        "memory_per_device": memory_per_device(student, settings, tokens, processes),
        "device_memory": memory,
        "savings": savings(student, settings, tokens, processes, memory),
        "output": str(folder),
        "taken": taken,
        "missing": missing,
        "assumed": assumed,
    }
    length = settings.max_length.document
    examples = [] if read is None else [_rendered(student, length, name, row) for name, row in read.first_rows()]
    return Plan(facts, examples)


def _missing(settings: TrainingSettings) -> str | None:
    """Where published data comes from that is not here; None if it is here, or is other data."""
    try:
        require_any([data.path for data in settings.data])
    except MissingError as error:
        return str(error)
    return None


def _student(settings: TrainingSettings, device: str) -> tuple[Student, str | None]:
    """The model in shapes; a stand-in, and what is then not known, if only its sizes are."""
    try:
        return load_start(settings, device, weights=False), None
    except UnavailableError:
        if settings.model not in SIZES:
            raise
    assumed = (
        f"{settings.model} is not here, and the hub does not answer: planned by its published sizes. "
        "Check the network, or name a folder that holds it: model=FOLDER."
    )
    with stand_in(settings.model) as folder:
        return load_start(settings.model_copy(update={"model": str(folder)}), device, weights=False), assumed


def _held_by(folder: Path, settings: TrainingSettings, *, resume: bool, force: bool) -> str | None:
    """What holds the output, if `force` would replace it or `resume` go on with it."""
    try:
        is_finished(folder, settings, resume=resume, force=force)
    except InvalidError as error:
        is_finished(folder, settings, resume=resume, force=True)  # for what nothing helps against
        return error.message
    return None


def _counts(data: TrainingData | None) -> dict[str, Any]:
    """What is known of the rows."""
    if data is None:
        return {"sets": {}, "with_negatives": 0, "ignored_fields": {}, "rows": 0, "steps_per_epoch": 0}
    return {
        "sets": {name: len(rows) for name, rows in zip(data.names, data.sets, strict=True)},
        "with_negatives": sum(rows.with_negatives for rows in data.sets),
        "ignored_fields": data.ignored,
        "rows": data.examples,
        "steps_per_epoch": data.steps_per_epoch,
    }


def _tokens_per_step(student: Student, settings: TrainingSettings, data: TrainingData | None, of: int) -> int:
    """The mean over the first `of` steps; without data the most that a step can have."""
    lengths = settings.max_length
    if data is None:
        return settings.batch_size * (lengths.query + (1 + settings.negatives) * lengths.document)
    steps = range(min(SAMPLED_STEPS, of))
    return sum(_tokens(prepare(student, data.batch(step), lengths.document)) for step in steps) // len(steps)


def _tokens(batch: Batch) -> int:
    return sum(len(text.ids) for text in batch.tokens)


def _require_disk(folder: Path, checkpoint: int, settings: TrainingSettings, steps: int) -> None:
    """Raise UnavailableError if the checkpoints to come do not fit on the disk."""
    kept = -(-steps // settings.save_steps)  # that of the last step included
    if settings.save_total_limit is not None:
        kept = min(kept, settings.save_total_limit + 1)  # a new one is written before the oldest is removed
    count = kept + 2  # the final one and the best
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    if checkpoint * count > free:
        raise UnavailableError(
            f"{count} checkpoints of {checkpoint / 1e6:,.0f} MB do not fit on the disk of {folder} "
            f"({free / 1e6:,.0f} MB free).",
            "Raise save_steps, set save_total_limit, or choose another `output`.",
        )


def _rendered(student: Student, length: int, source: str, row: Batch) -> dict[str, Any]:
    query_ids, *documents = [text.ids for text in prepare(student, row, length).tokens]
    return {
        "set": source,
        "query": _readable(student, query_ids),
        "positive": _readable(student, documents[0]),
        "negatives": [_readable(student, ids) for ids in documents[1:]],
        "tokens": {"query": len(query_ids), "positive": len(documents[0])},
    }


def _readable(student: Student, ids: list[int]) -> str:
    text = student.tokenizer.decode(ids, skip_special_tokens=False)
    if len(text) <= SHOWN_CHARACTERS:
        return text
    start, end = text[: SHOWN_CHARACTERS // 2], text[-SHOWN_CHARACTERS // 2 :]  # the thinking tokens are at the end
    return f"{start.rpartition(' ')[0] or start} … {end.partition(' ')[2] or end}"
