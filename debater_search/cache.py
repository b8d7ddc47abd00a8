"""The cache of what can be made again: ~/.cache/debater, or $XDG_CACHE_HOME/debater."""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from debater_search.errors import UnavailableError

UNUSED_SECONDS = 30 * 24 * 3600
ABANDONED_SECONDS = 24 * 3600  # temporary files and locks
_TEMPORARY = (".lock", ".tmp")


def cache_folder(name: str) -> Path:
    """The folder `name` of the cache, made if need be; in the temporary folder if the cache cannot be written to.

    Raises:
        UnavailableError: neither can be written to by this user alone.

    """
    for root in cache_roots():
        with suppress(OSError):
            folder = root / name
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            if all(map(_is_own_folder, (root, folder))) and os.access(folder, os.W_OK):
                return folder
    raise UnavailableError("There is no folder for the cache.", "Set XDG_CACHE_HOME to a folder that you may write to.")


def remove_stale(
    cache: Path, is_entry: Callable[[str], bool], is_outdated: Callable[[Path], bool] = lambda _: False
) -> None:
    """Remove what nothing has used for a month, what is outdated, and temporary files of processes that died.

    Only names that `is_entry` knows, without the ending of a temporary file, are touched, and no link is followed.
    """
    for path in list(cache.iterdir()):
        with suppress(OSError):  # another process was first
            temporary = path.suffix in _TEMPORARY
            if path.is_symlink() or not is_entry(path.name.split(".")[0]):
                continue
            touched = max(file.lstat().st_mtime for file in (path, *path.glob("*")))
            unused = time.time() - touched > (ABANDONED_SECONDS if temporary else UNUSED_SECONDS)
            if unused or (not temporary and is_outdated(path)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def cache_roots() -> Iterator[Path]:
    """Where the cache may be, the first choice first."""
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        yield Path(chosen).absolute() / "debater"
    else:
        with suppress(RuntimeError):  # a user without a home
            yield Path.home() / ".cache" / "debater"
    yield Path(tempfile.gettempdir(), f"debater-{os.getuid()}")


def _is_own_folder(path: Path) -> bool:
    """Whether a folder is no link, belongs to this user, and is not open to everybody's writing."""
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & stat.S_IWOTH
