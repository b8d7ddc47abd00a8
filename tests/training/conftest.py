"""Settings of a short run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from debater_search.training.settings import TrainingSettings
from tests.training.topics import WORDS


@pytest.fixture
def config(tiny_model: Callable[..., Path], tmp_path: Path) -> Callable[..., TrainingSettings]:
    """Settings for a short run on twelve one-word topics."""
    rows = [{"query": f"what of {w}", "positive": f"{w} {w} {'x' * (n % 5)}", "negative": WORDS[n - 1]}
            for n, w in enumerate(WORDS)]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def make(family: str = "bert", **more: object) -> TrainingSettings:
        values = {
            "model": str(tiny_model(family)),
            "thinking_steps": 3,
            "data": [{"path": str(tmp_path / "rows.jsonl")}],
            "lora": {"r": 4, "alpha": 8, "dropout": 0.1},
            "max_length": {"query": 32, "document": 60},
            "batch_size": 6,
            "learning_rate": 1e-2,
            "warmup_steps": 2,
            "max_steps": 6,
            "save_steps": 2,
            "output": str(tmp_path / "out"),
            **more,
        }
        return TrainingSettings.model_validate(values)

    return make


@pytest.fixture
def development(tmp_path: Path) -> Path:
    """A task in BEIR layout: every topic's word answers the question about it."""
    task = tmp_path / "task"
    (task / "qrels").mkdir(parents=True)
    (task / "corpus.jsonl").write_text("".join(json.dumps({"_id": w, "text": f"{w} {w}"}) + "\n" for w in WORDS))
    (task / "queries.jsonl").write_text("".join(json.dumps({"_id": w, "text": f"what of {w}"}) + "\n" for w in WORDS))
    (task / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{w}\t{w}\t1\n" for w in WORDS))
    return task
