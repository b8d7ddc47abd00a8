"""Whether training gives the same gradients however they are made, and gets along with little memory."""

import json
import logging
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from correct import EXACT, ROUNDED, difference
from report import Report, Setting
from shapes import SMALL, decoder, texts
from torch import Tensor

from debater_search.encoder.speed.attention import FLASH
from debater_search.training import budget, train
from debater_search.training.adapter import make_trainable
from debater_search.training.batches import Batch
from debater_search.training.loss import DeliberationLoss
from debater_search.training.parallel import Parallel
from debater_search.training.settings import Lora, TrainingSettings
from debater_search.training.steps import StepOptions, prepare, train_step
from debater_search.training.student import Student

LORA = {"r": 16, "alpha": 32, "dropout": 0.0}


def student_of(setting: Setting, attention: str = "auto", *, checkpointing: bool = False, **more: Any) -> Student:
    """A decoder with thinking tokens and an adapter that is not at zero."""
    start = decoder(setting, attention, steps=4, **more)
    compute = torch.bfloat16 if setting.on_gpu else torch.float32
    student = Student(start, compute=compute)
    torch.manual_seed(0)
    make_trainable(student, Lora(**LORA), gradient_checkpointing=checkpointing)
    with torch.no_grad():
        for name, parameter in student.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.01)
    student.model.train()
    return student


def batch_of(
    student: Student, queries: int, length: int, *, words: tuple[int, int] = (20, 400), seed: int = 0
) -> Batch:
    """Questions, each with a positive and a negative, tokenized."""
    documents = texts(2 * queries, seed, words)
    batch = Batch(texts(queries, seed + 1, (4, 20)), documents[:queries], documents[queries:])
    return prepare(student, batch, length)


def gradients_of(student: Student, batch: Batch, cache_tokens: int | None) -> Tensor:
    student.model.zero_grad(set_to_none=True)
    train_step(student, DeliberationLoss(), batch, StepOptions(0, Parallel(student), cache_tokens))
    found = [p.grad.flatten() for p in student.model.parameters() if p.grad is not None]
    assert all(bool(part.isfinite().all()) for part in found)
    return torch.cat(found)


def gradients(setting: Setting, report: Report) -> None:
    """Gradients with and without a cache, with activations made again, and by another kernel."""
    sizes = SMALL | {"num_key_value_heads": 4} if setting.on_gpu else {}
    limit = 4 * ROUNDED if setting.on_gpu else 2 * EXACT
    student = student_of(setting, "sdpa", sizes=sizes)
    batch = batch_of(student, setting.sized(16, 4), 128, words=(4, 60))
    expected = gradients_of(student, batch, None)
    report.check("gradients are all 0", float(expected.abs().max() == 0), 0)
    report.check("cached = whole", difference(gradients_of(student, batch, 300), expected), limit)
    again = student_of(setting, "sdpa", checkpointing=True, sizes=sizes)
    report.check("activations made again = kept", difference(gradients_of(again, batch, None), expected), limit)
    if setting.on_gpu:
        flash = student_of(setting, "auto", sizes=sizes)
        kernel = flash.model.backbone.config._attn_implementation
        if kernel == FLASH:
            report.check("packed = padded", difference(gradients_of(flash, batch, None), expected), 2 * limit)


def memory(setting: Setting, report: Report) -> None:
    """A run whose longest batch does not fit goes on in smaller chunks, to the end."""
    folder = Path(setting.folder)
    given = texts(setting.sized(512, 16), words=(8, setting.sized(200, 40)))
    rows = [{"query": text[:40], "positive": text, "negative": given[n - 1]} for n, text in enumerate(given)]
    (folder / "memory.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = TrainingSettings.model_validate(
        {
            "model": "minilm", "thinking_steps": 4, "data": [{"path": str(folder / "memory.jsonl")}], "lora": LORA,
            "max_length": {"query": 64, "document": setting.sized(256, 64)}, "batch_size": setting.sized(256, 8),
            "max_steps": 2, "warmup_steps": 0, "save_steps": 100, "report_to": [], "output": str(folder / "memory"),
        }
    )  # fmt: skip
    lines = _Lines()
    logging.getLogger("debater_search.training.budget").addHandler(lines)
    with _gpu_of(2 * 10**9) if setting.on_gpu else _card_of(tokens=300):
        train(settings, device=setting.device, processes=1)
    report.check("chunks were not made smaller", float(not any("continuing in chunks" in line for line in lines)), 0)
    for line in lines:
        report.note(line)
    steps = (folder / "memory" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    report.check("steps that are missing", 2 - len(steps), 0)


class _Lines(logging.Handler, list):  # type: ignore[type-arg]
    def __init__(self) -> None:
        logging.Handler.__init__(self)

    __hash__ = logging.Handler.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        self.append(record.getMessage())


class _gpu_of:  # noqa: N801
    """Inside, PyTorch may take this many bytes of the GPU."""

    def __init__(self, size: int) -> None:
        self._share = size / torch.cuda.get_device_properties(0).total_memory

    def __enter__(self) -> None:
        torch.cuda.set_per_process_memory_fraction(self._share)

    def __exit__(self, *_: object) -> None:
        torch.cuda.set_per_process_memory_fraction(1.0)


class _card_of:  # noqa: N801
    """Inside, this CPU says that it holds this many tokens of a forward pass."""

    def __init__(self, *, tokens: int) -> None:
        views = Student.views

        def limited(student: Student, sequences: Any, kind: str) -> Tensor:
            if len(sequences) * max(map(len, sequences)) > tokens:
                raise torch.OutOfMemoryError("full")
            return views(student, sequences, kind)

        self._patches = [
            patch.object(Student, "views", limited),
            patch.object(budget, "has_limited_memory", lambda student: True),
        ]

    def __enter__(self) -> None:
        for each in self._patches:
            each.start()

    def __exit__(self, *_: object) -> None:
        for each in self._patches:
            each.stop()
