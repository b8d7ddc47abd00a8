"""Filters as SQL conditions on rows of `documents`."""

import json
from collections.abc import Sequence

from debater_search.filters import Comparison, Filter, Junction, Missing, Not, Value
from debater_search.store.documents import Condition

COLUMNS = {"id": "documents.id", "title": "documents.title"}
"""Fields that are no metadata, and the columns that hold them."""

_PRESENT = Condition("field.type <> 'null'")
# The CAST lets SQLite compare with a string as with a number if it is one; other strings sort after every number.
_IS_NUMBER = "field.type IN ('integer', 'real', 'text') AND field.value <= CAST(9e999 AS NUMERIC)"


def as_condition(tree: Filter) -> Condition:
    """The SQL condition that is true for the documents that a filter allows.

    Raises:
        TypeError: the tree holds an operator that filters do not have.

    """
    match tree:
        case Comparison(field, "=" | "in", values):
            return _field_where(field, _equal_to_any(values))
        case Comparison(field, "!=" | "not in", values):
            return _field_where(field, _joined("AND", [_PRESENT, _negated(_equal_to_any(values))]))
        case Comparison(field, "<" | "<=" | ">" | ">=" as operator, (value, *_)):
            return _field_where(field, _ordered(operator, value))
        case Missing(field):
            return _negated(_field_where(field, _PRESENT))
        case Not(operand):
            return _negated(as_condition(operand))
        case Junction("and" | "or" as word, operands):
            return _joined(word.upper(), [as_condition(operand) for operand in operands])
    raise TypeError(f"{tree} is not a filter")  # operators become SQL: only known ones may


def _field_where(field: str, test: Condition) -> Condition:
    """That the document has the field and that it passes a test of `field.value` and `field.type`."""
    if field in COLUMNS:
        return Condition(
            f"EXISTS (SELECT 1 FROM (SELECT {COLUMNS[field]} AS value, 'text' AS type) AS field WHERE {test.sql})",
            test.parameters,
        )
    return Condition(
        f"EXISTS (SELECT 1 FROM json_each(documents.metadata) AS field WHERE field.key = ? AND {test.sql})",
        (field, *test.parameters),
    )


def _equal_to_any(values: Sequence[Value]) -> Condition:
    truths = [str(value).lower() for value in values if isinstance(value, bool)]
    strings = [value for value in values if isinstance(value, str)]
    numbers = [value for value in values if not isinstance(value, bool | str)]
    tests = [
        ("field.type IN (SELECT value FROM json_each(?))", truths),
        ("field.type = 'text' AND field.value IN (SELECT value FROM json_each(?))", strings),
        (f"{_IS_NUMBER} AND field.value IN (SELECT CAST(value AS NUMERIC) FROM json_each(?))", numbers),
    ]
    return _joined("OR", [Condition(sql, (json.dumps(given),)) for sql, given in tests if given])


def _ordered(operator: str, value: Value) -> Condition:
    if isinstance(value, str):
        return Condition(f"field.type = 'text' AND field.value {operator} ?", (value,))
    return Condition(f"{_IS_NUMBER} AND field.value {operator} CAST(? AS NUMERIC)", (value,))


def _negated(condition: Condition) -> Condition:
    return Condition(f"NOT ({condition.sql})", condition.parameters)


def _joined(word: str, conditions: Sequence[Condition]) -> Condition:
    """Conditions joined by AND or OR, with the fewest parentheses: SQLite's parser has room for few."""
    sql = f" {word} ".join(condition.sql for condition in conditions)
    parameters = tuple(value for condition in conditions for value in condition.parameters)
    return Condition(f"({sql})" if word == "OR" else sql, parameters)
