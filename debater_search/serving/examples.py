"""Filters that work on an index, made from its metadata fields: what an agent learns the language from."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

_MOST = 6
_LONGEST = 80  # characters of a value
_PLAIN_NAME = re.compile(r"[^\W\d][\w.-]*")
_KEYWORDS = {"and", "or", "not", "in", "is", "true", "false", "has", "between", "contains", "like", "missing"}


def filter_examples(fields: Sequence[dict[str, Any]]) -> list[str]:
    """At most six filters; each allows at least one document. `fields` are those of `debater info`, as JSON."""
    single = [example for field in fields for example in _of_field(field)][: _MOST - 1]
    return [*single, " or ".join(single[:2])] if len(single) > 1 else single


def _of_field(field: dict[str, Any]) -> Iterator[str]:
    name = _named(field["name"])
    if name is None:
        return
    if field["type"] == "number":
        yield f"{name} >= {field['max']}"
    elif field["type"] == "date":
        yield f"{name} >= '{field['max']}'"
    elif values := [value for value, _ in field.get("values") or [] if len(str(value)) <= _LONGEST]:
        yield f"{name} = {_spelled(values[0])}"
        if len(values) > 1 and field["type"] == "text":
            yield f"{name} in ({_spelled(values[0])}, {_spelled(values[1])})"


def _named(name: str) -> str | None:
    """A field as a filter spells it; None if it cannot."""
    if _PLAIN_NAME.fullmatch(name) and name.lower() not in _KEYWORDS:
        return name
    return None if "`" in name else f"`{name}`"


def _spelled(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value.replace(chr(39), 2 * chr(39))}'" if isinstance(value, str) else str(value)
