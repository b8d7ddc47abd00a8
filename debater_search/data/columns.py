"""What the columns of a CSV or TSV file hold: numbers, booleans or text; a file says so only in all its cells.

A column is of numbers only if every cell is one, or blank, so that 02139 keeps its zero beside 90210; the caller may
say that one is, and then the cells that are none stay text. Where semicolons or tabs
separate the cells, numbers may have a decimal comma (12,50), and then also points between thousands (1.234,50); but a
column is text where 1,234 may as well be a thousand, or 1.234 one and a bit.
"""

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal

from debater_search.coerce import plain_number
from debater_search.data.files import STDIN
from debater_search.data.rows import Fields, format_of, read_rows, separator_of

Kind = Literal["number", "boolean", "decimal comma", "thousands points"]

_COMMA = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:,[0-9]{1,30})?")
_POINTS = re.compile(r"-?(?:0|[1-9][0-9]{0,17}|[1-9][0-9]{0,2}(?:\.[0-9]{3}){1,5})(?:,[0-9]{1,30})?")
_COMMAS_OF_THOUSANDS = re.compile(r"-?[1-9][0-9]{0,2}(?:,[0-9]{3})+")
NO_VALUES = frozenset(("n/a", "N/A", "NA", "#N/A", "null", "NULL", "None", "-"))
"""What people write for a missing value; a text in a column of texts."""
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def column_kinds(path: str | Path, leave: Collection[str] = (), numbers: Collection[str] = ()) -> dict[str, Kind]:
    """The columns of a table whose cells are all numbers or all booleans; blank cells and `NO_VALUES` say nothing.

    In the columns of `numbers` other cells say nothing either. One pass over the file, which ends as soon as no column
    is left. Nothing is known of the columns in `leave`, of files with types of their own, and of streams, which are
    read only once.
    """
    if str(path) == STDIN or format_of(path) not in ("csv", "tsv") or not Path(path).is_file():
        return {}
    kinds_of = _kinds if separator_of(path) == "," else _kinds_with_commas
    found: dict[str, _Column] | None = None
    for _, fields in read_rows(path, bad=lambda error: None):  # bad rows are told when the documents are read
        if found is None:
            found = {name: _Column(numbers_only=name in numbers) for name in fields if name not in leave}
        for name in list(found):
            cell = (fields[name] or "").strip()
            if cell and cell not in NO_VALUES and not found[name].narrow(cell, kinds_of):
                del found[name]
        if not found:
            break
    return {name: kind for name, column in (found or {}).items() if (kind := column.kind()) is not None}


class _Column:
    """The kinds that all cells so far allow; with `numbers_only` all that are numbers."""

    def __init__(self, *, numbers_only: bool = False) -> None:
        self._numbers_only = numbers_only
        self._kinds: frozenset[Kind] | None = None
        self._sure: set[Kind] = set()

    def narrow(self, cell: str, kinds_of: "Callable[[str], frozenset[Kind]]") -> bool:
        """Take a cell into account; returns whether any kind is left."""
        kinds = kinds_of(cell)
        if self._numbers_only and kinds <= _AS_BOOLEAN:
            return True
        if kinds is not self._kinds:  # most cells are like the ones before
            self._kinds = kinds if self._kinds is None else self._kinds & kinds
        if "," in cell and _COMMAS_OF_THOUSANDS.fullmatch(cell) is None:
            self._sure.add("thousands points" if "." in cell else "decimal comma")
        return bool(self._kinds)

    def kind(self) -> Kind | None:
        """The one kind that is sure; None for text."""
        for kind in ("number", "boolean"):
            if self._kinds and kind in self._kinds:
                return kind
        return next((kind for kind in sorted(self._sure) if self._kinds and kind in self._kinds), None)


def typed(fields: Fields, kinds: dict[str, Kind], leave: Collection[str] = ()) -> Fields:
    """A row of CSV or TSV with the values that its columns hold, a blank cell being None; fields in `leave` stay."""
    return {name: cell if name in leave else _value(cell, kinds.get(name)) for name, cell in fields.items()}


def _kinds(cell: str) -> frozenset[Kind]:
    return _AS_BOOLEAN if cell in _BOOLEANS else _AS_NUMBER if plain_number(cell) is not None else _AS_TEXT


def _kinds_with_commas(cell: str) -> frozenset[Kind]:
    kinds = _kinds(cell)
    if _COMMA.fullmatch(cell):
        return kinds | _AS_COMMA
    return kinds | _AS_POINTS if _POINTS.fullmatch(cell) else kinds


_AS_TEXT: frozenset[Kind] = frozenset()
_AS_NUMBER: frozenset[Kind] = frozenset(("number",))
_AS_BOOLEAN: frozenset[Kind] = frozenset(("boolean",))
_AS_POINTS: frozenset[Kind] = frozenset(("thousands points",))
_AS_COMMA: frozenset[Kind] = _AS_POINTS | {"decimal comma"}


def _value(cell: str | None, kind: Kind | None) -> Any:
    bare = (cell or "").strip()
    if not bare:
        return None
    if kind is None:
        return cell
    if bare in NO_VALUES:
        return None
    if kind == "boolean":
        return _BOOLEANS.get(bare, cell)
    if kind in ("decimal comma", "thousands points"):
        bare = bare.replace(".", "").replace(",", ".") if _POINTS.fullmatch(bare) else ""
    number = plain_number(bare)
    return cell if number is None else number
