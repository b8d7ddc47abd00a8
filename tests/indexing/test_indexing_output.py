"""What an index may be written over: new and empty folders, unfinished ones, and with --force finished ones."""

import os
from pathlib import Path
from typing import Any

import pytest

from debater_search import files
from debater_search.errors import DebaterError
from debater_search.indexing import add, build, check_output, compact, delete, verify
from debater_search.search import SearchEngine
from debater_search.types import Document
from tests.fakes import FakeEncoder, Interrupted, tiny_corpus

CORPUS = tiny_corpus()


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_finished_index_is_refused_without_force_and_untouched(tmp_path: Path) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "i")
    before = snapshot(tmp_path / "i")
    with pytest.raises(DebaterError, match=r"holds an index already.*`update`.*`force`"):
        build(CORPUS, FakeEncoder(), tmp_path / "i")
    assert snapshot(tmp_path / "i") == before


def test_force_replaces_a_finished_index(tmp_path: Path) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "i")
    build(tiny_corpus(3), FakeEncoder("other"), tmp_path / "i", force=True)
    engine = SearchEngine.open(tmp_path / "i", encoder=FakeEncoder("other"))
    assert len(engine.search("wing", 99)) == 3
    assert engine.manifest.name == "i"
    assert [path.name for path in tmp_path.iterdir()] == ["i"]


def test_an_index_with_results_beside_it_is_replaced_by_force(tmp_path: Path) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "i")
    (tmp_path / "i" / "results.json").write_text("{}", encoding="utf-8")
    build(tiny_corpus(3), FakeEncoder(), tmp_path / "i", force=True)
    assert len(SearchEngine.open(tmp_path / "i").documents) == 3
    assert not (tmp_path / "i" / "results.json").exists()  # they told of the old index


def test_results_alone_are_not_an_index_to_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DebaterError, match="not empty and not an index"):
        build(CORPUS, FakeEncoder(), tmp_path, force=True)


def test_an_interrupted_force_leaves_the_old_index_and_can_go_on(tmp_path: Path) -> None:
    build(tiny_corpus(3), FakeEncoder(), tmp_path / "i")
    before = snapshot(tmp_path / "i")
    with pytest.raises(KeyboardInterrupt):
        build(CORPUS, Interrupted(20), tmp_path / "i", shard_size=10, force=True)
    assert snapshot(tmp_path / "i") == before
    assert build(CORPUS, FakeEncoder(), tmp_path / "i", shard_size=10, force=True).reused == 20
    assert len(SearchEngine.open(tmp_path / "i").documents) == 25


def test_force_with_a_bad_corpus_leaves_the_old_index(tmp_path: Path) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "i")
    before = snapshot(tmp_path / "i")
    with pytest.raises(DebaterError, match="twice"):
        build([*CORPUS, CORPUS[0]], FakeEncoder(), tmp_path / "i", force=True)
    assert snapshot(tmp_path / "i") == before
    assert [path.name for path in tmp_path.iterdir()] == ["i"]


def test_a_kill_between_the_renames_of_a_swap_is_undone(tmp_path: Path) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "i")
    (tmp_path / "i").rename(tmp_path / ".i.replaced")
    with pytest.raises(DebaterError, match="holds an index already"):
        check_output(tmp_path / "i")
    assert len(SearchEngine.open(tmp_path / "i").documents) == 25


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("inside_an_index", [False, True])
def test_files_that_are_not_ours_are_never_touched(tmp_path: Path, force: bool, inside_an_index: bool) -> None:
    folder = tmp_path / "i"
    if inside_an_index:
        build(CORPUS, FakeEncoder(), folder)
    folder.mkdir(exist_ok=True)
    (folder / "thesis.txt").write_text("years of work", encoding="utf-8")
    before = snapshot(folder)
    with pytest.raises(DebaterError, match="not empty and not an index"):
        build(CORPUS, FakeEncoder(), folder, force=force)
    assert snapshot(folder) == before


def test_a_file_where_the_folder_should_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "i").write_text("a file", encoding="utf-8")
    with pytest.raises(DebaterError, match="cannot be used"):
        build(CORPUS, FakeEncoder(), tmp_path / "i")


