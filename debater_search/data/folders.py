"""What a folder holds: parts of a table of documents, or files that are one document each; and what is skipped."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from debater_search.coerce import plain_number
from debater_search.data.files import COMPRESSIONS, called, place
from debater_search.data.rows import FORMATS, read_rows
from debater_search.data.text_files import missing_library, needs_extra, text_format
from debater_search.errors import DebaterError
from debater_search.roles import PLAIN, ColumnChoice

_SHOWN = 5
_ABOUT = {"readme", "license", "licence", "changelog", "contributing", "citation", "notice", "authors"}
"""Names of texts that describe a folder and are not its content."""
_NOT_DOCUMENTS = {"queries", "query", "qrels", "topics"}


@dataclass
class FolderContents:
    """The files of a folder that make a corpus: either `parts` (JSON lines, CSV, TSV, Parquet) or `texts`."""

    parts: list[Path] = field(default_factory=list)
    texts: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def folder_contents(folder: Path, choice: ColumnChoice) -> FolderContents:
    """Look through a folder and its subfolders, hidden ones left out; parts and texts are in natural order.

    Files whose rows have an id and a text, by the usual names or those that the caller says, are the corpus. If there
    are none, the texts are; but texts that only describe the folder (README.md) are no corpus beside tables: then those
    are read whose columns have other well-known names. Raises DebaterError if the only files are of a format whose
    library is not installed.
    """
    found = FolderContents()
    tables: list[Path] = []
    for path in sorted(_files(folder), key=lambda path: natural(path.relative_to(folder).as_posix())):
        if _is_table(path, folder):
            tables.append(path)
        elif text_format(path) is not None:
            found.texts.append(path)
        elif not path.name.startswith("_"):
            found.skipped.append(path)
    names = {path: _first_names(path) for path in tables}
    holds = [path for path in tables if choice.says(names[path] or ()) or PLAIN.fit(names[path] or ())]
    if not holds and all(_stem(path) in _ABOUT for path in found.texts):
        tables_alone = [path for path in tables if _suffix(path) != ".json"]
        holds = [path for path in tables_alone if choice.fits(names[path] or ())]
        found.parts = [] if holds else tables_alone  # reading them tells what they lack
    if holds:  # empty and damaged parts too, which only reading them can tell
        found.parts = [path for path in tables if path in holds or (names[path] is None and _suffix(path) != ".json")]
    if found.parts:
        found.skipped += found.texts
        found.texts = []
    found.skipped += [path for path in tables if path not in found.parts]
    found.warnings = _without_library(found)
    if found.skipped:
        found.warnings.append(f"Files of the folder that are not read: {listed(found.skipped, folder)}.")
    return found


def natural(name: str) -> list[tuple[int, int, str]]:
    """The key by which part-2 comes before part-10."""
    pieces = re.split(r"([0-9]+)", name)
    return [(0, int(piece), "") if piece.isdecimal() and len(piece) < 1000 else (1, 0, piece) for piece in pieces]


def partition(path: Path, folder: Path) -> dict[str, Any]:
    """The columns that stand in the names of folders, as Spark and Hive write them (`year=2020/part-0.parquet`)."""
    pairs = (part.partition("=") for part in path.relative_to(folder).parent.parts)
    return {name: _partition_value(value) for name, equals, value in pairs if name and equals}


def _partition_value(value: str) -> Any:
    if value == "__HIVE_DEFAULT_PARTITION__":
        return None
    number = plain_number(value)
    return value if number is None else number


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _is_table(path: Path, folder: Path) -> bool:
    relative = path.relative_to(folder)
    if _suffix(path) not in FORMATS or any(part.startswith("_") for part in relative.parts):
        return False
    return _stem(path) not in _NOT_DOCUMENTS and _NOT_DOCUMENTS.isdisjoint(relative.parent.parts)


def _first_names(path: Path) -> list[str] | None:
    """The names of the first row's fields; None for an empty or damaged part."""
    try:
        row = next(iter(read_rows(path)), None)
    except DebaterError:
        row = None
    return None if row is None else list(row[1])


def _without_library(found: FolderContents) -> list[str]:
    """Take texts that no library is there for out of `texts`; a warning for each format."""
    unread = {path: format for path in found.texts if missing_library(format := text_format(path) or "")}
    if unread and len(unread) == len(found.texts):
        raise needs_extra(*next(iter(unread.items())))
    found.texts = [path for path in found.texts if path not in unread]
    return [
        f"Files that are not read because the extra {format} is not installed: {count:,}."
        for format in sorted(set(unread.values()))
        if (count := list(unread.values()).count(format))
    ]


def listed(paths: Sequence[Path], folder: Path, most: int = _SHOWN, *, lines: Mapping[Path, int] | None = None) -> str:
    """How many files there are, and the first of them, by their paths below `folder`, with the line that is meant."""
    names = [called(path.relative_to(folder)) for path in paths[:most]]
    if lines:
        names = [place(name, lines[path]) for name, path in zip(names, paths, strict=False)]
    return f"{len(paths):,} ({', '.join(names)}{', …' if len(paths) > most else ''})"


def _suffix(path: Path) -> str:
    """The extension, below the one of a compression, in small letters."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in COMPRESSIONS else suffix


def _stem(path: Path) -> str:
    """The name up to its first dot, in small letters."""
    return path.name.partition(".")[0].lower()
