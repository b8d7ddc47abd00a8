"""Locks of the operating system, which die with their process: one writer a folder, one process at a time on a file.

A lock's file is never followed if it is a link, and never emptied before it is locked: a folder may be a stranger's.
"""

import errno
import fcntl
import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from numbers import Real
from pathlib import Path
from reprlib import repr as short

from debater_search.errors import BusyError, InvalidError, UnavailableError

logger = logging.getLogger(__name__)

LOCK_NAME = "writer.lock"
_LOOKS_EVERY = 0.2  # seconds between two looks at a lock that is waited for
_MAX_HOLDER = 10_000  # bytes that are read of what a holder says of itself
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


@contextmanager
def writing(folder: Path, *, wait: float | None = None) -> Iterator[None]:
    """Be the only writer of an existing folder while the block runs, also when the folder is renamed meanwhile.

    Another writer is waited for, for `wait` seconds at most, and a note names it. None: the caller does not wait.

    Raises:
        BusyError: another writer is at work; the message names it.
        InvalidError: the folder may not be written to; `wait` is no time.
        UnavailableError: its file system has no locks.

    """
    if wait is not None and not (isinstance(wait, Real) and wait >= 0):
        raise InvalidError(f"`wait` must be seconds, 0 or more, not {short(wait)}.")
    with _locked(folder, wait) as (directory, descriptor):
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(_myself()).encode())
            yield
        finally:
            with suppress(FileNotFoundError):
                os.unlink(LOCK_NAME, dir_fd=directory)  # while it is locked: the file under this name is ours
            os.close(descriptor)


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, waiting for whoever has it, so that several processes do not all do the same work.

    It is a courtesy, not a guarantee: on file systems without locks all processes go on at once.

    Raises:
        InvalidError: `path` is a link.

    """
    while True:
        descriptor = _open(path.name, directory=None, folder=path.parent)
        try:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _is_current(descriptor, str(path)):
                continue  # its last holder has removed it since it was opened here
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(descriptor)


@contextmanager
def _locked(folder: Path, wait: float | None) -> Iterator[tuple[int, int]]:
    """The open folder and its locked file, which the caller closes.

    Each look opens the folder anew: `index --force` puts another one in its place.
    """
    end, said = time.monotonic() + (wait or 0), ""
    while True:
        with _opened(folder) as directory:
            try:
                descriptor = _acquire(folder, directory)
            except BusyError as busy:
                left = end - time.monotonic()
                if left <= 0:
                    raise BusyError(busy.message, _advice(wait)) from None
                if busy.message != said:
                    said = busy.message
                    logger.info("Waiting: %s", said)
            else:
                if os.path.samestat(os.fstat(directory), os.stat(folder)):
                    yield directory, descriptor
                    return
                os.close(descriptor)
                continue
        time.sleep(min(left, _LOOKS_EVERY))


def _advice(wait: float | None) -> str:
    if wait is None:
        return "Wait for its end and run this again."
    if not wait:
        return "Run this again after its end, or with `wait`."
    return f"It did not end within {wait:g} seconds."


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield directory
    finally:
        os.close(directory)


def _open(name: str, *, directory: int | None, folder: Path) -> int:
    """Open a lock's file, made if need be; its contents stay."""
    path = name if directory is not None else folder / name
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644, dir_fd=directory)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise InvalidError(f"{folder} may not be written to by this user.", "Check its permissions.") from None
        if error.errno == errno.ELOOP:
            raise InvalidError(
                f"{folder / name} is a link, and a lock must be a file.", "Remove the link, or choose another folder."
            ) from None
        raise


def _acquire(folder: Path, directory: int) -> int:
    while True:
        descriptor = _open(LOCK_NAME, directory=directory, folder=folder)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_current(descriptor, LOCK_NAME, directory):
                return descriptor
        except BlockingIOError:
            raise BusyError(f"{folder} is being written to by {_holder(descriptor)}.") from None
        except OSError as error:
            os.close(descriptor)
            if error.errno in _NO_LOCKS:
                raise UnavailableError(
                    f"The file system of {folder} has no locks ({error.strerror}).", "Write to a local disk."
                ) from None
            raise
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_current(descriptor: int, name: str, directory: int | None = None) -> bool:
    """Whether the file that was locked still has its name: its last holder may have removed it since we opened it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(name, dir_fd=directory, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _myself() -> dict[str, object]:
    name = Path(sys.argv[0]).name
    command = shlex.join(["debater" if name == "__main__.py" else name, *sys.argv[1:]])
    return {"pid": os.getpid(), "since": datetime.now().strftime("%Y-%m-%d %H:%M:%S"), "command": command[:1000]}


def _holder(descriptor: int) -> str:
    """What the holder wrote of itself; closes the file."""
    with os.fdopen(descriptor, "rb") as file:
        text = file.read(_MAX_HOLDER)
    try:
        said = json.loads(text)
        return f"process {int(said['pid'])} since {said['since']} ({said['command']})"
    except (ValueError, KeyError, TypeError, RecursionError):  # it has the lock and has not written yet
        return "another process"
