"""One writer at a time for a folder: a lock of the operating system, which dies with its process."""

import errno
import fcntl
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from debater_search.errors import DebaterError

LOCK_NAME = "writer.lock"
_MAX_HOLDER = 10_000  # bytes that are read of what a holder says of itself


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Be the only writer of an existing folder while the block runs, also when the folder is renamed meanwhile.

    Raises:
        DebaterError: another writer is at work (says which), or the folder may not be written to.

    """
    with _opened(folder) as directory:
        descriptor = _acquire(folder, directory)
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(_myself()).encode())
            yield
        finally:
            with suppress(FileNotFoundError):
                os.unlink(LOCK_NAME, dir_fd=directory)  # before the lock is free: what is unlinked is surely ours
            os.close(descriptor)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield directory
    finally:
        os.close(directory)


def _acquire(folder: Path, directory: int) -> int:
    while True:
        try:
            descriptor = os.open(LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644, dir_fd=directory)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise DebaterError(f"{folder} may not be written to by this user.", "Check its permissions.") from None
            raise
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_current(descriptor, directory):
                return descriptor
        except BlockingIOError:
            raise DebaterError(
                f"{folder} is being written to by {_holder(descriptor)}.", "Wait for its end and run this again."
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_current(descriptor: int, directory: int) -> bool:
    """Whether the file that was locked still has its name: its last holder may have removed it since we opened it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(LOCK_NAME, dir_fd=directory))
    except FileNotFoundError:
        return False


def _myself() -> dict[str, object]:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return {"pid": os.getpid(), "since": datetime.now().strftime("%Y-%m-%d %H:%M:%S"), "command": command[:1000]}


def _holder(descriptor: int) -> str:
    """What the holder wrote of itself; closes the file."""
    with os.fdopen(descriptor, "rb") as file:
        text = file.read(_MAX_HOLDER)
    try:
        said = json.loads(text)
        return f"process {int(said['pid'])} since {said['since']} ({said['command']})"
    except (ValueError, KeyError, TypeError):  # it has the lock and has not written yet
        return "another process"
