"""Milvus keeps the vectors of a whole index (milvus-lite stands in), whatever happens to a writer."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from debater_search.errors import BusyError, DebaterError, InvalidError, MissingError, UnavailableError
from debater_search.evaluation import evaluate
from debater_search.indexing import add, build, compact, delete, drop, update, verify
from debater_search.store.folders import open_manifest
from debater_search.vectors import VectorSettings, backend
from debater_search.vectors.milvus.client import connect, place_of
from debater_search.vectors.milvus.collection import Collection
from tests.evaluation.flight import write_task
from tests.fakes import FakeEncoder, tiny_corpus
from tests.indexing.changed_index import FLUTTER, QUERIES, changed, opened

pytest.importorskip("milvus_lite")
CORPUS = tiny_corpus()


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("milvus") / "papers.db")


@pytest.fixture
def index(tmp_path: Path, uri: str) -> Path:
    return build(CORPUS, FakeEncoder(), tmp_path / "i", backend="milvus", uri=uri, shard_size=10).folder


def collections(uri: str, folder: Path) -> list[str]:
    return [name for name in connect(uri).list_collections() if name.startswith(f"debater_{folder.name}_")]


def collection_of(index: Path) -> Collection:
    state = open_manifest(index).vectors.state
    return Collection(state["uri"], state["collection"])


def same_answers(folder: Path, other: Path) -> None:
    ours, theirs = opened(folder), opened(other)
    for where in (None, "year >= 5 and year != 12"):
        for query, ranking in theirs.search_batch(QUERIES, 7, where=where).items():
            found = ours.search_batch(QUERIES, 7, where=where)[query]
            assert list(found) == list(ranking)
            assert list(found.values()) == pytest.approx(list(ranking.values()), abs=1e-5)


@pytest.mark.parametrize("passages", [None, 24])
def test_a_whole_index_lives_on_milvus_from_build_to_drop(tmp_path: Path, uri: str, passages: int | None) -> None:
    folders = [tmp_path / f"milvus{passages}", tmp_path / "faiss"]
    cut = {"shard_size": 10, "passages": passages, "overlap": 2}
    build(CORPUS, FakeEncoder(), folders[0], backend="milvus", uri=uri, **cut)
    build(CORPUS, FakeEncoder(), folders[1], **cut)
    same_answers(*folders)
    for change in (
        lambda folder: add(folder, [FLUTTER, changed("d7")], encoder=FakeEncoder()),
        lambda folder: delete(folder, ["d3", "d4"]),
        compact,
        lambda folder: update(folder, [*CORPUS[:20], FLUTTER], encoder=FakeEncoder()),
    ):
        for folder in folders:
            change(folder)
            assert verify(folder).sound
        same_answers(*folders)
    assert len(collections(uri, folders[0])) == 1  # the one that was compacted away is gone
    drop(folders[0])
    assert collections(uri, folders[0]) == []
    assert not folders[0].exists()


def test_an_evaluation_of_its_engine_gives_the_figures_of_faiss(tmp_path: Path, uri: str) -> None:
    task = write_task(tmp_path / "flight")
    build(task, FakeEncoder(), tmp_path / "milvus", backend="milvus", uri=uri)
    build(task, FakeEncoder(), tmp_path / "faiss")
    results = [evaluate(task, opened(tmp_path / name)) for name in ("milvus", "faiss")]
    assert results[0].metrics == results[1].metrics
    assert results[0].metrics


def test_a_new_index_in_its_place_takes_the_old_collection_away(index: Path, uri: str) -> None:
    before = collection_of(index)
    build(CORPUS[:5], FakeEncoder(), index, backend="milvus", uri=uri, force=True)
    assert collection_of(index).rows() == 5
    assert before.rows() is None


KILL = """
import os, signal, sys
from pathlib import Path
import debater_search.indexing.{module} as module
from debater_search.indexing import add, compact, delete
from tests.fakes import FakeEncoder
from tests.indexing.changed_index import FLUTTER
module.{step} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
{call}
"""


@pytest.mark.parametrize(
    ("module", "step", "call"),
    [
        ("change", "write_manifest", "add(Path(sys.argv[1]), [FLUTTER], encoder=FakeEncoder())"),
        ("compaction", "write_manifest", "compact(Path(sys.argv[1]))"),
        # the manifest of the compaction is there; the old collection still is too, and then is not
        ("change", "remove_superseded", "compact(Path(sys.argv[1])); delete(Path(sys.argv[1]), ['d2'])"),
        ("change", "write_manifest", "compact(Path(sys.argv[1])); delete(Path(sys.argv[1]), ['d2'])"),
    ],
    ids=["add before its manifest", "compact before its manifest", "before the sweep", "after the sweep"],
)
def test_a_writer_killed_before_its_commit_leaves_the_index_as_it_was(
    tmp_path: Path, module: str, step: str, call: str
) -> None:
    uri = str(tmp_path / "own.db")  # milvus-lite gives a file to one process at a time
    script = f"""
