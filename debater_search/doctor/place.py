"""The folder of indexes: locks, renames, fsync and SQLite's log work there; what killed commands left there."""

import fcntl
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from debater_search.doctor.finding import Asked, Facts, Finding, note, ok, problem, shown
from debater_search.terminal import age_in_words, size_in_words

_LITTLE_ROOM = 10**9
_SLOW_FSYNC = 0.2  # seconds
_LOCAL_DISK = "Keep indexes on a local disk, whose file system has locks."
_ROLES = {
    "building": "a new index that `debater index --force` has not finished",
    "replaced": "an old index that a killed `debater index --force` did not put back or remove",
}


def gather(asked: Asked) -> Iterator[Facts]:
    """Room, what the file system can do, and what lies around."""
    place = asked.place
    yield {"place": shown(place), "free": shutil.disk_usage(place).free, "writable": os.access(place, os.W_OK)}
    yield {"left": list(_left(place))}
    if os.access(place, os.W_OK):
        with tempfile.TemporaryDirectory(prefix=".debater-doctor-", dir=place) as folder:
            yield {"failed": [name for name, works in _ABILITIES.items() if not works(Path(folder))]}
            yield {"fsync": _fsync_seconds(Path(folder))}


def judge(facts: Facts, _: Asked) -> Iterator[Finding]:
    """A file system that indexes cannot live on, a full disk, and folders to remove."""
    if "place" not in facts:
        return
    place = facts["place"]
    said = f"{place} has {size_in_words(facts['free'])} free"
    if not facts["writable"]:
        yield note("folder", f"{place} may not be written to: searches work, changes do not.", f"ls -ld {place}")
    elif facts.get("failed"):
        yield problem("folder", f"The file system of {place} fails at: {', '.join(facts['failed'])}.", _LOCAL_DISK)
    elif facts["free"] < _LITTLE_ROOM:
        yield problem("folder", said + ".", f"df -h {place}")
    elif facts.get("fsync", 0) > _SLOW_FSYNC:
        yield note("folder", f"{said}; a write takes {facts['fsync']:.1f} s to reach the disk.", _LOCAL_DISK)
    elif "fsync" in facts:
        yield ok("folder", f"{said}; locks, renames and fsync work")
    for left in facts.get("left", []):
        yield _judge_left(left)


def _judge_left(left: Facts) -> Finding:
    untouched = age_in_words(left["seconds"]) or "less than a minute"
    path, age = left["path"], f"{size_in_words(left['bytes'])}, untouched for {untouched}"
    if left["busy"]:
        return ok("folder", f"a command is at work on {path}")
    if left["role"] == "unfinished":
        return note("folder", f"{path} is an unfinished index ({age}).",
                    f"Run its `debater index` command again, which resumes; or: rm -r {path}")  # fmt: skip
    return note("folder", f"{path} is {_ROLES[left['role']]} ({age}).",
                f"Run that command again; or: rm -r {path}")  # fmt: skip


def _left(place: Path) -> Iterator[Facts]:
    """Unfinished indexes, and what stands beside an index while it is replaced."""
    from debater_search.locks import LOCK_NAME
    from debater_search.store.manifest import DOCUMENTS_NAME, EMBEDDINGS_NAME, MANIFEST_NAME

    for path in sorted(place.iterdir()):
        name, dot, role = path.name[1:].rpartition(".")
        if path.is_symlink() or not path.is_dir():
            continue
        if path.name.startswith(".") and dot and role in _ROLES:
            owner = place / name
        elif not (path / MANIFEST_NAME).exists() and (
            (path / EMBEDDINGS_NAME / "job.json").exists() or (path / DOCUMENTS_NAME).exists()
        ):
            owner, role = path, "unfinished"
        else:
            continue
        files = [file.lstat() for file in path.rglob("*") if file.is_file()]
        touched = max((file.st_mtime for file in files), default=path.lstat().st_mtime)
        yield {
            "path": shown(path),
            "role": role,
            "bytes": sum(file.st_size for file in files),
            "seconds": max(0.0, time.time() - touched),
            "busy": _is_locked(owner / LOCK_NAME),
        }


def _is_locked(lock: Path) -> bool:
    with suppress(OSError):
        descriptor = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


def _locks(folder: Path) -> bool:
    """Whether a lock that is held is refused to another."""
    path = folder / "lock"
    first, second = (os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(2))
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
    except OSError:
        return False
    finally:
        os.close(first)
        os.close(second)


def _renames(folder: Path) -> bool:
    """Whether a file takes the place of another, and a folder gets another name."""
    try:
        (folder / "old").write_text("old")
        (folder / "new").write_text("new")
        (folder / "new").replace(folder / "old")
        (folder / "one").mkdir()
        (folder / "one").rename(folder / "two")
        return (folder / "old").read_text() == "new" and (folder / "two").is_dir()
    except OSError:
        return False


def _syncs(folder: Path) -> bool:
    """Whether files and folders can be forced to the disk."""
    try:
        for path in (folder / "file", folder):
            if path != folder:
                path.write_text("written")
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError:
        return False
    return True


def _logs(folder: Path) -> bool:
    """Whether SQLite can write ahead, which needs memory that processes share."""
    try:
        with closing(sqlite3.connect(folder / "log.sqlite")) as writer:
            (mode,) = writer.execute("PRAGMA journal_mode = wal").fetchone()
            writer.execute("CREATE TABLE numbers AS SELECT 1 AS number")
            writer.commit()
            with closing(sqlite3.connect(folder / "log.sqlite")) as reader:
                return mode == "wal" and reader.execute("SELECT number FROM numbers").fetchall() == [(1,)]
    except sqlite3.Error:
        return False


_ABILITIES: dict[str, Callable[[Path], bool]] = {
    "locks": _locks,
    "renames": _renames,
    "fsync": _syncs,
    "SQLite's write-ahead log": _logs,
}


def _fsync_seconds(folder: Path) -> float:
    start = time.perf_counter()
    _syncs(folder)
    return time.perf_counter() - start
