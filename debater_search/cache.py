"""Where things that can be made again are kept: ~/.cache/debater, or $XDG_CACHE_HOME/debater."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from debater_search.errors import DebaterError


def cache_folder(name: str) -> Path:
    """The folder `name` of the cache, made if need be; in the temporary folder where the cache cannot be written to."""
    for root in _roots():
        with suppress(OSError):
            folder = root / name
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # in a temporary folder that all users share, somebody else may have made it
            if os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid():
                return folder
    raise DebaterError(
        "There is no folder to keep the cache in.", "Set XDG_CACHE_HOME to a folder that you may write to."
    )


def _roots() -> Iterator[Path]:
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        yield Path(chosen).absolute() / "debater"
    else:
        with suppress(RuntimeError):  # a user without a home
            yield Path.home() / ".cache" / "debater"
    yield Path(tempfile.gettempdir(), f"debater-{os.getuid()}")


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, waiting for whoever has it, so that several processes do not all do the same work.

    It is a courtesy, not a guarantee: on file systems without locks everybody goes on at once.
    """
    while True:
        with path.open("w") as file:
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_current(file.fileno(), path):
                continue  # its last holder has removed it since it was opened here
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_current(descriptor: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False
