"""What pydantic refuses, in our sentences: for configs, overrides, key files, manifests and bodies of requests."""

import difflib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from pydantic_core import ErrorDetails

Context = Mapping[str, Any]

LONGEST = 60
"""Characters of a value that a message quotes."""

_TEXT, _WHOLE, _NUMBER, _LIST = "text", "a whole number", "a number", "a list"
_MAPPING, _TIME = "a mapping of names to values", "a date and time with its zone, such as 2026-01-31T12:00:00Z"

_DEMANDS: dict[str, str | Callable[[Context], str]] = {
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": _TEXT,
    "string_unicode": "text in UTF-8",
    "none_required": "null",
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "timezone_aware": _TIME,
    "greater_than": lambda context: f"above {_number(context['gt'])}",
    "greater_than_equal": lambda context: f"at least {_number(context['ge'])}",
    "less_than": lambda context: f"below {_number(context['lt'])}",
    "less_than_equal": lambda context: f"at most {_number(context['le'])}",
    "too_short": lambda context: f"a list of at least {_counted(context['min_length'], 'item')}",
    "too_long": lambda context: f"a list of at most {_counted(context['max_length'], 'item')}",
    "string_too_short": lambda context: f"text of at least {_counted(context['min_length'], 'character')}",
    "string_too_long": lambda context: f"text of at most {_counted(context['max_length'], 'character')}",
    "string_pattern_mismatch": lambda context: f"text of the form {context['pattern']}",
}
"""Type of an error → what the value must be."""


_OTHER_NAMES = {
    "top_k": "k", "top_n": "k", "limit": "k", "size": "k", "n_results": "k", "max_results": "k", "num_results": "k",
    "filter": "where", "filters": "where", "q": "query", "collection": "index", "doc_id": "id", "document_id": "id",
}  # fmt: skip
"""What other search engines call an argument."""


def refusal(error: ErrorDetails, name: str = "", value: str = "") -> str:
    """One error as a sentence without its full stop, which names the place and, if `value` is given, quotes it."""
    return refusal_of([error], name, value)


def refusal_of(errors: Iterable[ErrorDetails], name: str, value: str = "", *, optional: bool = False) -> str:
    """The errors of one value, one for each type that it may have, as one sentence without its full stop.

    `optional` says that the value may be null, too.
    """
    errors = list(errors)
    place = name or "The value"
    if errors[0]["type"] == "missing":
        return f"{place} is missing"
    if errors[0]["type"] == "extra_forbidden":
        return f"{place} is unknown"
    if errors[0]["type"] == "json_invalid":
        return f"{place} is not JSON"
    if own := next((sentence for error in errors if (sentence := _own(error)) is not None), None):
        return f"{name}: {own}" if name else own
    demands = list(dict.fromkeys([word for error in errors for word in demands_of(error)] + ["null"] * optional))
    return f"{place} is {value}, but it must be {either(demands)}" if value else f"{place} must be {either(demands)}"


def demands_of(error: ErrorDetails) -> list[str]:
    """What a value must be, as it follows "must be": one demand, or the words of which it must be one."""
    if error["type"] in ("literal_error", "enum"):
        return re.findall(r"'[^']*'|\w+", error["ctx"]["expected"].replace("False", "false").replace(" or ", ", "))
    known = _DEMANDS.get(error["type"])
    if known is None:  # a type that no model of ours has met yet
        return [error["msg"].removeprefix("Input should be ").rstrip(".")]
    return [known if isinstance(known, str) else known(error.get("ctx", {}))]


def dotted(place: Iterable[str | int]) -> str:
    """Where an error is, as `a.0.b`."""
    return ".".join(map(str, place))


def quoted(value: Any) -> str:
    """A value as a config would write it, shortened."""
    try:
        text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:
        text = "a number of thousands of digits" if isinstance(value, int) else "a list that holds itself"
    except (TypeError, RecursionError):
        text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}…"


def nearest(given: Any, known: Collection[str], cutoff: float = 0.6) -> str | None:
    """The one of the `known` names that is most like the given one; None if none is."""
    word = str(given).lower()
    by_case = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word, by_case, n=1, cutoff=cutoff)
    near = near or [name for name in by_case if len(word) > 2 and word in name.split("_")]
    return by_case[near[0]] if near else None


def meant(name: str, fields: Collection[str]) -> str | None:
    """The one of the `fields` that an unknown name stands for, if that can be guessed."""
    other = _OTHER_NAMES.get(name)
    return other if other in fields else nearest(name, fields)


def either(words: Iterable[str]) -> str:
    """`a, b or c`."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _own(error: ErrorDetails) -> str | None:
    """The sentence of one of our validators."""
    raised = (error.get("ctx") or {}).get("error")
    return str(raised).rstrip(".") if isinstance(raised, ValueError | AssertionError) else None


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _number(limit: float) -> str:
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:g}"
