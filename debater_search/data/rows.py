"""Rows of named fields, whatever holds them: JSON lines, CSV, TSV or Parquet, each also compressed."""

import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from debater_search.data.files import COMPRESSIONS, STDIN, decoded, numbered_lines, open_stream, place, require_exists
from debater_search.data.parquet import parquet_rows
from debater_search.errors import InvalidError

Fields = dict[str, Any]
Bad = Callable[[InvalidError], None]
"""What takes the error of a bad row; if it returns, the next rows are read."""

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}

INDEX_COLUMNS = ("Unnamed: 0", "__index_level_0__")
"""How pandas calls the numbers of its rows, where it writes them with a name."""

MISSING_CELLS = frozenset(("nan", "NaN", "NaT", "<NA>"))
"""How pandas writes a missing value in CSV, where it does not leave the cell blank."""

_HALF_A_PAIR = re.compile(
    r"\\u[dD][89a-fA-F]"
)  # a surrogate escape: legal JSON, though no text if its other half lacks


def format_of(path: str | Path) -> str:
    """`jsonl`, `csv`, `tsv` or `parquet`, by the extension; raises InvalidError for any other."""
    if str(path) == STDIN:
        return "jsonl"
    suffixes = Path(path).suffixes
    if suffixes and suffixes[-1].lower() in COMPRESSIONS:
        suffixes.pop()
    suffix = suffixes[-1].lower() if suffixes else ""
    if suffix not in FORMATS:
        known = ", ".join(FORMATS)
        raise InvalidError(
            f"{path} has an unknown extension.",
            f"Known are {known} (each also with .gz or .zst). A corpus may also be .txt, .md, .html, .pdf or a folder.",
        )
    return FORMATS[suffix]


def find_in_folder(folder: str | Path, stem: str) -> Path | None:
    """The file `stem` in a folder, in the first format that is there (`corpus.jsonl`, `corpus.jsonl.gz`, …)."""
    names = (f"{stem}{suffix}{compression}" for suffix in FORMATS for compression in ("", *COMPRESSIONS))
    return next((Path(folder) / name for name in names if (Path(folder) / name).is_file()), None)


def row_place(path: str | Path, number: int) -> str:
    """The place of a row, as messages call it."""
    return place(path, number, "row" if format_of(path) == "parquet" else "line")


class SeenIds:
    """The ids of one or several files, each with its first place; a second one is an error."""

    def __init__(self, files: Sequence[str | Path]) -> None:
        self._files = files
        self._first: dict[str, int] = {}

    def add(self, id: str, number: int, file: int = 0) -> None:
        """Note that row `number` of a file has `id`; raises InvalidError, naming both rows, if another one has it."""
        row = file << 40 | number
        first = self._first.setdefault(id, row)
        if first != row:
            earlier = row_place(self._files[first >> 40], first & (1 << 40) - 1)
            if first >> 40 == file:
                earlier = earlier.rpartition(", ")[2]
            raise InvalidError(
                f"{row_place(self._files[file], number)}: the id {id!r} stands in {earlier} already.",
                "Ids must be unique; remove or rename one of the two.",
            )


def stop(error: InvalidError) -> None:
    """Raise the error of a bad row."""
    raise error


def read_rows(path: str | Path, bad: Bad = stop) -> Iterator[tuple[int, Fields]]:
    """Rows as (number, fields), one at a time; the number is the line's, or the row's in Parquet.

    Raises DebaterError for a missing file and, naming the place, for whatever does not parse; but a bad row behind
    which others can be read goes to `bad`.
    """
    require_exists(path)
    kind = format_of(path)
    if kind == "jsonl":
        return _json_rows(path, bad)
    if kind == "parquet":
        return parquet_rows(path)
    return _delimited_rows(path, bad)


def separator_of(path: str | Path) -> str:
    """What separates the fields of a CSV or TSV file, as its header tells."""
    with open_stream(path) as stream:
        return _separator(decoded(stream.readline(), path, 1), path)


