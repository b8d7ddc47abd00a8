"""Texts, documents and queries as callers give them: strings, tuples, objects, tables, and our own types.

One place for all functions that take them. An item whose meaning is not plain raises InvalidError, which names the
argument and the item (`documents[3]`).
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from numbers import Integral
from typing import Any, Protocol

from debater_search.coerce import (
    QUERY_ID_FIELDS,
    QUERY_TEXT_FIELDS,
    TITLE_FIELD,
    filled,
    has_control_character,
    id_text,
    is_missing,
    metadata_of,
)
from debater_search.errors import InvalidError
from debater_search.roles import LOOKED_AT, PLAIN, ColumnChoice, Roles, shown, together
from debater_search.tables import is_table, table_rows
from debater_search.types import Document, Query


class Table(Protocol):
    """A table that other libraries can read through Arrow: of pyarrow, Polars, DuckDB, or pandas from 2.2 on."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The columns as a stream of Arrow's C data interface."""


Id = str | int
GivenDocument = str | Document | tuple[Id, str] | tuple[Id, str, str] | Mapping[str, Any]
"""A text, a Document, (id, text), (id, title, text), or an object with `id`, `text`, perhaps `title`, and metadata."""
GivenDocuments = Iterable[GivenDocument] | Document | Mapping[str, Any] | Table
"""Several documents, a table with a row for each, or a single one."""
GivenQueries = Iterable[str | Query | tuple[Id, str] | Mapping[str, Any]] | Query | Mapping[str, Any] | Table
"""Texts, Query objects, (id, text), objects with a text; one of these, a table of them, or one mapping {id: text}."""


def as_texts(given: Any, argument: str = "texts") -> list[str]:
    """A text or several as a list of strings, as a model reads them: what `as_documents` takes, and queries.

    Ids are not needed. Raises InvalidError, naming the argument and the item, for anything else.
    """
    items = _items(given, argument, "texts")
    return [item if type(item) is str else _text(item, f"{argument}[{n}]") for n, item in enumerate(items)]


def as_documents(given: Any, argument: str = "documents", choice: ColumnChoice | None = None) -> Iterator[Document]:
    """Documents one at a time, from `GivenDocuments`; `choice` decides which fields of objects are what.

    A string gets the id that `id_of_text` makes of it, and comes once however often it is there. All others need ids of
    their own. Raises InvalidError, naming the argument and the item, for what has no id or no text, or is no document.
    """
    if type(given) is tuple and given and all(isinstance(part, str) for part in given):
        raise InvalidError(
            f"{argument} is a tuple of strings, which may be one document or several.",
            "Give a list: [(id, text)] is one document, and [text, text] are two.",
        )
    texts: set[str] = set()
    items, roles = _with_roles(iter(_items(given, argument, "documents")), argument, choice or ColumnChoice())
    for n, item in enumerate(items):
        document = _document(item, f"{argument}[{n}]", roles)
        if isinstance(item, str):
            if document.id in texts:
                continue
            texts.add(document.id)
        yield document


