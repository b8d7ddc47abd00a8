"""Rows of named fields, whatever holds them: JSON lines, CSV, TSV or Parquet, each also compressed."""

import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from debater_search.data.files import COMPRESSIONS, STDIN, numbered_lines, open_seekable, place, require_exists
from debater_search.errors import DebaterError

Fields = dict[str, Any]

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}

_HALF_A_PAIR = re.compile(
    r"\\u[dD][89a-fA-F]"
)  # a surrogate escape: legal JSON, though no text if its other half lacks


def format_of(path: str | Path) -> str:
    """`jsonl`, `csv`, `tsv` or `parquet`, by the extension; raises DebaterError for any other."""
    if str(path) == STDIN:
        return "jsonl"
    suffixes = Path(path).suffixes
    if suffixes and suffixes[-1].lower() in COMPRESSIONS:
        suffixes.pop()
    suffix = suffixes[-1].lower() if suffixes else ""
    if suffix not in FORMATS:
        known = ", ".join(FORMATS)
        raise DebaterError(
            f"{path} has an extension that says nothing about its format.",
            f"Known are {known} (each also with .gz or .zst), and a folder of .txt and .md files.",
        )
    return FORMATS[suffix]


def find_in_folder(folder: str | Path, stem: str) -> Path | None:
    """The file `stem` in a folder, in the first format that is there (`corpus.jsonl`, `corpus.jsonl.gz`, …)."""
    names = (f"{stem}{suffix}{compression}" for suffix in FORMATS for compression in ("", *COMPRESSIONS))
    return next((Path(folder) / name for name in names if (Path(folder) / name).is_file()), None)


def row_place(path: str | Path, number: int) -> str:
    """The place of a row, as messages call it."""
    return place(path, number, "row" if format_of(path) == "parquet" else "line")


def require_new_id(path: str | Path, id: str, number: int, first_seen: dict[str, int]) -> None:
    """Note that row `number` bears `id`; raises DebaterError, naming both rows, if another one does."""
    first = first_seen.setdefault(id, number)
    if first != number:
        earlier = row_place(path, first).rpartition(", ")[2]
        raise DebaterError(
            f"{row_place(path, number)}: the id {id!r} stands in {earlier} already.",
            "Ids must be unique; remove or rename one of the two.",
        )


def read_rows(path: str | Path) -> Iterator[tuple[int, Fields]]:
    """Rows as (number, fields), one at a time; the number is the line's, or the row's in Parquet.

    Raises DebaterError for a missing file and, naming the place, for whatever does not parse.
    """
    require_exists(path)
    kind = format_of(path)
    if kind == "jsonl":
        return _json_rows(path)
    if kind == "parquet":
        return _parquet_rows(path)
    return _delimited_rows(path, "\t" if kind == "tsv" else ",")


def _json_rows(path: str | Path) -> Iterator[tuple[int, Fields]]:
    for number, line in numbered_lines(path):
        if line.strip():
            yield number, json_row(line, place(path, number))


def json_row(line: str, where: str) -> Fields:
    """The named fields of one JSON line; raises DebaterError, naming `where`, for anything else."""
    try:
        fields = json.loads(line)
        if _HALF_A_PAIR.search(line):
            fields = json.loads(json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise DebaterError(f"{where}: this is not JSON.", "Every line must be one complete JSON object.") from error
    if not isinstance(fields, dict):
        raise DebaterError(
            f"{where}: this is JSON, but not an object with named fields.",
            'Every line must be one object, such as {"_id": "1", "text": "…"}.',
        )
    return fields


def _delimited_rows(path: str | Path, delimiter: str) -> Iterator[tuple[int, Fields]]:
    csv.field_size_limit(sys.maxsize)  # the default refuses fields over 128 KiB
    # strict: a stray quote is an error rather than a field that swallows the lines after it
    table = csv.reader((line for _, line in numbered_lines(path)), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    number = 1
    try:
        for cells in table:
            if header is None:
                header = [name.strip() for name in cells]
            elif cells:
                if len(cells) != len(header):
                    raise DebaterError(
                        f"{place(path, number)}: {len(cells)} fields, where the header names {len(header)}.",
                        "Put quotes around fields that hold the separator or a line break.",
                    )
                yield number, dict(zip(header, cells, strict=True))
            number = table.line_num + 1
    except csv.Error as error:
        raise DebaterError(
            f"{place(path, number)}: this does not parse ({error}).",
            'Quote fields as CSV does ("a ""word"" in quotes"), or use JSON lines.',
        ) from error


def _parquet_rows(path: str | Path) -> Iterator[tuple[int, Fields]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_seekable(path) as file:
        number = 0
        try:
            for batch in pq.ParquetFile(file).iter_batches(batch_size=1000):
                for fields in batch.to_pylist():
                    number += 1
                    yield number, fields
        except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
            raise DebaterError(
                f"{place(path, number + 1, 'row')}: this does not read as Parquet.", "Write or copy the file again."
            ) from error
