"""Several processes encode as one does; one that dies is replaced; none outlives the process that started it."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from debater_search.encoder import Encoder
from debater_search.errors import DebaterError
from debater_search.indexing import EncodingSettings, build, encode
from debater_search.indexing.description import describe
from debater_search.indexing.engines import pool
from debater_search.processes import share_of_threads
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.manifest import CorpusInfo
from debater_search.training.student import Student
from debater_search.types import Document
from tests.fakes import FakeEncoder, tiny_corpus

CORPUS = tiny_corpus()
TESTS = Path(__file__).parent


@pytest.fixture
def fake_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers load a fake model; a test may set trouble for them."""
    monkeypatch.setattr(pool, "COMMAND", [sys.executable, str(TESTS / "fake_worker.py")])
    monkeypatch.setenv("PYTHONPATH", str(TESTS.parents[1]))


def trouble(monkeypatch: pytest.MonkeyPatch, kind: str, at: str, log: Path) -> Path:
    """What workers meet when they encode the document `at`; each that does writes its process id."""
    monkeypatch.setenv("TROUBLE", f"{kind} {log}")
    monkeypatch.setenv("AT", at.replace("d", "Number "))  # in its text: a worker gets no ids
    return log


def shards(folder: Path) -> EmbeddingStore:
    return EmbeddingStore.open(folder / "embeddings")


