"""Ids, texts and metadata out of a row's fields, by the same rules for documents and queries."""

import math
from collections.abc import Sequence
from typing import Any

from debater_search.data.rows import Fields
from debater_search.errors import DebaterError

ID_FIELDS = ("_id", "id", "docid")
TEXT_FIELDS = ("text", "contents")
TITLE_FIELD = "title"


def present(fields: Fields, names: Sequence[str]) -> str | None:
    """The first of `names` that the row has."""
    for name in names:  # a loop: this is called several times for each of millions of rows
        if name in fields:
            return name
    return None


def read_id(fields: Fields, names: Sequence[str], where: str) -> str:
    """The row's id as a string; numbers become strings. Raises DebaterError if there is none."""
    name = present(fields, names)
    value = fields[name] if name else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise DebaterError(f"{where}: there is no id.", f"Every row needs one of the fields {_listed(names)}.")
    value = value.strip()
    if any(ord(character) < 32 for character in value):
        raise DebaterError(f"{where}: the id {value!r} holds a control character.", "Give it another id.")
    return value


def read_text(fields: Fields, names: Sequence[str], where: str) -> str:
    """The row's text; null is empty, a number becomes a string. Raises DebaterError if there is none."""
    name = present(fields, names)
    if name is None:
        raise DebaterError(f"{where}: there is no text.", f"Every row needs one of the fields {_listed(names)}.")
    return as_text(fields[name], name, where)


def as_text(value: Any, name: str, where: str) -> str:
    """The value of field `name` as a string; raises DebaterError if it is neither string, number nor null."""
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise DebaterError(
            f"{where}: the field {name} is not a string but a {type(value).__name__}.", "Make it a string."
        )
    return value


def without_nul(text: str) -> str:
    """The text without NUL characters, at which other programs stop reading."""
    return text.replace("\0", "") if "\0" in text else text


def plain(value: Any) -> Any:
    """Metadata as JSON can hold it: dates and the like become strings, numbers that are none become null."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return without_nul(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value)


def _listed(names: Sequence[str]) -> str:
    return " or ".join(names)
