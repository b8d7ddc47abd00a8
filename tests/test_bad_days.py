"""Full disks, damaged files and read-only folders: nothing that was computed is lost, nothing wrong is served."""

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from debater_search.errors import DebaterError
from debater_search.indexing import add, build, delete, verify
from debater_search.search import MODES, SearchEngine
from tests.fakes import FakeEncoder, tiny_corpus

CORPUS = tiny_corpus(300)
DIM = 512
QUERIES = ["number 7 unique7. title", "the wing", "unique203."]

# A process in which no file can grow beyond a limit: what a disk quota does, and what a full disk looks like.
BUILD = """
import json, resource, sys

sys.path.insert(0, sys.argv[1])
from tests.fakes import FakeEncoder, tiny_corpus

from debater_search.cli.errors import explain
from debater_search.indexing import build

settings = json.loads(sys.argv[4])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    build(tiny_corpus(300), FakeEncoder(dim=512), sys.argv[2], **settings)
except Exception as error:
    sys.exit(explain(error))
"""

VECTORS = 300 * DIM * 4  # bytes
STAGES = {
    "documents": (30_000, {"shard_size": 50}),
    "shards": (VECTORS, {"shard_size": 200, "all_steps": True}),
    "floats of a flat index": (VECTORS - 1, {"shard_size": 20}),
    "floats beside an index": (VECTORS - 1, {"shard_size": 20, "type": "sq8"}),
    "a graph": (VECTORS + 20_000, {"shard_size": 20, "type": "hnsw"}),
}


def limited(folder: Path, limit: int, settings: dict) -> subprocess.CompletedProcess[str]:
    import json

    root = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", BUILD, root, str(folder), str(limit), json.dumps(settings)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def answers(index: Path) -> list[object]:
    engine = SearchEngine.open(index, encoder=FakeEncoder(dim=DIM))
    found = [engine.search_batch(QUERIES, 300, mode=mode) for mode in MODES]
    engine.close()
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_is_a_sentence_and_the_rerun_keeps_what_was_encoded(stage: str, tmp_path: Path) -> None:
    limit, settings = STAGES[stage]
    failed = limited(tmp_path / "i", limit, settings)
    assert failed.returncode in (1, 2)
    assert "Traceback" not in failed.stderr
    assert failed.stderr.startswith("Error: ")
    with pytest.raises(DebaterError):
        SearchEngine.open(tmp_path / "i")  # it is no index before it is whole
    assert not list((tmp_path / "i").rglob("*.tmp*") if (tmp_path / "i").exists() else [])
    written = len(list((tmp_path / "i").glob("embeddings/shard-*.parquet")))
    encoder = FakeEncoder(dim=DIM)
    again = build(CORPUS, encoder, tmp_path / "i", **settings)
    assert again.reused == written * settings["shard_size"] == 300 - encoder.encoded
    assert again.reused == (0 if stage in ("documents", "shards") else 300)
    build(CORPUS, FakeEncoder(dim=DIM), tmp_path / "undisturbed", **settings)
    assert verify(tmp_path / "i").sound
    assert answers(tmp_path / "i") == answers(tmp_path / "undisturbed")


@pytest.mark.slow
@pytest.mark.parametrize("type", ["flat", "hnsw", "ivf", "binary"])
def test_a_disk_that_is_full_again_and_again_never_costs_what_was_encoded(type: str, tmp_path: Path) -> None:
    settings = {"shard_size": 20, "type": type}
    written = 0
    for limit in range(20_000, 1_000_000, 40_000):
        ended = limited(tmp_path / "i", limit, settings)
        assert ended.returncode in (0, 1, 2)
        assert "Traceback" not in ended.stderr
        before, written = written, len(list((tmp_path / "i").glob("embeddings/shard-*.parquet")))
        assert written >= before
        if ended.returncode == 0:
            break
    else:
        build(CORPUS, FakeEncoder(dim=DIM), tmp_path / "i", **settings)
    assert verify(tmp_path / "i").sound


