"""Embeddings in a folder or on object storage: each file is whole or not there, and one writer is at work."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from debater_search.errors import BusyError, DebaterError, InvalidError, MissingError, UnavailableError
from debater_search.indexing import build, encode_to
from debater_search.search import SearchEngine
from debater_search.store import lease
from debater_search.store.embedding_writer import EmbeddingWriter
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.lease import LEASE_NAME, leasing
from debater_search.store.places import Folder, ObjectStore, Place, _told, place_at
from tests.fakes import FakeEncoder, tiny_corpus

CORPUS = tiny_corpus()


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    place = place_at(f"file://{tmp_path}/bucket/papers")
    assert isinstance(place, ObjectStore)
    place.make()
    return place


@pytest.fixture(params=["folder", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path, store: ObjectStore) -> Place:
    if request.param == "store":
        return store
    (tmp_path / "folder").mkdir()
    return Folder(tmp_path / "folder")


def test_what_is_written_is_read_listed_and_removed(place: Place) -> None:
    with place.writing("a.bin") as file:
        file.write(b"one")
    with place.writing("a.bin") as file:
        file.write(b"two, longer")
    assert place.read("a.bin") == b"two, longer"
    assert place.names() == {"a.bin"}
    with place.reading("a.bin") as opened:
        opened.seek(5)
        assert bytes(opened.read(3)) == b"lon"
    place.remove("a.bin")
    place.remove("a.bin")
    assert place.names() == set()
    with pytest.raises(FileNotFoundError):
        place.read("a.bin")


def test_a_writer_that_fails_leaves_what_was_there(place: Place) -> None:
    with place.writing("a.bin") as file:
        file.write(b"before")

    def fail(name: str) -> None:
        with place.writing(name) as file:
            file.write(b"half of the new")
            raise KeyboardInterrupt

    for name in ("a.bin", "b.bin"):
        with pytest.raises(KeyboardInterrupt):
            fail(name)
    assert place.read("a.bin") == b"before"
    assert place.names() == {"a.bin"}


def test_shards_and_manifest_are_the_same_bytes_in_both(tmp_path: Path, store: ObjectStore) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "i", shard_size=7, all_steps=True)
    done = encode_to(CORPUS, FakeEncoder(), store.uri, shard_size=7, all_steps=True)
    there = store / "embeddings"
    assert done.documents == len(CORPUS)
    assert {name for name in there.names() if name.endswith(".parquet")} == {
        path.name for path in (tmp_path / "i" / "embeddings").glob("*.parquet")
    }
    local, remote = EmbeddingStore.open(tmp_path / "i" / "embeddings"), EmbeddingStore.open(there)
    assert local.manifest.shards == remote.manifest.shards
    np.testing.assert_array_equal(local.vectors(), remote.vectors())
    ((start, rows),) = list(remote.around(np.array([9]), steps=True))
    np.testing.assert_array_equal(rows[9 - start], np.concatenate(list(local.steps()))[9])


@pytest.mark.parametrize("suffix", ["", "/embeddings"])
def test_an_index_is_built_from_shards_on_object_storage(tmp_path: Path, store: ObjectStore, suffix: str) -> None:
    encode_to(CORPUS, FakeEncoder(), store.uri, shard_size=7)
    build(CORPUS, None, tmp_path / "from", embeddings=store.uri + suffix)
    build(CORPUS, FakeEncoder(), tmp_path / "direct", shard_size=7)
    answers = [
        SearchEngine.open(tmp_path / name, encoder=FakeEncoder()).search_batch(["wing", "unique7."], 9)
        for name in ("from", "direct")
    ]
    assert answers[0] == answers[1]
    with pytest.raises(InvalidError, match="another corpus"):
        build(CORPUS[:4], None, tmp_path / "other", embeddings=store.uri)


class DiesAfter(FakeEncoder):
    def __init__(self, shards: int) -> None:
        super().__init__()
        self.left = shards

    def deliberate_windows(self, windows: Any, **options: Any) -> Any:
        for views in super().deliberate_windows(windows, **options):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            yield views


def test_an_interrupted_encoding_resumes_from_notes_and_reads_no_shard(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt):
        encode_to(CORPUS, DiesAfter(2), store.uri, shard_size=7)
    there = store / "embeddings"
    assert LEASE_NAME not in there.names()
    read: list[str] = []
    real = ObjectStore.read
    monkeypatch.setattr(ObjectStore, "read", lambda self, name: (read.append(name), real(self, name))[1])
    encoder = FakeEncoder()
    done = encode_to(CORPUS, encoder, store.uri, shard_size=7)
    assert done.reused >= 7
    assert encoder.encoded == len(CORPUS) - done.reused
    assert not [name for name in read if name.endswith(".parquet")]
    assert not [name for name in there.names() if name.endswith(".done.json")]
    with pytest.raises(InvalidError, match="finished embeddings"):
        encode_to(CORPUS, FakeEncoder(), store.uri, shard_size=7)
    assert encode_to(CORPUS[:9], FakeEncoder(), store.uri, shard_size=7, force=True).documents == 9
    assert len(EmbeddingStore.open(there).ids()) == 9


def test_starting_over_removes_the_manifest_before_the_shards_it_names(store: ObjectStore) -> None:
    encode_to(CORPUS, FakeEncoder(), store.uri, shard_size=7)
    with pytest.raises(KeyboardInterrupt):
        encode_to(CORPUS, DiesAfter(1), store.uri, shard_size=7, force=True)
    with pytest.raises(MissingError, match="unfinished"):
        EmbeddingStore.open(store / "embeddings")
    assert encode_to(CORPUS, FakeEncoder(), store.uri, shard_size=7).documents == len(CORPUS)


def test_workers_without_work_are_told_of(store: ObjectStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    encode_to(CORPUS, FakeEncoder(), store.uri, workers=8)
    assert "1 of 8 workers have work: it is cut into shards of 50,000 documents." in caplog.text


def test_shards_of_another_job_are_not_mixed(store: ObjectStore) -> None:
    with pytest.raises(KeyboardInterrupt):
        encode_to(CORPUS, DiesAfter(1), store.uri, shard_size=7)
    with pytest.raises(InvalidError, match="unfinished work of another command"):
        encode_to(CORPUS, FakeEncoder(), store.uri, shard_size=5)


def test_a_note_that_lies_is_not_believed(store: ObjectStore) -> None:
    writer = EmbeddingWriter(store, 4)
    writer.write(0, ["a", "b"], np.ones((2, 4), np.float32))
    assert EmbeddingWriter(store, 4).find(0, ["a", "b"]) is not None
    assert EmbeddingWriter(store, 4).find(0, ["a", "c"]) is None
    for content in (b"{", b"[]", b'{"file": "x"}', json.dumps({"file": "../x", "rows": 2, "sha256": ""}).encode()):
        with store.writing("shard-00000.done.json") as file:
            file.write(content)
        assert EmbeddingWriter(store, 4).find(0, ["a", "b"]) is None


def test_one_writer_at_a_time(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with leasing(store):
        with pytest.raises(BusyError, match="is being written to by process"), leasing(store):
            pass
        with leasing(store, force=True):
            pass
    assert LEASE_NAME not in store.names()
    found = iter([None, {"id": "another, a moment later"}])
    monkeypatch.setattr(lease, "_held", lambda place: next(found))
    with pytest.raises(BusyError, match="same moment"), leasing(store):
        pass


def test_a_dead_holders_lease_is_taken(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.writing(LEASE_NAME) as file:
        file.write(b'{"id": "x", "holder": "process 1 on a machine"}')
    real = ObjectStore.age
    ages = iter([lease.EXPIRES + 1])
    monkeypatch.setattr(ObjectStore, "age", lambda self, name: next(ages, None) or real(self, name))
    with leasing(store):
        assert json.loads(store.read(LEASE_NAME))["id"] != "x"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://key:secret@bucket/papers", "must not hold credentials"),
        ("s3://bucket/papers?access_key=x", "must not hold credentials"),
        ("ftp://host/papers", "no places of the kind ftp"),
    ],
)
def test_an_address_holds_no_credentials_and_is_of_a_known_kind(address: str, said: str) -> None:
    with pytest.raises(InvalidError, match=said) as caught:
        place_at(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (OSError("AWS Error NO_SUCH_BUCKET during ListObjectsV2"), MissingError, "bucket"),
        (OSError("AWS Error ACCESS_DENIED during PutObject"), InvalidError, "denied"),
        (OSError("AWS Error INVALID_ACCESS_KEY_ID during ListObjectsV2: does not exist"), InvalidError, "denied"),
        (OSError("AWS Error NETWORK_CONNECTION: curlCode: 7, Couldn't connect to server"), UnavailableError, "reached"),
        (OSError("RequestTimeTooSkewed: the difference is too large"), UnavailableError, "clock"),
        (OSError("something else went wrong"), UnavailableError, "something else"),
    ],
)  # fmt: skip
def test_what_a_store_says_is_a_sentence(error: OSError, kind: type[DebaterError], said: str) -> None:
    with pytest.raises(kind, match=said), _told("s3://bucket/papers"):
        raise error


def test_an_index_itself_lies_in_a_folder(store: ObjectStore) -> None:
    with pytest.raises(InvalidError, match="folder of this machine"):
        build(CORPUS, FakeEncoder(), store.uri)
