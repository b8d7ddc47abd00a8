"""`benchmarks/gpu` in small, on a CPU: it must work before a card sees it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def measured(out: Path, *more: str) -> dict[str, Any]:
    """What the command writes; it must find no failure."""
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu"), "--tiny", "--minutes", "60", "--json", str(out), *more]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failures" in done.stdout
    return {section["name"]: section for section in json.loads(out.read_text())["sections"]}


def test_checks_and_speed_are_measured_on_a_cpu_too(tmp_path: Path) -> None:
    found = measured(tmp_path / "out.json", "--only", "machine", "attention", "gradients", "encoding")
    assert [check["holds"] for check in found["gradients"]["checks"]] == [True] * 3
    assert found["encoding"]["rows"][0]["tokens/s"] > 0


@pytest.mark.slow
def test_every_section_runs_on_a_cpu(tmp_path: Path) -> None:
    found = measured(tmp_path / "out.json")
    assert len(found) == 14
    for name in ("attention", "batches", "precision", "adapters", "gradients", "memory", "faiss"):
        assert found[name]["checks"], name
    for name in ("machine", "encoding", "training", "default-model", "faiss-speed"):
        assert found[name]["rows"], name


# One section among others


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "gpu"))
    import report

    yield report
    del sys.modules["report"]


def outcome(report: ModuleType, work: Any, *, seconds: float = 60, left: float = 60) -> dict[str, Any]:
    return report.run(report.Section("s", work, seconds), report.Setting("cpu", False, ""), left)


def test_what_a_section_found_stays_when_it_fails_or_dies(report: ModuleType) -> None:
    def fails(setting: Any, to: Any) -> None:
        to.check("fine", 1.0, 2.0)
        to.check("off", 3.0, 2.0)
        to.check("no number", float("nan"), 2.0)
        raise ValueError("broken")

    def dies(setting: Any, to: Any) -> None:
        to.row(a=1)
        os._exit(3)

    found = outcome(report, fails)
    assert [check["holds"] for check in found["checks"]] == [True, False, False]
    assert found["error"] == "ValueError: broken"
    found = outcome(report, dies)
    assert (found["rows"], found["error"]) == ([{"a": 1}], "the process ended with 3")


def test_a_section_is_stopped_after_its_time_and_left_out_where_none_is_left(
    report: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(setting: Any, to: Any) -> None:
        to.note("begun")
        time.sleep(600)

    found = outcome(report, hangs, left=4)
    assert (found["notes"], found["error"]) == (["Left out: no time is left."], None)
    monkeypatch.setattr(report, "LEAST", 0.0)
    found = outcome(report, hangs, seconds=2)
    assert (found["notes"], found["error"]) == (["begun"], "stopped after 2 s")
