import io
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from debater_search.cli import main
from tests.cli.support import COMMAND, REPOSITORY, Debater, FakeModel, Outcome


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that commands run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def debater(workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Debater:
    """Run a command in this process: `debater("search", "wings", stdin="…")`."""

    def run(*arguments: str, stdin: str = "") -> Outcome:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode("utf-8", "surrogateescape"))))
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def fake_model(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every model that a command loads is a FakeModel; returns what `Encoder.load` was asked for."""
    asked: list[dict[str, Any]] = []

    def load(model: str, **settings: Any) -> FakeModel:
        asked.append({"model": model, **settings})
        return FakeModel(model)

    monkeypatch.setattr("debater_search.encoder.Encoder.load", load)
    return asked


@pytest.fixture
def corpus(workdir: Path) -> Path:
    """Three documents about flying."""
    rows = [
        {"_id": "stall", "title": "Stall", "text": "A wing stalls at low speed. Nothing else matters here."},
        {"_id": "layer", "title": "Layers", "text": "The boundary layer heats the wing of an aircraft."},
        {"_id": "noise", "title": "", "text": "Propellers are loud.", "year": 1958},
    ]
    path = workdir / "flight.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def index(debater: Debater, fake_model: list[dict[str, Any]], corpus: Path) -> Path:
    """Their index, where it goes by default."""
    assert debater("index", str(corpus)).code == 0
    fake_model.clear()
    return Path("indexes/flight")


@pytest.fixture
def task(corpus: Path, fake_model: list[dict[str, Any]]) -> Path:
    """A folder in BEIR layout: three documents, two queries; q2's words lead astray."""
    folder = Path("tasks/flight")
    (folder / "qrels").mkdir(parents=True)
    corpus.rename(folder / "corpus.jsonl")
    queries = [
        {"_id": "q1", "text": "loud propellers"},
        {"_id": "q2", "text": "the boundary layer heats the wing of an"},
    ]
    (folder / "queries.jsonl").write_text("".join(json.dumps(q) + "\n" for q in queries), encoding="utf-8")
    qrels = "query-id\tcorpus-id\tscore\nq1\tnoise\t1\nq2\tstall\t1\n"
    (folder / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")
    return folder


@pytest.fixture
def process(workdir: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a command as a process of its own."""

    def start(*arguments: str, **settings: Any) -> subprocess.Popen[str]:
        environment = {
            **os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **settings.pop("environment", {})
        }  # fmt: skip
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(
            [*COMMAND, *arguments], cwd=workdir, env=environment, text=True, encoding="utf-8", **{**pipes, **settings}
        )

    return start
