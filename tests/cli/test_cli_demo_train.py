"""The demo that trains: a tiny model and tiny collections in the places where a clone has the real ones."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from debater_search.cli import main

WORDS = ["wing", "lift", "drag", "heat", "flow", "jet", "shock", "wake"]


@pytest.fixture
def clone(tiny_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for task in ("cranfield", "heldout"):
        folder = tmp_path / "data" / task
        (folder / "qrels").mkdir(parents=True)
        write(folder / "corpus.jsonl", [{"_id": w, "title": w, "text": f"on {w}. more of {w}."} for w in WORDS])
        write(folder / "queries.jsonl", [{"_id": f"q-{w}", "text": f"what of {w}"} for w in WORDS])
        judged = "".join(f"q-{w}\t{w}\t1\n" for w in WORDS)
        (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged, encoding="utf-8")
    rows = [{"query": f"what of {w}", "positive": f"{w} {w}", "negative": WORDS[i - 1]} for i, w in enumerate(WORDS)]
    write(tmp_path / "data" / "rows.jsonl", rows)
    config = {
        "model": str(tiny_model("bert")), "thinking_steps": 2, "data": [{"path": "../data/rows.jsonl"}],
        "warm_start": {"steps": 1, "batch_size": 4}, "max_length": {"query": 16, "document": 32}, "batch_size": 4,
        "max_steps": 2, "warmup_steps": 0, "output": "checkpoints/demo",
    }  # fmt: skip
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for module in ("demo", "demo_train"):
        monkeypatch.setattr(f"debater_search.cli.{module}.cranfield", lambda: tmp_path / "data" / "cranfield")
    return tmp_path


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_the_demo_trains_indexes_searches_and_compares(clone: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--train"]) == 0
    shown = capfd.readouterr().out
    for part in ("[1/4]", "[2/4]", "[3/4]", "[4/4]"):
        assert part in shown
    assert "left)" in shown
    assert "step 2 alone" in shown
    results = json.loads((clone / "indexes" / "demo-trained" / "results.json").read_text(encoding="utf-8"))
    systems = [row["system"] for row in results["results"] if row["task"] == "cranfield"]
    assert systems[0] == "BM25"
    assert systems[-2:] == ["  step 1 alone", "  step 2 alone"]
    last, alone = (row["metrics"] for row in (results["results"][3], results["results"][5]))
    assert last["ndcg@10"] == pytest.approx(alone["ndcg@10"])
    assert (clone / "checkpoints" / "demo" / "training.png").is_file()


def test_a_second_demo_uses_what_is_finished_and_a_changed_config_starts_over(
    clone: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--train", "--json"]) == 0
    first = json.loads(capfd.readouterr().out)
    assert len(first["answers"]) == 3
    checkpoint = clone / "checkpoints" / "demo" / "adapter_model.safetensors"
    index = clone / "indexes" / "demo-trained" / "manifest.json"
    made = checkpoint.stat().st_mtime_ns, index.stat().st_mtime_ns
    assert main(["demo", "--train", "--json"]) == 0
    again = json.loads(capfd.readouterr().out)
    assert (checkpoint.stat().st_mtime_ns, index.stat().st_mtime_ns) == made
    assert again["results"] == first["results"]
    config = clone / "configs" / "demo.yaml"
    config.write_text(config.read_text() + "seed: 7\n")
    assert main(["demo", "--train", "--json"]) == 0
    assert checkpoint.stat().st_mtime_ns > made[0]
    assert index.stat().st_mtime_ns > made[1]


def test_where_the_repository_is_not_training_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("debater_search.cli.demo_train.__file__", str(tmp_path / "debater_search" / "cli" / "x.py"))
    assert main(["demo", "--train"]) == 2
    assert "needs configs/demo.yaml of the repository" in (said := capfd.readouterr().err)
    assert "leave --train out" in said
