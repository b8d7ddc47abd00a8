"""What values mean, as our own types: fields, ids and metadata, by one set of rules for files and for callers."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from numbers import Integral, Real
from reprlib import repr as short
from typing import Any

from debater_search.errors import InvalidError

ID_FIELDS = ("_id", "id", "docid")
TEXT_FIELDS = ("text", "contents")
TITLE_FIELD = "title"
QUERY_ID_FIELDS = (*ID_FIELDS, "qid")
QUERY_TEXT_FIELDS = (*TEXT_FIELDS, "query")

_FORBIDDEN_IN_IDS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?")
_EXACT_FLOAT = 1 << 53
_LONGEST_INTEGER = 10_000  # bits; Python writes no numbers of more than 4,300 digits
_PANDAS_MISSING = ("NAType", "NaTType")


def require_whole(value: Any, argument: str, least: int | None = None) -> None:
    """Raise InvalidError for a setting that is no whole number, or one below `least`; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InvalidError(f"`{argument}` is {short(value)}, not a whole number.", "Give a whole number, 1 or more.")
    if least is not None and value < least:
        raise InvalidError(f"`{argument}` must be {least} or more, not {value}.")


def require_names(value: Any, argument: str) -> None:
    """Raise InvalidError for what is no list of names of fields."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(name, str) for name in value):
        raise InvalidError(f"`{argument}` is {short(value)}, not a list of fields.", 'Give a list, such as ["year"].')


def plain_number(text: str) -> int | float | None:
    """The number that a text is as JSON writes one; None for any other text, such as one with a leading zero."""
    if _PLAIN_NUMBER.fullmatch(text) is None:
        return None
    if text.lstrip("-").isdigit():
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else None


def is_missing(value: Any) -> bool:
    """Whether a value stands for no value: None, NaN, and the missing values of pandas."""
    if value is None:
        return True
    if isinstance(value, Real | Decimal):
        return not isinstance(value, Integral) and math.isnan(value)
    return type(value).__name__ in _PANDAS_MISSING


def _is_blank(value: Any) -> bool:
    return not value.strip() if isinstance(value, str) else is_missing(value)


def filled(fields: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The first of `names` that has a value in `fields`; blanks are no value. If none has one, the first present."""
    found = None
    for name in names:  # a loop: this is called several times for each of millions of rows
        if name in fields:
            if not _is_blank(fields[name]):
                return name
            found = found or name
    return found


def id_text(value: Any) -> str | None:
    """An id as a string: 7 and 7.0 are "7", a string is itself without the blanks around it; None if it is no id."""
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool) or is_missing(value) or not isinstance(value, Real | Decimal):
        return None
    if isinstance(value, Integral):
        return str(int(value))
    if not math.isfinite(value):
        return None
    number = float(value)
    return str(int(number)) if number.is_integer() and abs(number) < _EXACT_FLOAT else str(value)


def whole_id(id: str) -> str:
    """An id as files write it: "7.0" is "7", because a column of numbers with gaps is written as 7.0 (pandas)."""
    found = _WHOLE.fullmatch(id) if id.endswith("0") else None
    return found[1] if found else id


def has_control_character(id: str) -> bool:
    """Whether an id holds a control character or a line end, which would forge a line of a run or a terminal's text."""
    return _FORBIDDEN_IN_IDS.search(id) is not None


def without_nul(text: str) -> str:
    """The text without NUL characters, at which other programs stop reading."""
    return text.replace("\0", "") if "\0" in text else text


def plain(value: Any) -> Any:
    """Metadata as JSON can hold it: numbers and booleans stay what they are, dates become ISO 8601, NaN becomes null.

    Raises ValueError if two keys of an object become equal as strings or an integer is too long for JSON, and
    RecursionError for endless nesting.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if value.bit_length() > _LONGEST_INTEGER:
            raise ValueError("a number has too many digits")
        return value
    if isinstance(value, str):
        return without_nul(value)
    if is_missing(value):
        return None
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return int(value) if abs(value) < _EXACT_FLOAT else float(value)
    if isinstance(value, Real | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, date | time):  # a datetime is a date
        return value.isoformat()
    if isinstance(value, bytes):
        return without_nul(value.decode("utf-8", "backslashreplace"))
    if isinstance(value, Mapping):
        items = {str(key): plain(item) for key, item in value.items()}
        if len(items) < len(value):
            raise ValueError("two keys are equal as strings")
        return items
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):  # arrays and scalars of numpy
        return plain(value.tolist())
    return str(value)


def metadata_of(
    fields: Mapping[str, Any], used: Collection[str | None], left: Sequence[str] = (*ID_FIELDS, *TEXT_FIELDS)
) -> dict[str, Any]:
    """All of a row but the fields `used` for its id, title and text; a nested `metadata` (BEIR) is merged.

    The row's own fields win over merged ones. Fields in `left`, names of ids and texts, go too if they have no value.
    Raises as `plain` does.
    """
    gone = {*used, *(name for name in left if name in fields and _is_blank(fields[name]))}
    rest = {name: value for name, value in fields.items() if name not in gone}
    if isinstance(rest.get("metadata"), Mapping):
        rest = {**rest.pop("metadata"), **rest}
    return dict(plain(rest)) if rest else rest
