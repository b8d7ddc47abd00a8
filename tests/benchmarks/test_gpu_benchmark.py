"""`benchmarks/gpu` in small, on a CPU: it must work before a card sees it."""

import importlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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


@pytest.mark.slow
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
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """The benchmark's modules, by name."""
    folder = ROOT / "benchmarks" / "gpu"
    monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or ".").parent == folder:
            del sys.modules[name]


@pytest.fixture
def report(modules: Callable[[str], ModuleType]) -> ModuleType:
    return modules("report")


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


# What only a card has, played


@pytest.mark.parametrize("mixes", [False, True])
def test_sequences_that_a_kernel_mixes_are_found(
    modules: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, mixes: bool
) -> None:
    import torch

    from debater_search.encoder.speed.attention import FLASH
    from tests.encoder import flash

    correct, report, out = modules("correct"), modules("report"), io.StringIO()
    if mixes:
        monkeypatch.setattr(flash, "flash_attn_varlen_func", across)
    flash.install(monkeypatch)
    monkeypatch.setattr(modules("shapes"), "choose_attention", lambda asked, *_: asked)
    monkeypatch.setattr(correct, "HALF", torch.float32)  # the stand-in's, and quicker on a CPU
    for section in (correct.attention, correct.packing):
        section(report.Setting("cpu", True, ""), report.Report(out))
    checks = [what for kind, what in map(json.loads, out.getvalue().splitlines()) if kind == "checks"]
    assert any(FLASH in check["what"] for check in checks)
    assert any("gradients = padded" in check["what"] for check in checks)
    assert all(check["holds"] for check in checks) is not mixes


def across(q: Any, k: Any, v: Any, *borders: Any, causal: bool = False, **more: Any) -> Any:
    """Packed attention that takes all sequences for one."""
    from tests.encoder import flash

    return flash.flash_attn_func(q[None], k[None], v[None], causal=causal, softmax_scale=more.get("softmax_scale"))[0]
