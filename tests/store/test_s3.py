"""Embeddings on a real S3-compatible server: moto's, in an environment of its own, for it needs other versions."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from debater_search.errors import DebaterError, MissingError, UnavailableError
from debater_search.indexing import build, encode_to
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.lease import LEASE_NAME, leasing
from debater_search.store.places import ObjectStore, place_at
from tests.fakes import FakeEncoder, tiny_corpus

pytestmark = pytest.mark.slow
MOTO = Path(__file__).parents[2] / "build" / "moto"
CORPUS = tiny_corpus()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if not (MOTO / "bin" / "moto_server").exists():
        subprocess.run([sys.executable, "-m", "venv", MOTO], check=True)
        subprocess.run([MOTO / "bin" / "pip", "install", "-q", "moto[server]==5.2.5"], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [MOTO / "bin" / "moto_server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield endpoint
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{os.urandom(4).hex()}"
    request = urllib.request.Request(f"{server}/{name}", method="PUT")
    urllib.request.urlopen(request, timeout=10).close()
    return f"s3://{name}/papers"


def test_shards_on_s3_are_those_of_a_folder_and_build_an_index(bucket: str, tmp_path: Path) -> None:
    done = encode_to(CORPUS, FakeEncoder(), bucket, shard_size=7, all_steps=True)
    assert done.documents == len(CORPUS)
    build(CORPUS, FakeEncoder(), tmp_path / "i", shard_size=7, all_steps=True)
    local, remote = EmbeddingStore.open(tmp_path / "i" / "embeddings"), EmbeddingStore.open(f"{bucket}/embeddings")
    assert local.manifest.shards == remote.manifest.shards
    np.testing.assert_array_equal(local.vectors(), remote.vectors())
    ((start, rows),) = list(remote.around(np.array([3])))
    np.testing.assert_array_equal(rows[3 - start], local.vectors()[3])
    built = build(CORPUS, None, tmp_path / "from", embeddings=bucket)
    assert built.documents == len(CORPUS)


def test_a_writer_that_fails_leaves_no_object_and_another_waits(bucket: str) -> None:
    place = place_at(bucket)
    assert isinstance(place, ObjectStore)

    def fail() -> None:
        with place.writing("half.bin") as file:
            file.write(b"x" * 6_000_000)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert place.names() == set()
    with place.writing("whole.bin") as file:
        file.write(b"x" * 12_000_000)
    assert len(place.read("whole.bin")) == 12_000_000
    with leasing(place), pytest.raises(DebaterError, match="is being written to"), leasing(place):
        pass
    assert place.names() == {"whole.bin"}
    assert LEASE_NAME not in place.names()
    place.clear()
    assert place.names() == set()


def test_what_goes_wrong_is_told(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingError, match=r"The bucket of s3://no-such-bucket-1/papers"):
        encode_to(CORPUS, FakeEncoder(), "s3://no-such-bucket-1/papers")
    with pytest.raises(MissingError, match="unfinished"):
        EmbeddingStore.open(bucket)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UnavailableError, match="cannot be reached"):
        encode_to(CORPUS, FakeEncoder(), bucket)
