"""Encoding tasks on a Ray cluster of this machine: the same shards as here, whatever happens to actors."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from debater_search.errors import InvalidError, UnavailableError
from debater_search.indexing import build, encode_to
from debater_search.indexing.engines import ray as engine
from debater_search.store.embeddings import EmbeddingStore
from tests.fakes import FakeEncoder, tiny_corpus
from tests.indexing.fake_ray import load_fake

ray = pytest.importorskip("ray")
CORPUS = tiny_corpus()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # actors import the fake model from the tests
    leave = engine._connect(ray, None, 2)
    yield
    leave()


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch, cluster: None) -> None:
    monkeypatch.setattr(engine, "_load", load_fake)


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


def test_actors_make_the_same_bytes_as_one_process(tmp_path: Path) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "here", shard_size=4)
    build(CORPUS, FakeEncoder(), tmp_path / "ray", shard_size=4, engine="ray", workers=2)
    assert shards(tmp_path / "ray" / "embeddings") == shards(tmp_path / "here" / "embeddings")
    address = f"file://{tmp_path}/store/papers"
    done = encode_to(CORPUS, FakeEncoder(), address, shard_size=4, engine="ray", workers=2)
    assert (done.documents, done.reused) == (len(CORPUS), 0)
    there = tmp_path / "store" / "papers" / "embeddings"
    assert shards(there) == shards(tmp_path / "here" / "embeddings")
    assert sorted(path.name for path in there.iterdir() if path.suffix != ".parquet") == ["job.json", "manifest.json"]


@pytest.mark.slow
def test_an_actor_that_dies_is_replaced_and_half_the_shards_are_kept(tmp_path: Path) -> None:
    encoder = FakeEncoder(f"deadly-{tmp_path / 'died'}")
    build(CORPUS, encoder, tmp_path / "i", shard_size=4, engine="ray", workers=2, encode_only=True)
    whole = shards(tmp_path / "i" / "embeddings")
    assert (tmp_path / "died").exists()
    assert EmbeddingStore.open(tmp_path / "i" / "embeddings").ids() == [document.id for document in CORPUS]
    (tmp_path / "i" / "embeddings" / "manifest.json").unlink()
    for name in list(whole)[::2]:
        (tmp_path / "i" / "embeddings" / name).unlink()
    again = build(CORPUS, encoder, tmp_path / "i", shard_size=4, engine="ray", workers=2, encode_only=True)
    assert again.reused == 4 * len(list(whole)[1::2])
    assert shards(tmp_path / "i" / "embeddings") == whole


@pytest.mark.slow
def test_an_error_of_an_actor_is_the_users_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="an embedding that is not finite"):
        build(CORPUS, FakeEncoder("nan"), tmp_path / "i", shard_size=4, engine="ray", workers=2)


@pytest.mark.slow
def test_actors_that_load_another_model_are_refused(tmp_path: Path) -> None:
    class Changed(FakeEncoder):
        def __init__(self) -> None:
            super().__init__("fake")
            self.fingerprint = "0" * 64

    with pytest.raises(UnavailableError, match="not the model that is in memory"):
        build(CORPUS, Changed(), tmp_path / "i", shard_size=4, engine="ray", workers=1)


INTERRUPTED = """
import sys
from debater_search.cli.interrupts import interruptible
from debater_search.indexing import build
from debater_search.indexing.engines import ray as engine
from tests.fakes import FakeEncoder, tiny_corpus
from tests.indexing.fake_ray import load_fake
engine._load = load_fake
try:
  with interruptible():
    build(tiny_corpus(), FakeEncoder("slow-" + sys.argv[1]), sys.argv[2], shard_size=4, engine="ray", workers=2)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.slow
def test_an_interrupt_ends_the_cluster_that_was_started(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path)}
    marker = tmp_path / "begun"
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, str(marker), str(tmp_path / "i")], env=environment)
    wait_until(marker.exists, seconds=120)
    ours = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
    assert ours
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in ours), seconds=30)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
