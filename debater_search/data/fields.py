"""Ids and texts out of a row's fields, by the same rules for documents and queries."""

from collections.abc import Collection, Mapping, Sequence
from numbers import Real
from typing import Any

from debater_search.coerce import filled, has_control_character, id_text, is_missing, whole_id
from debater_search.data.rows import Fields
from debater_search.errors import InvalidError
from debater_search.roles import shown


def present(fields: Collection[str], names: Sequence[str]) -> str | None:
    """The first of `names` that the row has."""
    for name in names:  # a loop: this is called several times for each of millions of rows
        if name in fields:
            return name
    return None


def read_id_and_text(fields: Fields, ids: Sequence[str], texts: Sequence[str], where: str) -> tuple[str, str]:
    """The row's id and text, each of the first of its names that has a value; 7 and 7.0 are "7".

    A text of null or NaN is empty. Raises InvalidError if no field has an id or none is a text, naming both where both
    are missing, and for an id with a control character.
    """
    id_name, text_name = filled(fields, ids), filled(fields, texts)
    value = id_text(fields[id_name]) if id_name else None
    if value is None or text_name is None:
        absent = {"id": value is None, "text": text_name is None}
        raise missing({"id": ids, "text": texts}, [name for name in absent if absent[name]], fields, where)
    value = whole_id(value)
    if has_control_character(value):
        raise InvalidError(f"{where}: the id {value!r} holds a control character.", "Give it another id.")
    return value, as_text(fields[text_name], text_name, where)


def as_text(value: Any, name: str, where: str) -> str:
    """The value of field `name` as a string; raises InvalidError if it is neither string, number nor missing."""
    if isinstance(value, str):
        return value
    if is_missing(value):
        return ""
    if isinstance(value, Real) and not isinstance(value, bool):
        return str(value)
    raise InvalidError(f"{where}: the field {name} is not a string but a {type(value).__name__}.", "Make it a string.")


def missing(needed: Mapping[str, Sequence[str]], absent: Sequence[str], fields: Fields, where: str) -> InvalidError:
    """The error for a row in which the values `absent` are missing.

    `needed` says in which fields each value that a row must have is looked for. Where the row has none of those fields,
    the hint lists the fields it has, which shows what to rename.
    """
    wanted = " and ".join(f"{_with_article(name)} ({_alternatives(names)})" for name, names in needed.items())
    hint = f"Every row needs {wanted}"
    if fields and any(present(fields, needed[name]) is None for name in absent):
        hint += f"; this one has {shown(fields)}"
    return InvalidError(f"{where}: there is no {' and no '.join(absent)}.", f"{hint}.")


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _alternatives(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
