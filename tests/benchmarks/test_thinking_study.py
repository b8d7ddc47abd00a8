"""The study of thinking from config to table, on a random model of a few thousand parameters."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = ["wing", "lift", "drag", "heat", "flow", "jet", "shock", "wake"]


def test_each_kind_of_thinking_is_trained_and_measured(
    tiny_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"query": f"of {w}", "positive": f"{w} {w}", "negative": WORDS[n - 1]} for n, w in enumerate(WORDS)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "model": str(tiny_model("llama")), "thinking_steps": 3, "data": [{"path": "rows.jsonl"}], "batch_size": 4,
        "max_length": {"query": 32, "document": 60}, "lora": {"r": 2, "targets": ["q_proj"]}, "warmup_steps": 0,
        "output": "unused", "report_to": [],
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    task = tmp_path / "topics"
    (task / "qrels").mkdir(parents=True)
    (task / "corpus.jsonl").write_text("".join(json.dumps({"_id": w, "text": f"{w} {w}"}) + "\n" for w in WORDS))
    (task / "queries.jsonl").write_text("".join(json.dumps({"_id": w, "text": f"of {w}"}) + "\n" for w in WORDS))
    (task / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"{w}\t{w}\t1\n" for w in WORDS))
    study = runpy.run_path(str(ROOT / "benchmarks" / "thinking.py"))
    study["main"]([
        str(tmp_path / "config.json"), "max_steps=2", "--tasks", str(task), "--output", str(tmp_path / "out"),
        "--device", "cpu", "--variants", "token", "state, query",
    ])  # fmt: skip
    told = (tmp_path / "out" / "thinking.md").read_text()
    assert told in capsys.readouterr().out
    assert "| token | topics | " in told
    assert "| state, query | topics | " in told
    saved = json.loads((tmp_path / "out" / "state-query" / "debater.json").read_text())
    assert (saved["thinking_input"], saved["template"]["query_thinking"]) == ("state", 2)
