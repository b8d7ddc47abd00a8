"""The documents that a filter allows: by the table of fields, or by reading every document's metadata without one."""

import json
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from functools import reduce

import numpy as np

from debater_search.errors import MissingError
from debater_search.filters import Comparison, Filter, Junction, Missing, Not, Value, fields_of, leaves_of
from debater_search.roles import LISTS
from debater_search.store.comparisons import COLUMNS, Test, is_negative, tests_of
from debater_search.store.dates import iso_of, looks_like_date
from debater_search.store.documents import DocumentStore
from debater_search.store.nearest import nearest_value
from debater_search.store.units import number_in
from debater_search.store.values import FieldRow, Type, all_rows_of, holders_of, number_of, span_of, text_rows

_FIELDS_SHOWN = 20  # in a message
_SHOWN = 40  # characters of a value
_ORDERS = ("<", "<=", ">", ">=", "between")

_Predicate = Callable[[Iterable[FieldRow]], bool]
_KINDS = {
    "number": "numbers",
    "boolean": "booleans",
    "date": "dates",
    "text": "texts",
    "object": "objects",
}
_TEXTS = {"text", "spelled number"}
_EQUAL_AS_TEXT = {"text", "date text", "number", "boolean"}  # a column holds neither numbers nor booleans


class UnknownFieldError(MissingError):
    """No document has a field that a filter or a facet names."""

    def __init__(self, field: str, known: list[str]) -> None:
        """`known` are the fields that there are, in the order in which the message names them."""
        by_lower = {name.lower(): name for name in reversed(known)}
        near = get_close_matches(field.lower(), by_lower, 1)
        nearest = f"Did you mean {by_lower[near[0]]}? " if near else ""
        more = ", …" if len(known) > _FIELDS_SHOWN else ""
        fields = f"Fields: {', '.join(known[:_FIELDS_SHOWN])}{more}." if known else "The documents have no fields."
        self.field = field
        super().__init__(f"No document has a field {field!r}.", nearest + fields)


def require_fields(tree: Filter, documents: DocumentStore) -> None:
    """Raise UnknownFieldError, naming the fields that exist, if no document has one of the filter's fields."""
    for field in fields_of(tree):
        if field not in COLUMNS and not documents.has_field(field):
            raise UnknownFieldError(field, [*COLUMNS, *documents.fields()])


def allowed(tree: Filter, documents: DocumentStore) -> np.ndarray:
    """The positions of the documents that a filter allows, int64, ascending.

    Raises:
        TypeError: the tree holds an operator that filters do not have.

    """
    with documents.reading():
        if not documents.has_field_table:
            return _where(tree, documents)
        return np.flatnonzero(_allowed(tree, documents))


def predicate(tree: Filter) -> _Predicate:
    """The filter as a function of a document's rows, those of its id and title included."""
    match tree:
        case Comparison(field, operator):
            tests = {test.type: test for test in tests_of(tree)}
            negative = is_negative(operator)

            def compares(rows: Iterable[FieldRow]) -> bool:
                own = [(type, value) for key, type, value in rows if key == field and type != "missing"]
                passes = any(type in tests and tests[type].holds(value) for type, value in own)
                return bool(own) and passes is not negative

            return compares
        case Missing(field):
            return lambda rows: all(key != field or type == "missing" for key, type, _ in rows)
        case Not(operand):
            refused = predicate(operand)
            return lambda rows: not refused(rows)
        case Junction(word, operands):
            parts, join = [predicate(operand) for operand in operands], all if word == "and" else any
            return lambda rows: join(part(rows) for part in parts)
    raise TypeError(f"{tree} is not a filter")


def _allowed(tree: Filter, documents: DocumentStore) -> np.ndarray:
    """Whether each position is allowed, bool [end]."""
    match tree:
        case Comparison(field) | Missing(field) if field in COLUMNS:
            return _marked(documents, _by_column(tree, documents))
        case Comparison(field, operator):
            passed = _passed(tree, documents)
            return _present(field, documents) & ~passed if is_negative(operator) else passed
        case Missing(field):
            return _live(documents) & ~_present(field, documents)
        case Not(Missing(field)) if field not in COLUMNS:
            return _present(field, documents)
        case Not(operand):
            return _live(documents) & ~_allowed(operand, documents)
        case Junction(word, operands):
            join = np.logical_and if word == "and" else np.logical_or
            return reduce(join, (_allowed(operand, documents) for operand in operands))
    raise TypeError(f"{tree} is not a filter")


