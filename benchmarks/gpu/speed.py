"""Tokens per second, peak memory and the share of the card's peak, encoding and training."""

import json
from itertools import count
from pathlib import Path
from statistics import median

import torch
from learning import LORA, batch_of, student_of
from machine import on_data_sheet, peak
from report import Report, Setting
from shapes import decoder, forget_peak, kernels, multiplied, peak_memory, seconds, texts
from torch.optim import AdamW

from debater_search.encoder import Encoder
from debater_search.training import train
from debater_search.training.loss import DeliberationLoss
from debater_search.training.parallel import Parallel
from debater_search.training.settings import TrainingSettings
from debater_search.training.steps import StepOptions, train_step

LORA_PASSES = 2
"""Forward, and back through frozen weights to their inputs; what an adapter itself multiplies is next to nothing."""


def rates(setting: Setting, tokens: int, operations: float, took: float) -> dict[str, float | None]:
    """Facts of work in the device's own number type."""
    memory, sheet = peak_memory(setting.device), on_data_sheet(setting)
    return {
        "tokens/s": tokens / took,
        "TFLOP/s": operations / took / 1e12,
        "share of the measured peak": operations / took / peak(setting),
        "of the data sheet's": operations / took / sheet if sheet else None,
        "peak memory, GB": memory,
    }


def encoding(setting: Setting, report: Report) -> None:
    """Documents of 8 to 400 words by a model of MiniCPM-2B's shape, kernel beside kernel."""
    for kernel in kernels(setting):
        encoder = decoder(setting, kernel, steps=setting.sized(8, 2))
        report.row(kernel=kernel, dtype=encoder.dtype, **encoded(setting, encoder, affordable(setting, encoder)))


def affordable(setting: Setting, encoder: Encoder) -> int:
    """As many documents as take about ten seconds at two fifths of the card's peak, 2,000 at most."""
    tokens = 4 * peak(setting) / (2 * encoder.parameters)
    return setting.sized(max(50, min(2000, round(tokens / 400))), 6)


def encoded(setting: Setting, encoder: Encoder, documents: int) -> dict[str, float | None]:
    given = texts(documents, words=(8, setting.sized(400, 60)))
    lengths = [len(ids) for ids in encoder.token_ids(given, "document")]
    encoder.encode_documents(given[: len(given) // 8])
    forget_peak(setting.device)
    took = seconds(lambda: encoder.encode_documents(given), setting.device)
    operations = multiplied(encoder.model, encoder.model.backbone.config, lengths)
    return {"texts/s": len(given) / took, **rates(setting, sum(lengths), operations, took)}


def training(setting: Setting, report: Report) -> None:
    """Optimizer steps of LoRA on a model of MiniCPM-2B's shape, gradients cached."""
    for kernel in kernels(setting):
        for checkpointing in (True, False):
            made = "again" if checkpointing else "kept"
            try:
                report.row(kernel=kernel, activations=made, **trained(setting, kernel, checkpointing))
            except torch.OutOfMemoryError:
                report.note(f"{kernel}, activations {made}: the memory of the card does not hold it.")
    report.note("Operations that are made again, for the cache or a checkpoint, are not counted.")


def trained(setting: Setting, kernel: str, checkpointing: bool) -> dict[str, float | None]:
    student = student_of(setting, kernel, checkpointing=checkpointing)
    queries, length, words = setting.sized(32, 4), setting.sized(512, 64), (20, setting.sized(400, 60))
    batches = [batch_of(student, queries, length, words=words, seed=seed) for seed in range(setting.sized(2, 1))]
    optimizer = AdamW([p for p in student.model.parameters() if p.requires_grad], lr=1e-4)
    options = StepOptions(0, Parallel(student), cache_tokens=setting.sized(4096, 256))
    loss, numbers = DeliberationLoss(), count()

    def step() -> None:
        train_step(student, loss, batches[next(numbers) % len(batches)], options)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    forget_peak(setting.device)
    took = seconds(step, setting.device, len(batches))
    lengths = [len(text.ids) for batch in batches for text in batch.tokens]
    operations = multiplied(student.model, student.model.backbone.config, lengths, LORA_PASSES)
    return {"s/step": took, **rates(setting, sum(lengths) // len(batches), operations / len(batches), took)}


def default_model(setting: Setting, report: Report) -> None:
    """debater-small: documents encoded, and steps of a run as users start it."""
    encoder = Encoder.load("debater-small", device=setting.device)
    report.row(what=f"encode, {encoder.dtype}", **encoded(setting, encoder, setting.sized(20_000, 8)))
    folder, size, steps = Path(setting.folder), setting.sized(64, 4), setting.sized(12, 2)
    given = texts(size * steps, words=(8, setting.sized(400, 60)))
    rows = [{"query": text[:60], "positive": text, "negative": given[n - 1]} for n, text in enumerate(given)]
    (folder / "mini.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = TrainingSettings.model_validate(
        {
            "model": "minilm", "thinking_steps": 8, "data": [{"path": str(folder / "mini.jsonl")}], "lora": LORA,
            "max_length": {"query": 64, "document": setting.sized(256, 64)}, "batch_size": size, "max_steps": steps,
            "warmup_steps": 0, "save_steps": 100, "report_to": [], "output": str(folder / "mini"),
        }
    )  # fmt: skip
    forget_peak(setting.device)
    train(settings, device=setting.device, processes=1)
    lines = [json.loads(line) for line in (folder / "mini" / "metrics.jsonl").read_text().splitlines()]
    later = lines[len(lines) // 2 :]  # kernels are chosen
    rate = {name: median(line[key] for line in later) for name, key in (("texts/s", "examples/s"), ("tokens/s",) * 2)}
    report.row(what="train, LoRA", **rate, **{"peak memory, GB": peak_memory(setting.device)})
