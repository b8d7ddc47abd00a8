"""Mined rows get a cross-encoder's scores."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from debater_search.data.training_rows import read_training_examples

FOLDER = Path(__file__).parents[2] / "models"
ROWS = [{"query": f"q {n}", "positive": "a b c", "negative": ["d", "e f" * n, "g"][: n % 4]} for n in range(70)]


@pytest.fixture(scope="module")
def rescore() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rescore", FOLDER / "rescore.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["rescore"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ranker(tiny_model: Callable[..., Path], tmp_path: Path) -> Path:
    """A tiny cross-encoder with random weights."""
    torch.manual_seed(0)
    values = {**json.loads((tiny_model("bert") / "config.json").read_text()), "num_labels": 1}
    model = BertForSequenceClassification(BertConfig(**values))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "ranker")
    (tmp_path / "ranker" / "tokenizer.json").write_bytes((tiny_model("bert") / "tokenizer.json").read_bytes())
    return tmp_path / "ranker"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def written(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_pair_has_the_score_that_it_has_alone(
    rescore: ModuleType, ranker: Path, rows: Path, tmp_path: Path
) -> None:
    model = rescore.CrossEncoder(ranker, 32)
    rescore.rescore(rows, tmp_path / "out.jsonl", model, -1e9)
    found = written(tmp_path / "out.jsonl")
    assert [(row["query"], row["negative"]) for row in found] == [(row["query"], row["negative"]) for row in ROWS]
    for row in found[::9]:
        alone = [model.scores([(row["query"], text)])[0] for text in (row["positive"], *row["negative"])]
        assert [*row["positive_scores"], *row["negative_scores"]] == pytest.approx(alone, abs=2e-4)
    assert len({score for row in found for score in row["negative_scores"]}) > 5
    assert all(example.positive_score is not None for example in read_training_examples(tmp_path / "out.jsonl"))


def test_negatives_that_may_be_answers_are_left_out(
    rescore: ModuleType, ranker: Path, rows: Path, tmp_path: Path
) -> None:
    model = rescore.CrossEncoder(ranker, 32)
    rescore.rescore(rows, tmp_path / "all.jsonl", model, -1e9)
    rescore.rescore(rows, tmp_path / "sure.jsonl", model, 0.01)
    for every, sure in zip(written(tmp_path / "all.jsonl"), written(tmp_path / "sure.jsonl"), strict=True):
        below = [score for score in every["negative_scores"] if score <= every["positive_scores"][0] - 0.01]
        assert sure["negative_scores"] == below
        assert len(sure["negative"]) == len(below)
    assert sum(len(row["negative"]) for row in written(tmp_path / "sure.jsonl")) not in (0, 105)


def test_a_killed_run_goes_on_and_writes_each_row_once(
    rescore: ModuleType, ranker: Path, rows: Path, tmp_path: Path
) -> None:
    model = rescore.CrossEncoder(ranker, 32)
    rescore.rescore(rows, tmp_path / "whole.jsonl", model, 0.0)
    whole = (tmp_path / "whole.jsonl").read_bytes()
    killed = tmp_path / "killed.jsonl"
    killed.write_bytes(whole[: len(whole) // 2])
    rescore.rescore(rows, killed, model, 0.0)
    assert [row["query"] for row in written(killed)] == [row["query"] for row in ROWS]
    rescore.rescore(rows, killed, model, 0.0)
    assert len(written(killed)) == len(ROWS)
