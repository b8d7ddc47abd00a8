"""A filter over documents as a tree of comparisons. Each store turns it into its own language.

A comparison with a missing field (absent, null, blank or empty) is false, whatever its operator, and `Not` makes it
true. A list compares as any of its elements does, so that `!=` means: none is equal. Numbers compare as numbers, also
with texts that spell a number, as in CSV files; booleans likewise. Dates in ISO 8601 compare as instants: a literal of
a year, a month or a day means all of it. Other texts compare by code points. A value of another kind is unequal, and
neither less nor greater: also a text beside a month, a day or a time, in either order, but for ids and titles.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Value = str | int | float | bool
Operator = Literal["=", "!=", "<", "<=", ">", ">=", "in", "not in", "between", "contains", "like"]


@dataclass(frozen=True)
class Comparison:
    """A field compared with a value; with several if the operator is `in` or `not in`, with two if it is `between`.

    `contains` and `like` (in which % stands for any characters and _ for one) ignore case, and take a text.
    """

    field: str
    operator: Operator
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Missing:
    """A field that is absent, null, blank or empty."""

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


def leaves_of(tree: Filter) -> Iterator[Comparison | Missing]:
    """The comparisons of a filter, in order."""
    match tree:
        case Not(operand):
            yield from leaves_of(operand)
        case Junction(_, operands):
            for operand in operands:
                yield from leaves_of(operand)
        case _:
            yield tree


def fields_of(tree: Filter) -> list[str]:
    """The different fields that a filter names, in order."""
    return list(dict.fromkeys(leaf.field for leaf in leaves_of(tree)))
