"""What the columns of a CSV or TSV file hold: numbers, booleans or text; a file says so only in all its cells.

A column is of numbers only if every cell is one, so that 02139 keeps its zero beside 90210.
"""

import math
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from debater_search.data.files import STDIN
from debater_search.data.rows import Fields, format_of, read_rows

Kind = Literal["number", "boolean"]

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def column_kinds(path: str | Path, leave: Collection[str] = ()) -> dict[str, Kind]:
    """The columns of a table whose cells are all numbers or all booleans; blank cells say nothing.

    One pass over the file, which ends as soon as no column is left. Nothing is known of the columns in `leave`, of
    files with types of their own, and of streams, which are read only once.
    """
    if str(path) == STDIN or format_of(path) not in ("csv", "tsv") or not Path(path).is_file():
        return {}
    kinds: dict[str, Kind | None] | None = None
    for _, fields in read_rows(path):
        if kinds is None:
            kinds = {name: None for name in fields if name not in leave}
        for name in list(kinds):
            cell = (fields[name] or "").strip()
            kind: Kind | None = "boolean" if cell in _BOOLEANS else "number" if is_number(cell) else None
            if cell and (kind is None or kinds[name] not in (None, kind)):
                del kinds[name]
            elif cell:
                kinds[name] = kind
        if not kinds:
            break
    return {name: kind for name, kind in (kinds or {}).items() if kind is not None}


def typed(fields: Fields, kinds: dict[str, Kind], leave: Collection[str] = ()) -> Fields:
    """A row of CSV or TSV with the values that its columns hold, a blank cell being None; fields in `leave` stay."""
    return {name: cell if name in leave else _value(cell, kinds.get(name)) for name, cell in fields.items()}


def is_number(cell: str) -> bool:
    """Whether a cell is a number that a float or 64 bits hold; one with a leading zero is text."""
    return _NUMBER.fullmatch(cell) is not None and math.isfinite(float(cell))


def _value(cell: str | None, kind: Kind | None) -> Any:
    bare = (cell or "").strip()
    if not bare:
        return None
    if kind == "boolean":
        return _BOOLEANS.get(bare, cell)
    if kind == "number" and is_number(bare):  # else the file has changed since the first pass
        return int(bare) if bare.lstrip("-").isdigit() else float(bare)
    return cell
