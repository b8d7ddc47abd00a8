"""Files and folders that are either whole or not there: temporary name, fsync, rename, fsync of the folder."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

TEMPORARY_SUFFIX = ".tmp"


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it becomes `path` when the block ends well and vanishes when it does not."""
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        fsync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync(path.parent)


def rename_folder(source: Path, target: Path) -> None:
    """Rename a folder so that the new name survives a power cut."""
    source.rename(target)
    fsync(target.parent)


def sha256_file(path: Path) -> str:
    """The file's sha256 in hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def from_json(text: str | bytes) -> Any:
    """The value that JSON spells; ValueError for what is none, is nested too deeply, or has thousands of digits."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def file_in(folder: Path, name: str) -> Path | None:
    """The file of that name in the folder; None if it is not there, or the name leads out of the folder."""
    try:
        file = (folder / name).resolve()
        return file if file.is_relative_to(folder.resolve()) and file.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        return None


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; it replaces `folder` when the block ends well."""
    temporary = folder.with_name(f".{folder.name}{TEMPORARY_SUFFIX}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for path in temporary.iterdir():
            fsync(path)
        shutil.rmtree(folder, ignore_errors=True)
        rename_folder(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder, links as themselves; those that are removed meanwhile do not count."""
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_size
    return total


def fsync(path: Path) -> None:
    """Make a file or a folder as it is now survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
