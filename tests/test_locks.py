"""One writer at a time; a second is told who is at work."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import pytest

from debater_search.errors import BusyError, DebaterError
from debater_search.indexing import add, build, compact, delete, update, verify
from debater_search.indexing.output import check_output
from debater_search.locks import LOCK_NAME, writing
from debater_search.search import SearchEngine
from tests.fakes import FakeEncoder, tiny_corpus

CORPUS = tiny_corpus(5)
ROOT = Path(__file__).parents[1]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return build(CORPUS, FakeEncoder(), tmp_path / "i").folder


@pytest.fixture
def holder(index: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that writes to the index until it is killed."""
    script = (
        "import pathlib, sys\n"
        "from debater_search.locks import writing\n"
        "with writing(pathlib.Path(sys.argv[1])):\n"
        "    print('locked', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(index)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


WRITERS: dict[str, Callable[[Path], object]] = {
    "add": lambda index: add(index, CORPUS[:1]),
    "update": lambda index: update(index, CORPUS[:1]),
    "delete": lambda index: delete(index, ["d0"]),
    "compact": compact,
    "repair": lambda index: verify(index, repair=True),
    "index --force": lambda index: build(CORPUS, FakeEncoder(), index, force=True),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_second_writer_is_told_who_is_at_work(index: Path, holder: subprocess.Popen[str], name: str) -> None:
    with pytest.raises(
        DebaterError, match=rf"i is being written to by process {holder.pid} since 20.* \(.*{index}.*\)"
    ):
        WRITERS[name](index)
    engine = SearchEngine.open(index, encoder=FakeEncoder())
    assert len(engine.search("wing")) == 5
    assert verify(index).sound


def test_a_lock_dies_with_its_process(index: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (index / LOCK_NAME).exists()
    assert delete(index, ["d0"]).deleted == 1
    assert not (index / LOCK_NAME).exists()


def test_two_builds_of_one_folder_do_not_mix(tmp_path: Path) -> None:
    class Second(FakeEncoder):
        def deliberate(self, *arguments: object, **settings: object) -> None:  # type: ignore[override]
            for force in (False, True):
                with pytest.raises(DebaterError, match="being written to"):
                    build(CORPUS[:2], FakeEncoder(), tmp_path / "i", force=force)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(CORPUS, Second(), tmp_path / "i")
    assert build(CORPUS, FakeEncoder(), tmp_path / "i").documents == 5


def test_what_a_lock_file_says_is_not_believed(index: Path) -> None:
    for text in ("", "[]", '{"pid": "x"}', '{"pid": 1}', "\xff{"):
        with writing(index):
            (index / LOCK_NAME).write_text(text, encoding="latin-1")
            with pytest.raises(DebaterError, match="by another process"):
                delete(index, ["d0"])


def test_a_writer_waits_no_longer_than_it_is_told(index: Path, holder: subprocess.Popen[str]) -> None:
    for change in (delete, add):
        with pytest.raises(BusyError) as raised:
            change(index, ["d0"] if change is delete else CORPUS[:1], wait=0.05)  # type: ignore[operator]
        assert str(holder.pid) in raised.value.message
        assert raised.value.hint == "It did not end within 0.05 seconds."


def test_a_writer_that_waits_goes_on_in_the_folder_that_took_the_place(
    index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = build(CORPUS[:3], FakeEncoder(), tmp_path / "other").folder

    def swap() -> None:
        while not caplog.messages:
            time.sleep(0.01)
        index.rename(tmp_path / "old")
        other.rename(index)
        held.close()

    with ExitStack() as held, caplog.at_level("INFO", "debater_search.locks"):
        held.enter_context(writing(index))
        swapping = Thread(target=swap)
        swapping.start()
        assert delete(index, ["d0"], wait=10).documents == 2
        swapping.join()
    assert "Waiting: " in caplog.messages[0]
    assert not (index / LOCK_NAME).exists()
    assert len(SearchEngine.open(tmp_path / "old", encoder=FakeEncoder()).search("wing")) == 5


def test_an_index_behind_a_link_is_changed(index: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(index)
    assert delete(tmp_path / "link", ["d0"]).deleted == 1


def test_a_folder_that_is_renamed_keeps_its_lock(index: Path, tmp_path: Path) -> None:
    with writing(index):
        index.rename(tmp_path / "j")
        with pytest.raises(DebaterError, match="being written to"):
            delete(tmp_path / "j", ["d0"])
    assert delete(tmp_path / "j", ["d0"]).deleted == 1
    assert not (tmp_path / "j" / LOCK_NAME).exists()


def test_a_swap_at_work_is_not_undone(index: Path, tmp_path: Path) -> None:
    with writing(index):
        index.rename(tmp_path / ".i.replaced")
        with pytest.raises(DebaterError, match="being written to"):
            check_output(index)
    with pytest.raises(DebaterError, match="holds an index already"):
        check_output(index)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i"]
    assert LOCK_NAME not in os.listdir(index)


def test_a_link_in_the_place_of_the_lock_is_not_followed(index: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("years of work", encoding="utf-8")
    (index / LOCK_NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(DebaterError, match="is a link"):
        delete(index, ["d0"])
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "years of work"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_index_is_searched_and_refused_to_writers(index: Path) -> None:
    index.chmod(0o555)
    try:
        for name in ("add", "update", "delete", "compact"):
            with pytest.raises(DebaterError, match="may not be written to"):
                WRITERS[name](index)
        assert SearchEngine.open(index, encoder=FakeEncoder()).search("wing")
    finally:
        index.chmod(0o755)


def test_a_folder_that_does_not_let_itself_be_written_is_a_sentence(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def refuse(path: object, *arguments: object, **settings: object) -> int:
        if path == LOCK_NAME:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, *arguments, **settings)  # type: ignore[call-overload, no-any-return]

    real = os.open
    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(DebaterError, match="may not be written to"):
        delete(index, ["d0"])


def test_a_lock_file_that_its_holder_removed_while_we_opened_it_locks_nothing(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    others: list[int] = []

    def flock(descriptor: int, operation: int) -> None:
        if not others:  # the last holder leaves, and another writer comes, before we lock what we opened
            (index / LOCK_NAME).unlink()
            others.append(os.open(index / LOCK_NAME, os.O_RDWR | os.O_CREAT))
            real(others[0], operation)
        real(descriptor, operation)

    real = fcntl.flock
    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(DebaterError, match="being written to"):
        delete(index, ["d0"])
    os.close(others[0])