def _json_rows(path: str | Path, bad: Bad) -> Iterator[tuple[int, Fields]]:
    with open_stream(path) as stream:
        started = False
        for number, line in enumerate(stream, start=1):
            is_array = not started and line.lstrip()[:1] == b"["  # the file is no JSON lines at all
            started = started or bool(line.strip())
            try:
                text = decoded(line, path, number)
                fields = json_row(text, place(path, number)) if text.strip() else None
            except InvalidError as error:
                (stop if is_array else bad)(error)
                continue
            if fields is not None:
                yield number, fields


def json_row(line: str, where: str) -> Fields:
    """The named fields of one JSON line; raises InvalidError, naming `where`, for anything else."""
    try:
        fields = json.loads(line)
        if _HALF_A_PAIR.search(line):
            fields = json.loads(json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace"))
    except RecursionError as error:
        raise InvalidError(f"{where}: the values are nested too deeply.", "Keep the values of a row flat.") from error
    except json.JSONDecodeError as error:
        if line.lstrip()[:1] == "[":
            hint = "A JSON array over several lines is not read: write one object per line (jq -c '.[]')."
        else:
            hint = "Every line must be one complete JSON object."
        raise InvalidError(f"{where}: this is not JSON.", hint) from error
    except ValueError as error:  # Python refuses to read numbers of more than some thousands of digits
        raise InvalidError(f"{where}: a number has too many digits.", "Write it as a string.") from error
    if not isinstance(fields, dict):
        raise InvalidError(
            f"{where}: this is JSON, but not an object with named fields.",
            'Every line must be one object, such as {"_id": "1", "text": "…"}.',
        )
    return fields


def _delimited_rows(path: str | Path, bad: Bad) -> Iterator[tuple[int, Fields]]:
    lines = (line for _, line in numbered_lines(path))
    first = next(lines, "")
    header: list[str] | None = None
    number = 1
    try:
        separator = _separator(first, path)
        # strict: a stray quote is an error rather than a field that swallows the lines after it
        table = csv.reader(chain([first], lines), delimiter=separator, strict=True)
        for cells in table:
            if header is None:
                header = _header([name.strip() for name in cells], place(path, number))
            elif cells and len(cells) != len(header):
                bad(_uneven(place(path, number), len(cells), len(header), separator))
            elif cells:
                fields: Fields = dict(zip(header, cells, strict=True))
                for name, cell in fields.items():
                    if cell in MISSING_CELLS:
                        fields[name] = None
                fields.pop("", None)
                yield number, fields
            number = table.line_num + 1
    except csv.Error as error:
        raise InvalidError(
            f"{place(path, number)}: this does not parse ({error}).",
            'Quote fields as CSV does ("a ""word"" in quotes"), or use JSON lines.',
        ) from error


def _separator(header: str, path: str | Path) -> str:
    """The first of the known separators that cuts the header into several fields, else the first.

    Where 1,5 is a number, programs separate the fields of a .csv file by semicolons or tabs.
    """
    csv.field_size_limit(sys.maxsize)  # the default refuses fields over 128 KiB
    known = "\t,;" if format_of(path) == "tsv" else ",;\t"
    return max(known, key=lambda separator: len(next(csv.reader([header], delimiter=separator), [])) > 1)


def _uneven(where: str, cells: int, names: int, separator: str) -> InvalidError:
    """The error for a row of more or fewer fields than the header."""
    between = "the tab" if separator == "\t" else f"the separator ({separator})"
    return InvalidError(
        f"{where}: {cells} field{'s' if cells > 1 else ''}, where the header names {names}.",
        f"Put quotes around fields that hold {between}."
        if cells > names
        else f"Write {between} for empty fields too, and put quotes around fields that hold a line break.",
    )


def _header(names: list[str], where: str) -> list[str]:
    """The names of columns; the numbered index that pandas writes first is called "", as columns without a name are."""
    if names and names[0] in INDEX_COLUMNS:
        names[0] = ""
    if twice := next((name for name, count in Counter(names).items() if name and count > 1), None):
        raise InvalidError(f"{where}: the header names the column {twice!r} twice.", "Rename one of the two.")
    return names