def test_vectors_are_the_same_however_many_workers_there_are(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    encoder = Encoder.load(tiny_model("bert"), thinking_steps=2, dim=16, device="cpu")
    for workers in (1, 2):
        build(CORPUS, encoder, tmp_path / f"{workers}", shard_size=4, workers=workers, encode_only=True, all_steps=True)
    one, two = shards(tmp_path / "1"), shards(tmp_path / "2")
    assert two.ids() == one.ids() == [document.id for document in CORPUS]
    np.testing.assert_allclose(two.vectors(), one.vectors(), atol=1e-6)
    np.testing.assert_allclose(np.concatenate(list(two.steps())), np.concatenate(list(one.steps())), atol=1e-6)


def test_texts_that_the_model_does_not_read_to_their_end_are_told_of(
    tiny_model: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "debater_search")
    encoder = Encoder.load(tiny_model("bert"), max_length=30, device="cpu")
    corpus = [Document(f"{n}", "wing " * (200 if n < 3 else 2)) for n in range(8)]
    for workers in (1, 2):
        caplog.clear()
        build(corpus, encoder, tmp_path / f"{workers}", shard_size=4, workers=workers)
        assert "Texts that fill all 30 tokens that the model reads: 3 of 8." in caplog.text
        assert "an index with `passages` 30 holds all of each text." in caplog.text
    caplog.clear()
    build(corpus, encoder, tmp_path / "passages", passages=30, overlap=0)
    assert "Texts that fill" not in caplog.text


def test_8_bit_integers_are_the_jobs_own_and_the_workers_too(
    tiny_model: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exact, coarse = (Encoder.load(tiny_model("bert"), device="cpu", dtype=dtype) for dtype in ("float32", "int8"))
    for encoder, name, workers in ((exact, "exact", 1), (coarse, "one", 1), (coarse, "two", 2)):
        build(CORPUS, encoder, tmp_path / name, shard_size=4, workers=workers)
    assert not np.allclose(shards(tmp_path / "one").vectors(), shards(tmp_path / "exact").vectors(), atol=1e-5)
    np.testing.assert_allclose(shards(tmp_path / "two").vectors(), shards(tmp_path / "one").vectors(), atol=1e-6)
    assert describe(tmp_path / "one")["encoded_in"] == "int8"

    (tmp_path / "one" / "manifest.json").unlink()
    with pytest.raises(DebaterError, match="different: int8"):
        build(CORPUS, exact, tmp_path / "one", shard_size=4)


def test_workers_go_on_with_what_is_missing_and_count_it_once(
    fake_workers: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "i", shard_size=5, encode_only=True)
    for gone in ("manifest.json", "shard-00001.parquet", "shard-00003.parquet"):
        (tmp_path / "i" / "embeddings" / gone).unlink()
    parent = FakeEncoder()
    built = build(CORPUS, parent, tmp_path / "i", shard_size=5, workers=3, progress=True)
    assert (built.reused, parent.encoded) == (15, 0)
    assert "Encoding: 10/10 documents" in capsys.readouterr().err
    np.testing.assert_array_equal(shards(tmp_path / "i").vectors(), FakeEncoder().encode_documents(CORPUS))


def test_workers_encode_passages(fake_workers: None, tmp_path: Path) -> None:
    corpus = [Document(f"d{i}", f"Word{i} is here. " * 5 * i, "Title") for i in range(12)]
    for workers in (1, 2):
        build(corpus, FakeEncoder(), tmp_path / f"{workers}", shard_size=10, passages=30, overlap=4, workers=workers)
    one, two = shards(tmp_path / "1"), shards(tmp_path / "2")
    assert two.ids() == one.ids()
    assert len(two) > 3 * len(corpus)
    np.testing.assert_array_equal(two.vectors(), one.vectors())


def test_a_single_shard_needs_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "COMMAND", ["false"])
    build(CORPUS, FakeEncoder(), tmp_path / "i", workers=8)


def test_a_worker_that_dies_is_replaced_and_nothing_is_lost(
    fake_workers: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = trouble(monkeypatch, "die-once", "d13", tmp_path / "log")
    build(CORPUS, FakeEncoder(), tmp_path / "i", shard_size=5, workers=2, progress=True)
    first, second = log.read_text().split()
    assert first != second
    assert "A worker died (SIGKILL)" in caplog.text
    assert "Encoding: 25/25 documents" in capsys.readouterr().err  # what the dead one did again counts once
    assert shards(tmp_path / "i").ids() == [document.id for document in CORPUS]
    np.testing.assert_array_equal(shards(tmp_path / "i").vectors(), FakeEncoder().encode_documents(CORPUS))


def test_documents_that_kill_every_worker_are_named_and_the_rest_is_kept(
    fake_workers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = trouble(monkeypatch, "die", "d13", tmp_path / "log")
    with pytest.raises(DebaterError, match="A worker died 4 times on documents 'd10' to 'd14'"):
        build(CORPUS, FakeEncoder(), tmp_path / "i", shard_size=5, workers=2)
    # Where a worker dies with two shards in hand, as the first ones may, the one before can be blamed.
    assert 4 <= len(log.read_text().split()) <= 6
    monkeypatch.delenv("AT")
    assert build(CORPUS, FakeEncoder(), tmp_path / "i", shard_size=5).reused >= 10


def test_what_a_worker_finds_wrong_is_said_as_if_there_were_none(
    fake_workers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble(monkeypatch, "nan", "d10", tmp_path / "log")
    with pytest.raises(DebaterError, match="document 'd10' an embedding that is not finite"):
        build(CORPUS, FakeEncoder(), tmp_path / "i", shard_size=5, workers=2)
    assert own_workers() == []  # also those that had nothing wrong


def test_a_disk_that_is_full_is_an_os_error(fake_workers: None, tmp_path: Path) -> None:
    embeddings = tmp_path / "embeddings"
    settings = EncodingSettings(shard_size=5, workers=2)
    info = CorpusInfo(source="", fingerprint="c0", documents=25)
    encode(CORPUS, FakeEncoder(), embeddings, info, settings)
    (embeddings / "shard-00002.parquet").unlink()
    (embeddings / "shard-00002.parquet.tmp").mkdir()  # in the way
    (embeddings / "shard-00003.parquet").unlink()
    with pytest.raises(IsADirectoryError, match=r"shard-00002\.parquet\.tmp"):
        encode(CORPUS, FakeEncoder(), embeddings, info, settings)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cuda:1", ["cuda:1", "cuda:2", "cuda:1"]),
        ("cuda:2", ["cuda:2"] * 3),
        ("cuda", ["cuda:0", "cuda:1", "cuda:2"]),
        ("cpu", ["cpu"] * 3),
    ],
)
def test_workers_take_the_gpu_of_the_encoder_and_those_after_it(
    monkeypatch: pytest.MonkeyPatch, device: str, expected: list[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    encoder = FakeEncoder()
    encoder.device = device
    assert pool._devices(encoder, 3) == expected


@pytest.mark.parametrize("fails", [False, True])
def test_an_encoder_leaves_its_gpu_to_the_workers_and_is_back_when_they_are_gone(
    fake_workers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    events: list[str] = []

    class OnGpu(FakeEncoder):
        @contextmanager
        def released(self) -> Iterator[None]:
            events.append("released")
            try:
                yield
            finally:
                events.append(f"back, {len(own_workers())} workers")

    if fails:
        trouble(monkeypatch, "nan", "d10", tmp_path / "log")
    with pytest.raises(DebaterError) if fails else nullcontext():
        build(CORPUS, OnGpu(), tmp_path / "i", shard_size=5, workers=2)
    assert events == ["released", "back, 0 workers"]


def test_a_model_is_moved_to_memory_and_back(tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder.load(tiny_model("bert"), device="cpu")
    student = Student(encoder)
    student.device = torch.device("cuda:1")
    places: list[str] = []
    monkeypatch.setattr(student.model, "to", lambda place: places.append(str(place)))
    with student.released():
        assert places == ["cpu"]
    assert places == ["cpu", "cuda:1"]


def test_a_model_that_differs_from_its_files_is_refused(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    encoder = Encoder.load(tiny_model("bert"), device="cpu")
    changed = Student(encoder, encoder.parts.with_lengths(query=20, document=20))
    with pytest.raises(DebaterError, match="not the model that is in memory"):
        build(CORPUS, changed, tmp_path / "i", shard_size=5, workers=2)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_no_worker_outlives_the_command(
    fake_workers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    log = trouble(monkeypatch, "hang", "d7", tmp_path / "log")
    script = textwrap.dedent("""
        import sys
        from debater_search.cli.interrupts import interruptible
        from debater_search.indexing import build
        from debater_search.indexing.engines import pool
        from tests.fakes import FakeEncoder, tiny_corpus

        pool.COMMAND = [sys.executable, sys.argv[1]]
        try:
            with interruptible():
                build(tiny_corpus(), FakeEncoder(), sys.argv[2], shard_size=5, workers=2)
        except KeyboardInterrupt:
            sys.exit(130)
    """)
    command = [sys.executable, "-c", script, str(TESTS / "fake_worker.py"), str(tmp_path / "i")]
    environment = os.environ | {"PYTHONPATH": str(TESTS.parents[1])}
    running = subprocess.Popen(command, env=environment)
    wait_until(lambda: log.exists() and log.read_text().endswith("\n"))
    worker = int(log.read_text())
    running.send_signal(number)
    assert running.wait(timeout=60) == code
    wait_until(lambda: not alive(worker))


def own_workers() -> list[str]:
    """Workers that this process has started and not ended."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    if not children.exists():
        pytest.skip("needs Linux's /proc")
    return [child for child in children.read_text().split() if "worker" in Path(f"/proc/{child}/cmdline").read_text()]


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(process: int) -> bool:
    """Whether a process is there and no zombie, which it stays for a while where nobody asks for its end."""
    status = Path(f"/proc/{process}/stat")
    if not status.parent.parent.exists():
        pytest.skip("needs Linux's /proc")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_threads_are_shared_unless_the_user_has_set_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("RAYON_NUM_THREADS", "2")
    assert share_of_threads(5) == {"OMP_NUM_THREADS": "2"}
    assert share_of_threads(50) == {"OMP_NUM_THREADS": "1"}