def _live(documents: DocumentStore) -> np.ndarray:
    return _marked(documents, documents.live_positions())


def _marked(documents: DocumentStore, *parts: np.ndarray) -> np.ndarray:
    """Whether each position is in one of the parts, bool [end]."""
    marked = np.zeros(documents.end, bool)
    for positions in parts:
        marked[positions] = True
    return marked


def _passed(comparison: Comparison, documents: DocumentStore) -> np.ndarray:
    """Whether the document at each position has a value that passes one of the comparison's tests."""
    found: list[np.ndarray] = []
    for test in tests_of(comparison):
        where = "FROM fields WHERE key = ? AND type = ?"
        if (accepts := test.accepts) is not None:
            rows = documents.field_rows(f"SELECT DISTINCT value {where}", comparison.field, test.type)
            test = Test(test.type, values=frozenset(value for (value,) in rows if accepts(value)))
        for condition, values in test.conditions():
            sql = f"SELECT position {where} AND {condition}"
            found.append(documents.position_array(sql, comparison.field, test.type, *values))
    positive = Comparison(comparison.field, "in", comparison.values) if is_negative(comparison.operator) else comparison
    found.append(_among_long(positive, documents))
    return _marked(documents, *found)


def _present(field: str, documents: DocumentStore) -> np.ndarray:
    """Whether the field has a value in the document at each position."""
    sql = "SELECT position FROM fields WHERE key = ? AND type <> 'missing'"
    return _marked(documents, documents.position_array(sql, field), _among_long(Not(Missing(field)), documents))


def _among_long(tree: Filter, documents: DocumentStore) -> np.ndarray:
    """The documents that a filter of one field allows, of those in which it, or what it lies in, is long."""
    sql = "SELECT position FROM fields WHERE key IN (SELECT value FROM json_each(?)) AND type = 'long'"
    positions = documents.position_array(sql, json.dumps(holders_of(fields_of(tree))))
    return _where(tree, documents, positions) if len(positions) else positions


def _by_column(leaf: Comparison | Missing, documents: DocumentStore) -> np.ndarray:
    """The documents that a comparison of their id or title allows."""
    if isinstance(leaf, Comparison) and leaf.operator in ("=", "in"):
        tests = tests_of(leaf)
        if {test.type for test in tests} <= _EQUAL_AS_TEXT:
            texts = [str(value) for test in tests if test.type == "text" for value in test.values or ()]
            values = [text for text in texts if text.strip()]  # a blank is missing
            sql = f"SELECT position FROM documents WHERE {leaf.field} IN (SELECT value FROM json_each(?))"
            return documents.position_array(sql, json.dumps(values))
    return _where(leaf, documents)


def _where(tree: Filter, documents: DocumentStore, positions: np.ndarray | None = None) -> np.ndarray:
    """The documents, of these or of all, that a filter allows as they are stored."""
    allows, fields = predicate(tree), fields_of(tree)
    keys = set(holders_of(fields)) - set(COLUMNS)
    found = []
    for position, id, title, metadata in documents.described(positions):
        rows = all_rows_of(metadata, keys) if keys else []
        for name, value in (("id", id), ("title", title)):
            rows += text_rows(name, value) if name in fields else ()
        if allows(rows):
            found.append(position)
    return np.array(found, np.int64)


def never_true(tree: Filter, documents: DocumentStore) -> Iterator[str]:
    """A sentence for each comparison that no value of its field passes, by its kind or, of an equal text, by a slip.

    So is each value that is no date or has a unit, and is compared with dates or numbers.

    Nothing is said without the table of fields.
    """
    if not documents.has_field_table:
        return
    for leaf in dict.fromkeys(leaves_of(tree)):
        if isinstance(leaf, Comparison):
            tested = {test.type for test in tests_of(leaf)}
            types = _column_types(leaf.field, tested, documents) or documents.types_of(leaf.field)
            cure = _date_cure(leaf, types) or _number_cure(leaf, types)
            if types and not types & {"long", *tested}:
                kinds = " and ".join(dict.fromkeys(kind for type, kind in _KINDS.items() if type in types))
                effect = "excludes no document that has the field" if is_negative(leaf.operator) else "is never true"
                said = f"The field {leaf.field!r} holds {kinds}, so that `{_written(leaf)}` {effect}."
                yield f"{said} {cure}".rstrip()
            elif cure:
                yield f"In `{_written(leaf)}`, {cure}"
            elif leaf.operator == "=" and types <= _TEXTS and leaf.field not in COLUMNS:
                yield from _slip(leaf, documents)