def id_of_text(text: str) -> str:
    """The id of a document that is given as a text alone: 20 hexadecimal digits of its sha256.

    So the same text is the same document in a later call, and another text never takes its place.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def as_queries(given: Any, argument: str = "queries") -> list[Query]:
    """Queries from `GivenQueries`; those without an id are called "0", "1", … by their place.

    Raises InvalidError, naming the argument and the item, for two queries with one id, and for anything else.
    """
    items = _items(_expanded(given), argument, "queries")
    queries = [_query(item, n, f"{argument}[{n}]") for n, item in enumerate(items)]
    seen: set[str] = set()
    for query in queries:
        if query.id in seen:
            raise InvalidError(f"{argument}: the query id {query.id!r} comes twice.", "Give every query its own id.")
        seen.add(query.id)
    return queries


def as_query_texts(given: Any, argument: str = "texts") -> list[str]:
    """The texts of `GivenQueries`, whose ids may be missing or equal. Raises InvalidError, as `as_texts`."""
    return as_texts(_expanded(given), argument)


def as_ids(given: Any, argument: str = "ids") -> list[str]:
    """One id or several; whole numbers become strings. Raises InvalidError, naming the item, for what is no id."""
    if isinstance(given, str | Integral):
        given = [given]
    if isinstance(given, bytes | Mapping) or not isinstance(given, Iterable):
        raise InvalidError(f"{argument} is {_kind(given)}, not a list of ids.", "Give a list of ids.")
    ids = [str(id) if isinstance(id, str) else id_text(id) for id in given]
    if None in ids:
        raise InvalidError(f"{argument}[{ids.index(None)}] is no id.", "An id is a string or a whole number.")
    return [id for id in ids if id is not None]


def _expanded(given: Any) -> Any:
    """One mapping {id: text} as queries; everything else as it is."""
    if isinstance(given, Mapping) and not _has_text(given):
        return [Query(id, text) for id, text in given.items()]
    return given


def _items(given: Any, argument: str, noun: str) -> Iterable[Any]:
    one = isinstance(given, str | Document | Query) or _is_named(given)
    if one or (isinstance(given, Mapping) and _has_text(given)):
        return [given]
    if is_table(given):
        return table_rows(given, argument)
    if isinstance(given, bytes | Mapping) or not isinstance(given, Iterable):
        raise InvalidError(f"{argument} is {_kind(given)}, not a list of {noun}.", f"Give a list of {noun}.")
    return given.to_pylist() if hasattr(given, "to_pylist") else given  # a column of Arrow gives scalars of its own


def _has_text(fields: Mapping[str, Any]) -> bool:
    return any(name in fields for name in QUERY_TEXT_FIELDS)


def _is_named(item: Any) -> bool:
    """Whether an item is a named tuple, as a row of `itertuples` of pandas is, whose first part is a number."""
    return isinstance(item, tuple) and hasattr(item, "_asdict")


def _is_object(item: Any) -> bool:
    """Whether an item has names for its parts, which `ColumnChoice` understands."""
    return isinstance(item, Mapping) or _is_named(item)


def _fields(item: Any) -> Mapping[str, Any] | None:
    """What an item calls its parts: an object by its keys, a named tuple by its names, a plain tuple by its length."""
    if isinstance(item, Mapping):
        return item
    if _is_named(item):
        return dict(item._asdict())
    if not isinstance(item, tuple):
        return None
    names = {2: ("id", "text"), 3: ("id", TITLE_FIELD, "text")}.get(len(item), ())
    return dict(zip(names, item, strict=True)) if names else None


def _text(item: Any, where: str) -> str:
    if isinstance(item, str):  # a subclass, such as numpy's
        return str(item)
    if isinstance(item, Document):
        return f"{_string(item.title, 'title', where, optional=True)} {_string(item.text, 'text', where)}".strip()
    if isinstance(item, Query):
        return _string(item.text, "text", where)
    fields = _fields(item)
    if fields is not None and (name := filled(fields, QUERY_TEXT_FIELDS)) is not None:
        title = _string(fields.get(TITLE_FIELD), TITLE_FIELD, where, optional=True)
        return f"{title} {_string(fields[name], name, where)}".strip()
    raise InvalidError(
        f"{where} is {_kind(item)}, not a text.", "A text is a string, a Document, or an object with a text."
    )


def _with_roles(items: Iterator[Any], argument: str, choice: ColumnChoice) -> tuple[Iterator[Any], Roles]:
    """The items, and which fields are what if they are objects: the first ones decide."""
    head = list(islice(items, 1))
    if not head or not _is_object(head[0]):
        return chain(head, items), PLAIN
    if not choice.is_plain(_fields(head[0]) or {}):
        head += islice(items, LOOKED_AT - 1)
    names = list(dict.fromkeys(name for item in head for name in _fields(item) or {}))
    roles = choice.roles(names, f"{argument}[0]")
    choice.take(roles, names)
    return chain(head, items), roles


def _document(item: Any, where: str, roles: Roles) -> Document:
    if isinstance(item, str):
        return Document(id_of_text(item), str(item))
    fields = _fields(item)
    if isinstance(item, Document):
        fields = {"id": item.id, "text": item.text, "title": item.title, "metadata": item.metadata or {}}
    elif fields is None:
        raise InvalidError(
            f"{where} is {_kind(item)}, not a document.",
            "A document is a text, a Document, (id, text), (id, title, text), or an object with an id and a text.",
        )
    if not _is_object(item):
        roles = PLAIN
    id = _id(fields.get(filled(fields, roles.id) or ""), where)
    where = f"{where} ({id!r})"
    names = roles.texts(fields) or tuple(name for name in roles.text if name in fields)[:1]
    if not names:
        raise InvalidError(f"{where}: there is no text among {shown(fields)}.", "Give it a text.")
    text = together([_string(fields.get(name), name, where, optional=roles.joined) for name in names])
    title_field = next(iter(roles.title), "")
    title = _string(fields.get(title_field), title_field, where, optional=True)
    try:
        used, left = roles.used(fields), (*roles.id, *roles.text)
        return Document(id, text, title, metadata_of(roles.converted(fields), used, left))
    except RecursionError as error:
        raise InvalidError(f"{where}: the metadata is nested too deeply.", "Keep metadata flat.") from error
    except (ValueError, TypeError) as error:
        raise InvalidError(f"{where}: the metadata cannot be stored: {error}.", "Change that key or value.") from error


def _id(value: Any, where: str) -> str:
    """An id of the caller's: a string stays as it is, so that the caller finds it again."""
    id = str(value) if isinstance(value, str) and value.strip() else id_text(value)
    if id is None:
        raise InvalidError(f"{where} has no id.", "Give each one its own id; only plain strings need none.")
    if has_control_character(id):
        raise InvalidError(f"{where}: the id {id!r} holds a control character.", "Give it another id.")
    return id


def _query(item: Any, number: int, where: str) -> Query:
    id: Any = number
    fields = _fields(item)
    if isinstance(item, Query):
        id = item.id
    elif isinstance(item, Document) or (type(item) is tuple and len(item) != 2):
        raise InvalidError(f"{where} is {_kind(item)}, not a query.", "Give a Query, a string, or (id, text).")
    elif fields is not None and (name := filled(fields, QUERY_ID_FIELDS)) is not None:
        id = fields[name]
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
    if type(value) is tuple:
        return f"a tuple of {len(value)}"
    return f"of type {type(value).__name__}"
