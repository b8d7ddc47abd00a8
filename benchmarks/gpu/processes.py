"""Several GPUs beside one: the same losses under DDP and FSDP2, and how much sooner."""

import json
from pathlib import Path

import torch
from report import Report, Setting
from shapes import texts

from debater_search.training import train
from debater_search.training.settings import TrainingSettings


def compare(setting: Setting, report: Report) -> None:
    gpus = torch.cuda.device_count() if setting.on_gpu else 0
    if gpus < 2:
        report.note("Left out: it takes two GPUs.")
        return
    folder, steps, size = Path(setting.folder), 8, 32 * gpus
    given = texts(2 * steps * size)
    rows = [{"query": a[:60], "positive": a, "negative": b} for a, b in zip(given[::2], given[1::2], strict=True)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    losses: list[list[float]] = []
    for processes, parallel in ((1, "ddp"), (gpus, "ddp"), (gpus, "fsdp")):
        settings = TrainingSettings.model_validate(
            {
                "model": "minilm", "thinking_steps": 8, "data": [{"path": str(folder / "rows.jsonl")}],
                "lora": {"r": 16, "alpha": 32, "dropout": 0.0}, "max_length": {"query": 64, "document": 256},
                "batch_size": size, "max_steps": steps, "warmup_steps": 0, "save_steps": 100, "report_to": [],
                "parallel": parallel, "output": str(folder / f"{parallel}-{processes}"),
            }
        )  # fmt: skip
        train(settings, device="cuda", processes=processes)
        lines = [json.loads(line) for line in (Path(settings.output) / "metrics.jsonl").read_text().splitlines()]
        losses.append([line["loss"] for line in lines])
        later = sorted(line["tokens/s"] for line in lines[steps // 2 :])
        report.row(GPUs=processes, parallel=parallel if processes > 1 else "–", **{"tokens/s": later[len(later) // 2]})
        if processes > 1:
            apart = max(abs(a - b) / abs(b) for a, b in zip(losses[-1], losses[0], strict=True))
            report.check(f"{parallel} on {processes} GPUs: losses = one GPU's", apart, 0.05)