# Damage


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return build(CORPUS[:40], FakeEncoder(), tmp_path / "i", shard_size=20, all_steps=True).folder


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, Path.unlink])
def test_nothing_is_read_from_a_damaged_shard_and_the_rest_goes_on(index: Path, damage: Callable[[Path], None]) -> None:
    opened_before = SearchEngine.open(index, encoder=FakeEncoder())
    expected = opened_before.search_batch(QUERIES, 40)
    damage(index / "embeddings" / "shard-00001.parquet")
    for engine in (opened_before, SearchEngine.open(index, encoder=FakeEncoder())):
        assert engine.search_batch(QUERIES, 40) == expected  # the vector index is whole
        for use in (
            lambda: engine.search("wing", 40, rescore="max"),  # noqa: B023
            lambda: engine.search("wing", 40, explain=True),  # noqa: B023
            lambda: engine.more_like("d30"),  # noqa: B023
        ):
            with pytest.raises(DebaterError, match=r"shard-00001\.parquet"):
                use()
    with pytest.raises(DebaterError, match=r"shard-00001\.parquet"):
        build(CORPUS[:40], FakeEncoder(), index.parent / "other", embeddings=index)


def test_an_id_that_comes_twice_in_files_read_as_one_is_refused_naming_both_lines(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, ids in (("one", "ab"), ("two", "cb")):
        (tmp_path / f"{name}.jsonl").write_text("".join(f'{{"id": "{id}", "text": "x"}}\n' for id in ids))
    files = [str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl")]
    script = textwrap.dedent("""
        import sys
        from debater_search.indexing import build
        build("-", None, sys.argv[1])
    """)
    with subprocess.Popen(["cat", *files], stdout=subprocess.PIPE) as cat:
        ended = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "i")], stdin=cat.stdout, capture_output=True, text=True
        )
    assert "standard input, line 4: the id 'b' stands in line 2 already" in ended.stderr
    assert not (tmp_path / "i").exists()


# A folder that nobody may write to


@contextmanager
def nobody() -> Iterator[None]:
    """Root may write everywhere: be a user that may not, for as long as it takes."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_index_is_searched_in_every_way_and_not_changed() -> None:
    place = Path(tempfile.mkdtemp(prefix="debater-read-only-"))  # pytest's own folders are closed to others
    try:
        build(CORPUS[:40], FakeEncoder(), place / "i", shard_size=20, all_steps=True)
        add(place / "i", tiny_corpus(41)[-1:], encoder=FakeEncoder())
        paths = [place, *place.rglob("*")]
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = {path: path.stat().st_mtime_ns for path in paths}
        with nobody():
            engine = SearchEngine.open(place / "i", encoder=FakeEncoder())
            assert all(engine.search("wing", 50, mode=mode, where="year < 40") for mode in MODES)
            assert len(engine.search("wing", 50, rescore="max", explain=True)) == 41
            assert engine.more_like("d3")
            assert verify(place / "i").sound
            for change in (
                lambda: delete(place / "i", ["d3"]),
                lambda: build(CORPUS, FakeEncoder(), place / "i", force=True),
            ):
                with pytest.raises(DebaterError, match="may not be written to"):
                    change()
            engine.close()
        assert {path: path.stat().st_mtime_ns for path in [place, *place.rglob("*")]} == before
    finally:
        for path in [place, *place.rglob("*")]:
            path.chmod(0o755)
        shutil.rmtree(place)


# What is enormous


@pytest.mark.slow
def test_a_line_of_a_gigabyte_is_cut_and_counted_and_its_neighbours_are_found(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    with path.open("wb") as file:
        file.write(b'{"id": "before", "text": "flutter of wings"}\n{"id": "huge", "text": "boundary ')
        piece = b"layer " * (10**7 // 6)
        for _ in range(100):
            file.write(piece)
        file.write(b'"}\n{"id": "after", "text": "heat transfer"}\n')
    assert path.stat().st_size > 0.99e9
    script = textwrap.dedent("""
        import resource, sys
        from debater_search.indexing import build
        print(*build(sys.argv[1], None, sys.argv[2]).warnings)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    """)
    command = [sys.executable, "-c", script, str(path), str(tmp_path / "i")]
    warnings, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    print(warnings, peak, "MB")
    assert "1" in warnings
    engine = SearchEngine.open(tmp_path / "i")
    for query, id in (("flutter", "before"), ("boundary", "huge"), ("heat", "after")):
        assert [hit.id for hit in engine.search(query, mode="lexical")] == [id]
    assert np.all([len(document.text) <= 1_000_000 for document in engine.documents])
