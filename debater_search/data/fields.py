"""Ids and texts out of a row's fields, by the same rules for documents and queries."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

from debater_search.coerce import filled, has_control_character, id_text, is_missing, whole_id
from debater_search.data.rows import Fields
from debater_search.errors import InvalidError

_SHOWN, _CHARACTERS = 10, 40  # fields of a row in a hint, and characters of each


def present(fields: Fields, names: Sequence[str]) -> str | None:
    """The first of `names` that the row has."""
    for name in names:  # a loop: this is called several times for each of millions of rows
        if name in fields:
            return name
    return None


def read_id(fields: Fields, names: Sequence[str], where: str) -> str:
    """The row's id as a string: of the first of `names` that has a value; 7 and 7.0 are "7".

    Raises InvalidError if no field has an id, and for an id with a control character.
    """
    name = filled(fields, names)
    value = id_text(fields[name]) if name else None
    if value is None:
        raise InvalidError(f"{where}: there is no id.", _needed(names, fields))
    value = whole_id(value)
    if has_control_character(value):
        raise InvalidError(f"{where}: the id {value!r} holds a control character.", "Give it another id.")
    return value


def read_text(fields: Fields, names: Sequence[str], where: str) -> str:
    """The row's text: of the first of `names` that has a value; null and NaN are empty, a number becomes a string.

    Raises InvalidError if the row has none of the fields.
    """
    name = filled(fields, names)
    if name is None:
        raise InvalidError(f"{where}: there is no text.", _needed(names, fields))
    return as_text(fields[name], name, where)


def as_text(value: Any, name: str, where: str) -> str:
    """The value of field `name` as a string; raises InvalidError if it is neither string, number nor missing."""
    if isinstance(value, str):
        return value
    if is_missing(value):
        return ""
    if isinstance(value, Real) and not isinstance(value, bool):
        return str(value)
    raise InvalidError(f"{where}: the field {name} is not a string but a {type(value).__name__}.", "Make it a string.")


def _needed(names: Sequence[str], fields: Fields) -> str:
    """The hint where none of `names` has a value; what the row has shows which column is to be renamed."""
    needed = f"Every row needs one of the fields {' or '.join(names)}"
    if not fields or present(fields, names) is not None:
        return f"{needed}."
    shown = ", ".join(str(name)[:_CHARACTERS] for name in list(fields)[:_SHOWN])
    return f"{needed}; this one has {shown}{', …' if len(fields) > _SHOWN else ''}."
