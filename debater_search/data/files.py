"""Files as every reader sees them: compressed or not, numbered lines of UTF-8, one wording for what goes wrong."""

import codecs
import difflib
import gzip
import io
import os
import shlex
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from debater_search.errors import DamagedError, InvalidError, MissingError, UnavailableError
from debater_search.files import atomic

STDIN = "-"
LONE_HALVES = "backslashreplace"  # a name that is not UTF-8 must not end a program: it is shown as caf\udce9
_CLOSE = 0.75  # likeness from which a name is suggested for another
COMPRESSIONS = (".gz", ".zst")


def called(path: str | Path) -> str:
    """How messages and manifests call a file: by its path, and `-` by what it stands for."""
    return "standard input" if str(path) == STDIN else str(path).encode("utf-8", LONE_HALVES).decode()


def place(path: str | Path, number: int, unit: str = "line") -> str:
    """How messages call a spot in a file: `corpus.jsonl, line 3`."""
    return f"{called(path)}, {unit} {number}"


def require_exists(path: str | Path, otherwise: str = "") -> None:
    """Raise DebaterError, naming the nearest file of that folder, or else the hint `otherwise`, if nothing is there."""
    if str(path) == STDIN or Path(path).exists():
        return
    parent = Path(path).parent
    names = sorted(entry.name for entry in parent.iterdir()) if parent.is_dir() else []
    near = _nearest(Path(path).name, names)
    if near:
        hint = "Did you mean " + " or ".join(str(parent / name) for name in near) + "?"
    elif str(parent) == ".":
        hint = f"Look for its name in the current folder, {Path.cwd()}."
    elif parent.is_dir():
        hint = otherwise or f"Look into the folder {parent} for its name."
    else:
        hint = f"There is no folder {parent} either."
    raise MissingError(f"There is no file {path}.", hint)


def _nearest(asked: str, names: list[str]) -> list[str]:
    """Up to three names that may be meant: alike also without their endings, which many files have in common."""

    def likeness(name: str) -> float:
        stem, other = (word.lower().strip(".").partition(".")[0] for word in (asked, name))
        return difflib.SequenceMatcher(None, stem, other).ratio()

    return sorted((name for name in names if likeness(name) >= _CLOSE), key=likeness, reverse=True)[:3]


@contextmanager
def open_stream(path: str | Path) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed by its extension (.gz, .zst); `-` is standard input.

    A missing, unreadable or damaged file raises DebaterError, also while the stream is being read.
    """
    require_exists(path)
    if str(path) == STDIN and sys.stdin is None:
        raise UnavailableError("Standard input is closed.", "Name a file, or pipe the rows in.")
    try:
        if str(path) == STDIN:
            yield sys.stdin.buffer
        elif str(path).endswith(".gz"):
            with gzip.open(path, "rb") as unzipped:
                yield cast(BinaryIO, unzipped)
        elif str(path).endswith(".zst"):
            import pyarrow as pa

            with pa.input_stream(str(path), compression="zstd") as native, io.BufferedReader(native) as buffered:
                yield buffered
        else:
            with open(path, "rb") as plain:
                yield plain
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path) from error
    except IsADirectoryError as error:
        raise InvalidError(f"{path} is a folder, where a file is expected.", "Name a file inside it.") from error
    except PermissionError as error:
        raise InvalidError(f"{path} may not be read by this user.", "Change its permissions.") from error
    except OSError as error:
        if str(path).endswith(COMPRESSIONS):
            raise _damaged(path) from error
        raise UnavailableError(
            f"{path} cannot be read: {error.strerror or error}.", "Check the disk it lies on."
        ) from error


def _damaged(path: str | Path) -> DamagedError:
    return DamagedError(
        f"{path} is cut off or damaged: it does not decompress to its end.", "Copy or download the file again."
    )


@contextmanager
def open_seekable(path: str | Path) -> Iterator[BinaryIO]:
    """Like `open_stream`, for formats that are read from their end: a compressed file is unpacked first."""
    with open_stream(path) as stream:
        if not str(path).endswith(COMPRESSIONS):
            yield stream
            return
        with tempfile.TemporaryFile() as unpacked:
            shutil.copyfileobj(stream, unpacked)
            unpacked.seek(0)
            yield cast(BinaryIO, unpacked)


def numbered_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Lines of UTF-8 text, numbered from 1, each with its line end; a byte order mark is dropped.

    Raises DebaterError, naming the line, for bytes that are not UTF-8, and as `open_stream` does.
    """
    with open_stream(path) as stream:
        for number, line in enumerate(stream, start=1):
            yield number, decoded(line, path, number)


def decoded(line: bytes, path: str | Path, number: int) -> str:
    """Line `number` of a file as text, without a byte order mark; raises DebaterError if it is not UTF-8."""
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(path, number, line) from error


def not_utf8(path: str | Path, number: int, start: bytes) -> InvalidError:
    """The error for bytes that are not UTF-8; `start` begins line `number`, or the file."""
    utf16 = number == 1 and start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not utf16 and not _may_be_windows_1252(start):
        return InvalidError(
            f"{place(path, number)}: these bytes are not text.", f"Write {called(path)} again as UTF-8, or remove it."
        )
    convert = f"iconv -f {'UTF-16' if utf16 else 'WINDOWS-1252'} -t UTF-8"
    name, suffix = shlex.quote(called(path)), Path(path).suffix
    if str(path) == STDIN:
        command = f"… | {convert} | …"
    elif suffix in COMPRESSIONS:
        unpack = {".gz": "gzip", ".zst": "zstd"}[suffix]
        command = f"{unpack} -dc {name} | {convert} > new{Path(Path(path).stem).suffix}"
    else:
        command = f"{convert} {name} > new{suffix}"
    return InvalidError(f"{place(path, number)}: the text is not UTF-8.", f"Convert it to UTF-8: {command}")


def _may_be_windows_1252(data: bytes) -> bool:
    """Whether bytes are text in the encoding that most files have which are not UTF-8."""
    try:
        return "\0" not in data.decode("cp1252")
    except UnicodeDecodeError:
        return False


def require_writable(path: str | Path) -> None:
    """Raise DebaterError where nothing can be written at `path`, before hours are spent on what should go there."""
    path = Path(path).absolute()
    nearest = next(folder for folder in (path, *path.parents) if folder.exists())
    if nearest != path and not nearest.is_dir():
        raise InvalidError(f"{path} cannot be made: {nearest} is a file.", "Name another place.")
    if not os.access(nearest, os.W_OK):
        raise InvalidError(f"{nearest} may not be written to by this user.", "Name another place.")


def require_writable_folder(folder: str | Path) -> None:
    """Raise DebaterError, as `require_writable` does, and where `folder` is a file."""
    require_writable(folder)
    if Path(folder).exists() and not Path(folder).is_dir():
        raise InvalidError(f"{folder} is a file, where a folder is to be written.", "Name another place.")


def write_lines(path: str | Path, lines: Iterable[str]) -> None:
    """Write UTF-8 lines under a temporary name and rename: readers see the old file or the whole new one."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary, temporary.open("w", encoding="utf-8", errors=LONE_HALVES) as file:
            file.writelines(f"{line}\n" for line in lines)
    except OSError as error:
        raise UnavailableError(
            f"{path} cannot be written: {error.strerror or error}.", "Name another place."
        ) from error
