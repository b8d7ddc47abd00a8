"""What is wrong with a config: the key, the value that it has, what it may be, and the key that was probably meant."""

import difflib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from debater_search.config.keys import Key, followed, models_in
from debater_search.errors import DebaterError
from debater_search.refusals import demands_of, either, nearest, quoted, refusal_of

_NAMED = 8
"""Settings that a message names where none is like the unknown one."""
_LIMITS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


def explained(
    schema: type[BaseModel],
    errors: list[ErrorDetails],
    path: str | Path | None,
    lines: dict[Key, int],
    given: dict[Key, str],
) -> DebaterError:
    """Pydantic's gravest complaint as a sentence with key and line, and a hint with the nearest key and the others."""
    # an unknown key first: it is often the misspelt name of one that is then missing
    first = min(errors, key=lambda error: error["type"] != "extra_forbidden")
    told = _explained(schema, first, errors, path, lines, given)
    names = [".".join(map(str, _as_written(schema, key, {*lines, *given}))) for key in _keys(schema, [first, *errors])]
    return DebaterError(told.message, f"{told.hint} Also wrong: {_listed(names[1:])}." if names[1:] else told.hint)


def _keys(schema: type[BaseModel], errors: list[ErrorDetails]) -> list[Key]:
    """The settings that errors are about, each once; without missing ones, whose names may be misspelt."""
    first, *others = errors
    told = [first, *(error for error in others if error["type"] != "missing")]
    return list(dict.fromkeys(followed(schema, error["loc"])[0] for error in told))


def _explained(
    schema: type[BaseModel],
    first: ErrorDetails,
    errors: list[ErrorDetails],
    path: str | Path | None,
    lines: dict[Key, int],
    given: dict[Key, str],
) -> DebaterError:
    key, model = followed(schema, first["loc"])
    here = _as_written(schema, key, {*lines, *given})
    name = ".".join(map(str, here))
    where = _where(here, path, lines, given)
    if first["type"] == "extra_forbidden":
        return DebaterError(f"{where}: there is no setting {name}.", _meant(schema, key, model, first["input"]))
    field = _field(schema, key)
    description = (field.description if field is not None else None) or ""
    if first["type"] == "missing":
        return DebaterError(f"{where}: the setting {name} is missing.", f"Add it to the config. {description}".rstrip())
    # a value that may be of several types is refused once for each of them
    of_value = [error for error in errors if followed(schema, error["loc"])[0] == key]
    is_item = key != () and isinstance(key[-1], int)
    optional = field is not None and not is_item and type(None) in get_args(field.annotation)
    said = refusal_of(of_value, name, quoted(first["input"]), optional=optional)
    section = next(models_in(field.annotation), None) if field is not None else None
    hints = [*_mended(first, section), description, *_default_of(first, field)]
    return DebaterError(f"{where}: {said}.", " ".join(filter(None, hints)) or "Correct it in the config.")


def _field(schema: type[BaseModel], key: Key) -> FieldInfo | None:
    """The setting that a key means, of an item of a list the list."""
    while key and isinstance(key[-1], int):
        key = key[:-1]
    _, model = followed(schema, key)
    return model.model_fields.get(str(key[-1])) if model is not None and key else None


def _as_written(schema: type[BaseModel], key: Key, known: set[Key]) -> Key:
    """A key by the short form that the user wrote it in, if that is where it comes from."""
    short = getattr(schema, "short_forms", {}).get(".".join(map(str, key)))
    written = tuple(short.split(".")) if short is not None else key
    return written if written in known and key not in known else key


def _mended(error: ErrorDetails, section: type[BaseModel] | None) -> Iterator[str]:
    """What to write for a value of a wrong type. `section` is the model of the setting, or of its items."""
    value, kind = error["input"], error["type"]
    if kind == "literal_error" and (word := nearest(value, [word.strip("'") for word in demands_of(error)])):
        yield f"Did you mean {word}?"
    if section is not None and kind in ("model_type", "list_type"):
        first = next(iter(section.model_fields))
        is_needed = section.model_fields[first].is_required() and isinstance(value, str)
        item = f"{{{first}: {value if is_needed else '…'}}}"
        yield f"Write {f'[{item}]' if kind == 'list_type' else item}; the settings are {_listed(section.model_fields)}."
    elif kind == "list_type" and isinstance(value, str):
        yield f"Write [{'' if value == 'none' else value}]."


def _default_of(error: ErrorDetails, field: FieldInfo | None) -> Iterator[str]:
    """What a number beyond its limits may be replaced by."""
    is_number = field is not None and type(field.default) in (int, float)
    if field is not None and is_number and error["type"] in _LIMITS:
        yield f"The default is {field.default}."


def _meant(schema: type[BaseModel], key: Key, model: type[BaseModel] | None, value: Any) -> str:
    """A hint with the setting that was probably meant by a key, whose last part names none of `model`."""
    *above, last = map(str, key)
    fields = model.model_fields if model is not None else {}
    if isinstance(value, dict) and value and value.keys() <= schema.model_fields.keys():
        return f"What is below {last} stands at the top level: {next(iter(value))}."
    elsewhere = _elsewhere(schema, last)
    near = getattr(model, "synonyms", {}).get(last.lower()) or nearest(last, fields, 0.8)
    if near is None and elsewhere:
        return f"Did you mean {either(elsewhere)}?"
    near = near or nearest(last, fields, 0.5)
    if near is not None:
        return f"Did you mean {'.'.join([*above, near])}?"
    return f"Known here: {_listed(fields, last)}."


def _elsewhere(schema: type[BaseModel], name: str) -> list[str]:
    """The settings of this name at the top level and in its sections."""
    sections = {
        holder: section for holder, field in schema.model_fields.items() for section in models_in(field.annotation)
        if get_origin(field.annotation) is not list
    }  # fmt: skip
    inside = [f"{holder}.{name}" for holder, section in sections.items() if name in section.model_fields]
    return [name, *inside] if name in schema.model_fields else inside


def _listed(fields: Collection[str], like: str = "") -> str:
    """The names of settings; of many, those that are most like a word, or the first."""
    if len(fields) <= _NAMED:
        return ", ".join(fields)
    shown = difflib.get_close_matches(like, fields, n=_NAMED, cutoff=0) if like else list(fields)[:_NAMED]
    return f"{', '.join(shown)}, and {len(fields) - _NAMED} more"


def _where(key: Key, path: str | Path | None, lines: dict[Key, int], given: dict[Key, str]) -> str:
    """The override of the key or of a part of it, or the line of the file; of a missing key, the line above it."""
    prefixes = [key[:length] for length in range(len(key), 0, -1)]
    for prefix in prefixes:
        typed = tuple(map(str, prefix))
        if typed in given:
            return f"Override {quoted(given[typed])}"
    below = [typed for typed in given if key and typed[: len(key)] == tuple(map(str, key))]
    if below:
        return f"Override {quoted(given[below[-1]])}"
    for prefix in prefixes:
        if prefix in lines:
            return f"{path}, line {lines[prefix]}"
    return str(path) if path is not None else "Settings"
