"""How checks find their facts."""

import errno
import fcntl
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from debater_search.doctor import Asked, caches, machine, model, online, place, versions
from debater_search.doctor.finding import Facts
from debater_search.indexing import build
from tests.fakes import FakeEncoder, tiny_corpus


def gathered(module: Any, asked: Asked = Asked()) -> Facts:  # noqa: B008
    facts: Facts = {}
    for found in module.gather(asked):
        facts |= found
    return facts


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.cfs_quota_us": "400000\n", "cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_the_cpus_that_a_control_group_allows_are_read(
    files: dict[str, str], cpus: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_limits(files, tmp_path, monkeypatch)
    assert gathered(machine)["quota"] == cpus


@pytest.mark.parametrize(
    "files",
    [
        {"memory.max": "1000000\n", "memory.current": "400000\n"},
        {"memory.limit_in_bytes": "1000000\n", "memory.usage_in_bytes": "400000\n"},
    ],
)
def test_the_memory_is_that_of_the_control_group_if_it_has_less(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_limits(files, tmp_path, monkeypatch)
    assert gathered(machine)["memory"] == {"total": 1_000_000, "available": 600_000}


def with_limits(files: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(machine, "_own_groups", lambda controller: iter([folder]))


def test_a_file_system_without_locks_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert gathered(place, Asked(index=str(tmp_path / "index")))["failed"] == ["locks"]


def test_locks_that_do_not_lock_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, operation: None)
    assert gathered(place, Asked(index=str(tmp_path / "index")))["failed"] == ["locks"]


def test_the_folder_is_left_as_it_was(tmp_path: Path) -> None:
    assert gathered(place, Asked(index=str(tmp_path / "index")))["failed"] == []
    assert list(tmp_path.iterdir()) == []


def test_a_writer_at_work_is_not_taken_for_a_killed_one(tmp_path: Path) -> None:
    build(tiny_corpus(3), FakeEncoder(), tmp_path / "papers")
    (tmp_path / ".papers.building").mkdir()
    asked = Asked(index=str(tmp_path / "papers"))
    assert [left["busy"] for left in gathered(place, asked)["left"]] == [False]
    with (tmp_path / "papers" / "writer.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert [left["busy"] for left in gathered(place, asked)["left"]] == [True]


def test_parts_of_the_cache_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    part = tmp_path / "debater" / "training" / "deep"
    part.mkdir(parents=True)
    (part / "rows").write_bytes(b"x" * 1000)
    facts = gathered(caches)
    assert (facts["parts"], facts["chosen"], facts["replaced"]) == ({"training": 1000}, True, False)


def test_missing_libraries_are_told_by_the_extra_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"torch": "2.1.0", "matplotlib": "3.10"}
    monkeypatch.setattr(versions, "version_of", found.get)
    facts = gathered(versions)
    assert any(requirement.startswith("torch<") for requirement in facts["missing"])  # too old
    assert not any(requirement.startswith("faiss") for requirement in facts["missing"])  # any wheel will do
    assert "matplotlib" not in facts["extras"]["eval"]
    assert "mteb" in facts["extras"]["eval"]
    assert "dev" not in facts["extras"]


def test_the_tested_versions_are_those_of_the_constraints() -> None:
    lines = (Path(__file__).parents[2] / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert {f"{name}=={version}" for name, version in versions.TESTED.items()} <= set(lines)


class Broken(FakeEncoder):
    """Not finite, or different in a batch."""

    def __init__(self, fault: str) -> None:
        super().__init__("broken")
        self.fault = fault

    def encode_documents(self, texts: Any, **more: Any) -> np.ndarray:
        vectors = super().encode_documents(texts)
        if self.fault == "nan" and len(texts) > 10:
            vectors[7, 3] = np.nan
        if self.fault == "batch" and len(texts) > 10:
            vectors[2, 5] += 0.01
        return vectors


@pytest.mark.parametrize(("fault", "level"), [("", "ok"), ("nan", "problem"), ("batch", "problem")])
def test_a_model_is_tried(fault: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("debater_search.encoder.Encoder.load", lambda name: Broken(fault))
    asked = Asked(model="debater-small")
    assert [finding.level for finding in model.judge(gathered(model, asked), asked)] == [level]


@pytest.fixture
def service() -> Iterator[HTTPServer]:
    """A service whose clock is an hour late, and which refuses what it is asked."""

    class Late(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(403)
            self.send_header("Date", formatdate(time.time() - 3600, usegmt=True))
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Late) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_services_of_the_environment_are_asked(service: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and nobody listens
        address = f"http://127.0.0.1:{service.server_port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "*")
        facts = gathered(online)
    assert facts["services"].keys() == {"the model hub", "S3", "Ray"}
    assert facts["services"]["Ray"] == {"answers": False, "why": "Connection refused"}
    assert facts["services"]["S3"]["answers"]
    assert abs(facts["services"]["S3"]["skew"] - 3600) < 60
    assert [finding.level for finding in online.judge(facts, Asked(online=True))].count("problem") == 3