from pathlib import Path
import sys
from debater_search.indexing import build, delete
from tests.fakes import FakeEncoder, tiny_corpus
build(tiny_corpus(), FakeEncoder(), Path(sys.argv[1]), backend="milvus", uri={uri!r}, shard_size=10)
delete(Path(sys.argv[1]), ["d1"])
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    killed = script + KILL.format(module=module, step=step, call=call)
    done = subprocess.run([sys.executable, "-c", killed, str(tmp_path / "i")], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    index = tmp_path / "i"
    reference = build([d for d in CORPUS if d.id != "d1"], FakeEncoder(), tmp_path / "reference").folder
    same_answers(index, reference)  # surplus rows are there, and nobody finds them
    assert verify(index).sound
    add(index, [FLUTTER], encoder=FakeEncoder())
    add(reference, [FLUTTER], encoder=FakeEncoder())
    same_answers(index, reference)
    compact(index)
    delete(index, ["d2"])  # the writer after a compaction removes what it replaced
    assert len(collections(uri, index)) == 1


def test_a_reader_goes_on_across_a_compaction(index: Path) -> None:
    reader = opened(index)
    before = reader.search_batch(QUERIES, 5)
    delete(index, ["d0"])
    compact(index)
    delete(index, ["d1"])
    after = reader.search_batch(QUERIES, 5)
    assert set(after) == set(before)
    assert not {"d0", "d1"} & {id for ranking in after.values() for id in ranking}


def test_a_collection_that_lost_rows_or_vectors_is_named_and_repaired(index: Path) -> None:
    before = opened(index).search_batch(QUERIES, 100)
    place = collection_of(index)
    place.put(20, [np.ones((len(CORPUS) - 20, FakeEncoder().dim), np.float32) / 100])
    assert not verify(index).sound
    assert verify(index, repair=True).sound
    assert opened(index).search_batch(QUERIES, 100) == before
    collection_of(index).drop()
    assert verify(index).damaged == [collection_of(index).name]
    with pytest.raises(DebaterError, match="is gone from"):
        opened(index).search("wing")
    assert verify(index, repair=True).sound
    assert opened(index).search_batch(QUERIES, 100) == before


def test_no_password_reaches_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="must not hold a password"):
        build(CORPUS, FakeEncoder(), tmp_path / "i", backend="milvus", uri="http://root:secret@localhost:19530")
    assert not (tmp_path / "i").exists()


@pytest.mark.parametrize(
    ("uri", "kind", "message"),
    [
        (None, InvalidError, "needs an address"),
        ("papers", InvalidError, "not an address"),
        ("http://127.0.0.1:9", UnavailableError, "does not answer"),
        ("/nowhere/at/all/papers.db", MissingError, "does not exist"),
    ],
)
def test_an_address_that_leads_nowhere_is_told_before_anything_is_encoded(
    tmp_path: Path, uri: str | None, kind: type[DebaterError], message: str
) -> None:
    encoder = FakeEncoder()
    with pytest.raises(kind, match=message):
        build(CORPUS, encoder, tmp_path / "i", backend="milvus", uri=uri)
    assert encoder.encoded == 0


HOLD = """
import sys
from debater_search.vectors import VectorSettings, backend
from debater_search.vectors.milvus.client import connect
connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def test_a_file_that_another_process_uses_is_told_of(tmp_path: Path) -> None:
    uri = str(tmp_path / "taken.db")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", HOLD, uri]
    with subprocess.Popen(command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        encoder = FakeEncoder()
        with pytest.raises(BusyError, match="one process at a time"):
            build(CORPUS, encoder, tmp_path / "i", backend="milvus", uri=uri)
        assert encoder.encoded == 0
        other.communicate("")
    build(CORPUS, encoder, tmp_path / "i", backend="milvus", uri=uri)


@pytest.mark.slow
def test_more_dropped_vectors_than_milvus_gives_hits_are_looked_past(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((36_000, 4)).astype(np.float32)
    query = rows[:1]
    nearest = np.argsort(-(rows @ query[0]), kind="stable")
    keeper = backend("milvus")
    settings = VectorSettings("flat", uri=str(tmp_path / "own.db"))
    record = keeper.build(tmp_path, np.array_split(rows, 4), 4, settings, 0)
    record = keeper.drop(tmp_path, record, np.sort(nearest[:17_000]), 1)
    index = keeper.open(tmp_path, record)
    assert len(index) == 19_000
    np.testing.assert_array_equal(index.search(query, 10)[1][0], nearest[17_000:17_010])
    np.testing.assert_array_equal(np.sort(index.search(query, 36_000)[1][0]), np.sort(nearest[17_000:]))


def test_types_that_milvus_does_not_have_are_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(InvalidError, match="no index type 'sq8'"):
        build(CORPUS, FakeEncoder(), tmp_path / "i", backend="milvus", uri=uri, type="sq8")
    with pytest.raises(InvalidError, match="Leave `uri` out") as caught:
        build(CORPUS, FakeEncoder(), tmp_path / "i", uri=uri)
    assert caught.value.kind == "invalid"


def test_an_approximate_type_is_tuned_and_says_its_recall(tmp_path: Path, uri: str) -> None:
    corpus = tiny_corpus() * 1
    folder = build(corpus, FakeEncoder(), tmp_path / "h", backend="milvus", uri=uri, type="hnsw").folder
    record = open_manifest(folder).vectors
    assert record.type == "hnsw"
    assert record.state["recall"]["10"] >= 0.95
    assert opened(folder).search("unique7.", 1)[0].id == "d7"


def test_only_an_index_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("kept")
    with pytest.raises(InvalidError, match="not an index"):
        drop(tmp_path / "notes")
    assert (tmp_path / "notes" / "a.txt").exists()
    with pytest.raises(MissingError):
        drop(tmp_path / "nowhere")
    lexical = build(CORPUS, None, tmp_path / "words").folder
    drop(lexical)
    assert not lexical.exists()


def test_addresses_are_kept_as_they_will_be_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of("papers.db") == str(tmp_path / "papers.db")
    assert place_of("https://milvus.example:19530") == "https://milvus.example:19530"
