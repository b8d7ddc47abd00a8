"""A filter over documents as a tree of comparisons. Each store turns it into its own language.

A comparison with a missing field (absent or null) is false, whatever its operator, and `Not` makes it true. Numbers
compare as numbers, also with strings that spell a number, as in CSV files. Strings compare by code points. A value of
another kind, which includes lists, is unequal, and neither less nor greater.
"""

from dataclasses import dataclass
from typing import Literal

Value = str | int | float | bool
Operator = Literal["=", "!=", "<", "<=", ">", ">=", "in", "not in"]


@dataclass(frozen=True)
class Comparison:
    """A field compared with one value, or with several if the operator is `in` or `not in`."""

    field: str
    operator: Operator
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Missing:
    """A field that is absent or null."""

    field: str


@dataclass(frozen=True)
class Not:
    """The documents that the operand does not allow."""

    operand: "Filter"


@dataclass(frozen=True)
class Junction:
    """Operands joined by `and` or by `or`."""

    word: Literal["and", "or"]
    operands: tuple["Filter", ...]


Filter = Comparison | Missing | Not | Junction


def fields_of(tree: Filter) -> list[str]:
    """The different fields that a filter names, in order."""
    match tree:
        case Not(operand):
            return fields_of(operand)
        case Junction(_, operands):
            return list(dict.fromkeys(field for operand in operands for field in fields_of(operand)))
        case _:
            return [tree.field]