def _no_dates(leaf: Comparison, types: set[str]) -> list[Value]:
    """The values that a field of dates is compared with and that are no dates; none where they may be meant as texts.

    Where a field has texts, too, only what looks like a date is meant as one; where it has numbers, a number is not.
    """
    if "date" not in types or leaf.operator in ("contains", "like"):
        return []
    wrong = [value for value in leaf.values if not isinstance(value, bool) and span_of(str(value)) is None]
    if "text" in types:
        return [value for value in wrong if leaf.operator in _ORDERS and looks_like_date(str(value))]
    if "number" in types:
        return [value for value in wrong if number_of(str(value)) is None]
    return wrong


def _date_cure(leaf: Comparison, types: set[str]) -> str:
    """What to write instead of values that are no dates; nothing if all are."""
    if not (wrong := _no_dates(leaf, types)):
        return ""
    value = wrong[0]
    shown = repr(value) if len(repr(value)) <= _SHOWN else f"{repr(value)[:_SHOWN]}…"
    iso = iso_of(str(value))
    return f"{shown} is no date; write " + (f"{iso!r}." if iso else "dates as '2024-12-31' or '2024-12'.")


def _number_cure(leaf: Comparison, types: set[str]) -> str:
    """What to write instead of a number with a unit, where a field of numbers is compared with it; else nothing.

    Where numbers are spelled as texts, an equal text may be meant.
    """
    texts_are_meant = leaf.operator in ("contains", "like") or ("text" in types and leaf.operator not in _ORDERS)
    if leaf.field not in COLUMNS and types & {"number", "spelled number"} and not texts_are_meant:
        for value in leaf.values:
            if isinstance(value, str) and (number := number_in(value)) is not None:
                return f"{value!r} is no number; write {number}."
    return ""


def _slip(leaf: Comparison, documents: DocumentStore) -> Iterator[str]:
    """A sentence if no document has the text of a comparison, but one like it."""
    [value] = leaf.values
    if isinstance(value, str) and (near := nearest_value(leaf.field, value, documents)) is not None:
        yield f"No document has `{_written(leaf)}`; nearest value: {near!r}.{_as_list(leaf.field, value, near)}"


def _as_list(field: str, value: str, text: str) -> str:
    """What to do if a text seems to be a list with this element."""
    for role, separators in LISTS.items():
        for separator in separators:
            elements = [element.strip().casefold() for element in text.split(separator)]
            if len(elements) > 1 and value.casefold() in elements:
                return f" To compare the elements of such texts, index them with `columns` {role}={field}."
    return ""


def _column_types(field: str, tested: set[Type], documents: DocumentStore) -> set[str]:
    """The types of a column's values, those that are `tested` for being all that matters; none for other fields."""
    if field not in COLUMNS:
        return set()
    if "text" in tested:
        return {"text"}
    values = (text for (text,) in documents.field_rows(f"SELECT {field} FROM documents"))
    return {"text"} | next((tested & types for text in values if (types := _types(field, text)) & tested), set())


def _types(field: str, text: str) -> set[Type]:
    return {type for _, type, _ in text_rows(field, text)}


def _written(leaf: Comparison) -> str:
    """A comparison as a person would write it, shortened."""
    values = [str(value).lower() if isinstance(value, bool) else repr(value) for value in leaf.values[:3]]
    values = [value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…" for value in values]
    if leaf.operator == "between":
        return f"{leaf.field} between {' and '.join(values)}"
    if leaf.operator in ("in", "not in"):
        return f"{leaf.field} {leaf.operator} ({', '.join(values)}{', …' if len(leaf.values) > 3 else ''})"
    return f"{leaf.field} {leaf.operator} {values[0]}"
