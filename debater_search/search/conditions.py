"""What a filter means: a tree of comparisons, and the SQL condition it becomes.

A comparison with a missing field (absent or null) is false, whatever the operator; `not` turns that round too.
Numbers compare as numbers, also with strings that spell one, as in CSV files; strings compare by code points.
What is of another kind, as a list always is, is unequal, and neither less nor greater.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from debater_search.store.documents import Condition

Value = str | int | float | bool

# Fields that are no metadata: where the row keeps them.
COLUMNS = {"id": "documents.id", "title": "documents.title"}


@dataclass(frozen=True)
class Comparison:
    """A field against one value, or for `in` and `not in` against several."""

    field: str
    operator: str
    values: tuple[Value, ...]

    def condition(self) -> Condition:
        """As SQL."""
        if self.operator in ("=", "in"):
            return _field_where(self.field, _equal_to_any(self.values))
        if self.operator in ("!=", "not in"):
            equal = _equal_to_any(self.values)
            return _field_where(self.field, _joined("AND", [_PRESENT, _negated(equal)]))
        return _field_where(self.field, _ordered(self.operator, self.values[0]))


@dataclass(frozen=True)
class Missing:
    """A field that is absent or null."""

    field: str

    def condition(self) -> Condition:
        """As SQL."""
        return _negated(_field_where(self.field, _PRESENT))


@dataclass(frozen=True)
class Not:
    """Whatever the operand refuses."""

    operand: "Filter"

    def condition(self) -> Condition:
        """As SQL."""
        return _negated(self.operand.condition())


@dataclass(frozen=True)
class Junction:
    """Operands joined by `and` or by `or`."""

    word: str
    operands: tuple["Filter", ...]

    def condition(self) -> Condition:
        """As SQL."""
        return _joined(self.word.upper(), [operand.condition() for operand in self.operands])


Filter = Comparison | Missing | Not | Junction

_PRESENT = Condition("field.type <> 'null'")
# The CAST lets SQLite compare with a string as with a number if it is one; other strings sort after every number.
_IS_NUMBER = "field.type IN ('integer', 'real', 'text') AND field.value <= CAST(9e999 AS NUMERIC)"


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
