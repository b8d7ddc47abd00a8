"""What callers and files give, as our own types: ids, metadata, texts, documents and queries.

One set of rules for the readers of files and for the Python API. A value whose meaning is not plain raises
InvalidError that names the argument and the item (`documents[3]`).
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from debater_search.errors import InvalidError
from debater_search.types import Document, Query

ID_FIELDS = ("_id", "id", "docid")
TEXT_FIELDS = ("text", "contents")
TITLE_FIELD = "title"
QUERY_ID_FIELDS = (*ID_FIELDS, "qid")
QUERY_TEXT_FIELDS = (*TEXT_FIELDS, "query")

_FORBIDDEN_IN_IDS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")
_EXACT_FLOAT = 1 << 53
_LONGEST_INTEGER = 10_000  # bits; Python writes no numbers of more than 4,300 digits
_PANDAS_MISSING = ("NAType", "NaTType")


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


def metadata_of(fields: Mapping[str, Any], id_field: str | None, text_field: str | None) -> dict[str, Any]:
    """All of a row but its id, title and text; a nested `metadata` (BEIR) is merged, the row's own fields win.

    Names of ids and texts without a value are left out too. Raises as `plain` does.
    """
    used = {id_field, text_field, TITLE_FIELD}
    used.update(name for name in (*ID_FIELDS, *TEXT_FIELDS) if name in fields and _is_blank(fields[name]))
    rest = {name: value for name, value in fields.items() if name not in used}
    if isinstance(rest.get("metadata"), Mapping):
        rest = {**rest.pop("metadata"), **rest}
    return dict(plain(rest)) if rest else rest


def as_texts(given: Any, argument: str = "texts") -> list[str]:
    """A text or several as a list of strings, as a model reads them.

    A text is a string, a Document, a Query, an object with `text` and perhaps `title`, or a tuple of title and text.
    Raises InvalidError, naming the argument, for anything else.
    """
    items = _items(given, argument, "texts")
    return [item if type(item) is str else _text(item, f"{argument}[{n}]") for n, item in enumerate(items)]


def as_documents(given: Any, argument: str = "documents") -> Iterator[Document]:
    """Documents one at a time: Documents, or objects with an id and a text (`title` and more are optional).

    Raises InvalidError, naming the argument, for what has no id or no text, or is neither.
    """
    for n, item in enumerate(_items(given, argument, "documents")):
        yield _document(item, f"{argument}[{n}]")


def as_queries(given: Any, argument: str = "queries") -> list[Query]:
    """Queries: Query objects, strings (their ids are "0", "1", …), objects with a text, or one mapping of ids to texts.

    Raises InvalidError, naming the argument, for two queries with one id, and for anything else.
    """
    if isinstance(given, Mapping) and filled(given, QUERY_TEXT_FIELDS) is None:
        given = [Query(id, text) for id, text in given.items()]
    queries = [_query(item, n, f"{argument}[{n}]") for n, item in enumerate(_items(given, argument, "queries"))]
    seen: set[str] = set()
    for query in queries:
        if query.id in seen:
            raise InvalidError(f"{argument}: the query id {query.id!r} comes twice.", "Give every query its own id.")
        seen.add(query.id)
    return queries


def _items(given: Any, argument: str, noun: str) -> Iterable[Any]:
    if isinstance(given, str | Document | Query) or (isinstance(given, Mapping) and _has_text(given)):
        return [given]
    if isinstance(given, bytes | Mapping) or hasattr(given, "columns") or not isinstance(given, Iterable):
        raise InvalidError(f"{argument} is {_kind(given)}, not a list of {noun}.", f"Give a list of {noun}.")
    return given


def _has_text(fields: Mapping[str, Any]) -> bool:
    return any(name in fields for name in QUERY_TEXT_FIELDS)


def _text(item: Any, where: str) -> str:
    if isinstance(item, str):  # a subclass, such as numpy's
        return str(item)
    if isinstance(item, Document):
        return f"{_string(item.title, 'title', where, optional=True)} {_string(item.text, 'text', where)}".strip()
    if isinstance(item, Query):
        return _string(item.text, "text", where)
    if isinstance(item, Mapping) and (name := filled(item, QUERY_TEXT_FIELDS)) is not None:
        title = _string(item.get(TITLE_FIELD), TITLE_FIELD, where, optional=True)
        return f"{title} {_string(item[name], name, where)}".strip()
    if isinstance(item, tuple) and len(item) == 2:
        return f"{_string(item[0], TITLE_FIELD, where, optional=True)} {_string(item[1], 'text', where)}".strip()
    raise InvalidError(
        f"{where} is {_kind(item)}, not a text.", "A text is a string, a Document, or an object with a text."
    )


def _document(item: Any, where: str) -> Document:
    fields = item
    if isinstance(item, Document):
        fields = {"id": item.id, "text": item.text, "title": item.title, "metadata": item.metadata or {}}
    elif not isinstance(item, Mapping):
        raise InvalidError(
            f"{where} is {_kind(item)}, not a document.", "Give a Document, or an object with an id and a text."
        )
    id_field, text_field = filled(fields, ID_FIELDS), filled(fields, TEXT_FIELDS) or "text"
    id = _id(fields.get(id_field or ""), where)
    where = f"{where} ({id!r})"
    text = _string(fields.get(text_field), text_field, where)
    title = _string(fields.get(TITLE_FIELD), TITLE_FIELD, where, optional=True)
    try:
        return Document(id, text, title, metadata_of(fields, id_field, text_field))
    except RecursionError as error:
        raise InvalidError(f"{where}: the metadata is nested too deeply.", "Keep metadata flat.") from error
    except (ValueError, TypeError) as error:
        raise InvalidError(f"{where}: the metadata cannot be stored: {error}.", "Change that key or value.") from error


def _id(value: Any, where: str) -> str:
    """An id of the caller's: a string stays as it is, so that the caller finds it again."""
    id = str(value) if isinstance(value, str) and value.strip() else id_text(value)
    if id is None:
        raise InvalidError(f"{where} has no id.", "Give each one its own id.")
    if has_control_character(id):
        raise InvalidError(f"{where}: the id {id!r} holds a control character.", "Give it another id.")
    return id


def _query(item: Any, number: int, where: str) -> Query:
    id: Any = number
    if isinstance(item, Query):
        id = item.id
    elif isinstance(item, Mapping) and (name := filled(item, QUERY_ID_FIELDS)) is not None:
        id = item[name]
    elif isinstance(item, tuple | Document):
        raise InvalidError(f"{where} is {_kind(item)}, not a query.", "Give a Query, or a string.")
    return Query(_id(id, where), _text(item, where))


def _string(value: Any, name: str, where: str, *, optional: bool = False) -> str:
    if isinstance(value, str):
        return str(value)
    if optional and is_missing(value):
        return ""
    raise InvalidError(f"{where}: the {name} is {_kind(value)}, not a string.", "Give it a string.")


def _kind(value: Any) -> str:
    """How messages call a value that is of a wrong type."""
    if value is None:
        return "None"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return f"of type {type(value).__name__}"