def test_an_empty_folder_counts_as_new_and_a_failure_leaves_it_empty(tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    with pytest.raises(DebaterError, match="empty"):
        build([], FakeEncoder(), tmp_path / "i")
    assert list((tmp_path / "i").iterdir()) == []
    build(CORPUS, FakeEncoder(), tmp_path / "i")


def test_a_failure_before_anything_is_kept_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match="empty"):
        build([], FakeEncoder(), tmp_path / "i")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_to_is_found_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(DebaterError, match="may not be written to"):
        check_output(tmp_path / "i")


class Stopped(BaseException):
    """As Ctrl-C, at a chosen place."""


def stop_at(monkeypatch: pytest.MonkeyPatch, place: str, name: str) -> None:
    """Stop when the file of this name is about to be synced, or to get its name."""

    def stopping(plain: Any) -> Any:
        def stop(path: Path, *arguments: Any) -> Any:
            if path.name == name:
                raise Stopped
            return plain(path, *arguments)

        return stop

    if place == "sync":
        monkeypatch.setattr(files, "fsync", stopping(files.fsync))
    else:
        monkeypatch.setattr(Path, "replace", stopping(Path.replace))


@pytest.mark.parametrize("killed", [False, True], ids=["interrupted", "killed"])
@pytest.mark.parametrize("place", ["sync", "rename"])
@pytest.mark.parametrize(
    "name", ["documents.sqlite.tmp", "job.json.tmp", "shard-00000.parquet.tmp", "manifest.json.tmp"]
)
@pytest.mark.parametrize("force", [False, True])
def test_the_same_call_resumes_wherever_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: str, force: bool, killed: bool
) -> None:
    def work() -> None:
        build(CORPUS, FakeEncoder(), tmp_path / "i", shard_size=10, force=force)

    if force:
        build(tiny_corpus(3), FakeEncoder("old"), tmp_path / "i")
    with monkeypatch.context() as patch:
        stop_at(patch, place, name)
        if killed:  # a killed process removes no temporary file
            patch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
        with pytest.raises(Stopped):
            work()
    work()
    assert len(SearchEngine.open(tmp_path / "i", encoder=FakeEncoder()).search("wing", 99)) == 25
    assert list(tmp_path.rglob("*.tmp")) == []
    assert [path.name for path in tmp_path.iterdir()] == ["i"]


@pytest.mark.parametrize("names", [["thesis.parquet"], ["job.json"], ["shard-00000.parquet"]])
def test_a_folder_of_somebody_elses_embeddings_is_never_touched(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "i" / "embeddings").mkdir(parents=True)
    for name in names:
        (tmp_path / "i" / "embeddings" / name).write_text("years of work", encoding="utf-8")
    before = snapshot(tmp_path)
    for force in (False, True):
        with pytest.raises(DebaterError, match="not empty and not an index"):
            build(CORPUS, FakeEncoder(), tmp_path / "i", force=force)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("name", ["papers:v2", "~", "a b", "#1?", "caf\udce9", "line\nend"])
@pytest.mark.parametrize("type", ["flat", "hnsw", "sq8"])
def test_an_index_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, type: str) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("debater_search.indexing.verification.load_again", lambda *_, **__: FakeEncoder())
    build(CORPUS, FakeEncoder(), Path(name), type=type)
    add(name, [Document("new", "a new wing")], encoder=FakeEncoder())
    engine = SearchEngine.open(name, encoder=FakeEncoder())
    assert engine.search("new wing", 1)[0].id == "new"
    delete(name, ["d3"])
    compact(name)
    assert len(engine.search("new wing", 99, explain=True)) == len(CORPUS)
    vectors = max(Path(name).glob("vectors*/index.faiss"))  # of the newest base
    vectors.write_bytes(vectors.read_bytes()[:-1])
    assert verify(name, repair=True).repaired
    assert verify(name).sound
    build(CORPUS, FakeEncoder(), Path(name), type=type, force=True)
    engine.close()
    assert [os.fsencode(path.name) for path in tmp_path.iterdir()] == [os.fsencode(name)]
