"""Embeddings on a real S3-compatible server: moto's, in an environment of its own, for it needs other versions."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from debater_search.errors import DebaterError, InvalidError, MissingError, UnavailableError
from debater_search.indexing import build, check_encode_to, encode_to
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.lease import LEASE_NAME, leasing
from debater_search.store.places import ObjectStore, place_at
from tests.fakes import FakeEncoder, tiny_corpus

ROOT = Path(__file__).parents[2]
MOTO = ROOT / "build" / "moto"
ready = pytest.mark.skipif(not (MOTO / "bin" / "moto_server").exists(), reason="a slow test installs moto")
CORPUS = tiny_corpus()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serving(**settings: str) -> Iterator[str]:
    """moto's server with these environment variables; gives its address."""
    if not (MOTO / "bin" / "moto_server").exists():
        subprocess.run([sys.executable, "-m", "venv", MOTO], check=True)
        subprocess.run([MOTO / "bin" / "pip", "install", "-q", "moto[server]==5.2.5"], check=True)
    port = free_port()
    process = subprocess.Popen(
        [MOTO / "bin" / "moto_server", "-H", "127.0.0.1", "-p", str(port)],
        env=os.environ | settings,
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


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving() as endpoint:
        yield endpoint


def make_bucket(server: str) -> str:
    name = f"bucket-{os.urandom(4).hex()}"
    request = urllib.request.Request(f"{server}/{name}", method="PUT")
    urllib.request.urlopen(request, timeout=10).close()
    return f"s3://{name}/papers"


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "a-secret",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    return make_bucket(server)


@ready
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_goes_wrong_is_told(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingError, match=r"The bucket of s3://no-such-bucket-1/papers"):
        check_encode_to("s3://no-such-bucket-1/papers")
    with pytest.raises(MissingError, match=r"The bucket of s3://no-such-bucket-1/papers"):
        build(CORPUS, None, tmp_path / "i", embeddings="s3://no-such-bucket-1/papers")
    with pytest.raises(MissingError, match="unfinished"):
        EmbeddingStore.open(bucket)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UnavailableError, match="cannot be reached"):
        encode_to(CORPUS, FakeEncoder(), bucket)


@pytest.mark.slow
def test_credentials_that_are_refused_are_told(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(INITIAL_NO_AUTH_ACTION_COUNT="1") as strict:
        monkeypatch.setenv("AWS_ENDPOINT_URL", strict)
        closed = make_bucket(strict)
        with pytest.raises(InvalidError, match=f"Access to {closed}/embeddings is denied"):
            check_encode_to(closed)
        with pytest.raises(InvalidError, match="is denied") as caught:
            EmbeddingStore.open(closed)
    assert "a-secret" not in f"{caught.value} {caught.value.hint}"


ON_A_CLUSTER = """
import sys
from debater_search.indexing import encode_to
from debater_search.indexing.engines import ray as engine
from tests.fakes import FakeEncoder, tiny_corpus
from tests.indexing.fake_ray import load_fake
engine._load = load_fake
done = encode_to(
    tiny_corpus(), FakeEncoder(), sys.argv[1], shard_size=4, engine="ray", ray_address=sys.argv[2], workers=5
)
assert done.documents == len(tiny_corpus())
"""


@pytest.mark.slow
def test_workers_of_a_cluster_write_to_the_storage_that_this_machine_names(bucket: str, tmp_path: Path) -> None:
    """A cluster that was started elsewhere knows credentials, but no endpoint, and has room for 2 of 5 workers."""
    pytest.importorskip("ray")
    scratch = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    here = os.environ | {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    elsewhere = {name: value for name, value in here.items() if name not in ("AWS_ENDPOINT_URL", "AWS_REGION")}
    port = free_port()
    head = ["--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false", f"--temp-dir={scratch}"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--node-ip-address=127.0.0.1", *head]
    log = (tmp_path / "ray.log").open("w")
    cluster = subprocess.Popen(command, env=elsewhere, stdout=log, stderr=log)
    try:
        for _ in range(600):
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        script = [sys.executable, "-c", ON_A_CLUSTER, bucket, f"127.0.0.1:{port}"]
        done = subprocess.run(script, env=here, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stderr
    finally:
        cluster.terminate()  # `--block` ends what it started
        cluster.wait(60)
        shutil.rmtree(scratch, ignore_errors=True)
    build(CORPUS, FakeEncoder(), tmp_path / "i", shard_size=4)
    there = EmbeddingStore.open(f"{bucket}/embeddings")
    assert there.manifest.shards == EmbeddingStore.open(tmp_path / "i" / "embeddings").manifest.shards
    manifest = there.place.read("manifest.json").decode()
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in manifest
    assert os.environ["AWS_ENDPOINT_URL"] not in manifest
