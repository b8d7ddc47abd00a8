"""docs/site/guides/judgements.md, command by command, in a shell."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "site" / "guides" / "judgements.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.slow

JUDGED = [
    ("lift of a wing in a slipstream", "1", True),
    ("lift of a wing in a slipstream", "2", False),
    ("flow past a flat plate", "2", True),
    ("heat conduction into composite slabs", "5", True),
    ("boundary layer in simple shear flow", "4", True),
    ("transient heat conduction", "5", True),
]


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL)


def commands() -> list[str]:
    """The commands of the guide, one by one."""
    text = "".join(blocks("sh")).replace("\\\n", "")
    return [line for line in text.splitlines() if line.strip()]


def test_the_loop_from_use_to_a_better_index_runs_as_written(tmp_path: Path) -> None:
    corpus = (ROOT / "data" / "cranfield" / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:40]
    (tmp_path / "papers.jsonl").write_text("\n".join(corpus) + "\n", encoding="utf-8")
    (tmp_path / "train.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "debater"
    program.write_text(f"#!{sys.executable}\nfrom debater_search.cli import main\nmain()\n")
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    server = None
    try:
        for command in commands():
            command = command.replace("8080", port)
            if command.startswith("debater serve"):
                server = subprocess.Popen(
                    ["bash", "-c", f"exec {command} --port {port}"], cwd=tmp_path, env=environment
                )
                _wait(port)
                continue
            if command.startswith("head"):
                _judge(port)
            done = subprocess.run(
                ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            assert '"error"' not in done.stdout, done.stdout
    finally:
        if server is not None:
            server.terminate()
            server.wait(30)
    lines = [json.loads(line) for line in (tmp_path / "judgements.jsonl").read_text().splitlines()]
    example = json.loads(blocks("json")[0])
    assert lines[0] | {"time": ""} == example | {"time": ""}
    mined = [json.loads(line) for line in (tmp_path / "mined" / "older.jsonl").read_text().splitlines()]
    assert {row["query"] for row in mined} == {query for query, _, _ in JUDGED[:4]}
    assert (tmp_path / "indexes" / "papers-judged" / "manifest.json").exists()


def _wait(port: str) -> None:
    for _ in range(1200):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"):
                return
        except OSError:
            time.sleep(0.25)
    raise AssertionError("the server is not ready")


def _judge(port: str) -> None:
    """What people press on the page."""
    for query, id, relevant in JUDGED[1:]:  # the first is the guide's own
        body = json.dumps({"query": query, "id": id, "relevant": relevant}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/indexes/papers/judgements", body, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request).close()
