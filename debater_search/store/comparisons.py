"""What a comparison of a filter asks of values of each type: in SQL over the table of fields, and in Python."""

import json
import operator
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from debater_search.filters import Comparison, Operator, Value
from debater_search.store.values import Span, Type, number_of, span_of, truth_of, year_span

COLUMNS = ("id", "title")
"""Fields that are no metadata, but columns of the documents: texts, even where they spell something else."""

Bound = tuple[str, str | int | float]
"""One of < <= > >=, and what a value is compared with."""

_SPELLINGS = {True: ("true", "True", "TRUE"), False: ("false", "False", "FALSE")}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Test:
    """Values of one type that pass: one of `values`, within all `bounds`, within a span, or as `accepts` says.

    Only one of the four is given. `spans` are apart from each other and in order.
    """

    type: Type
    values: frozenset[str | int | float] | None = None
    bounds: tuple[Bound, ...] = ()
    spans: tuple[Span, ...] = ()
    accepts: Callable[[str], bool] | None = None

    def holds(self, value: Any) -> bool:
        """Whether a value of the type passes."""
        if self.values is not None:
            return value in self.values
        if self.spans:
            at = bisect_right(self.spans, value, key=lambda span: span[0]) - 1
            return at >= 0 and value < self.spans[at][1]
        if self.accepts is not None:
            return self.accepts(value)
        return all(_ORDER[sign](value, other) for sign, other in self.bounds)

    def conditions(self) -> Iterator[tuple[str, tuple[str | int | float, ...]]]:
        """SQL conditions on `value`, of which a row that passes meets one; none if only `accepts` can tell."""
        if self.values is not None:
            yield "value IN (SELECT value FROM json_each(?))", (json.dumps(list(self.values)),)
        for start, stop in self.spans:
            yield "value >= ? AND value < ?", (start, stop)
        if self.bounds:
            yield " AND ".join(f"value {sign} ?" for sign, _ in self.bounds), tuple(other for _, other in self.bounds)


def tests_of(comparison: Comparison) -> list[Test]:
    """The tests of which a row of the field must pass one. For `!=` and `not in` those of `=` and `in`: none may pass.

    Raises:
        TypeError: the comparison has an operator that filters do not have.

    """
    match comparison.operator, comparison.values:
        case "=" | "!=" | "in" | "not in", values:
            return _equal_to_any(values)
        case "<" | "<=" | ">" | ">=" as sign, (value, *_):
            return [Test(type, bounds=bounds) for type, bounds in _bounds(comparison.field, sign, value).items()]
        case "between", (first, last):
            lower, upper = (_bounds(comparison.field, *side) for side in ((">=", first), ("<=", last)))
            return [Test(type, bounds=(*lower[type], *upper[type])) for type in lower if type in upper]
        case "contains" | "like" as word, (str(pattern),):
            accepts = _container(pattern) if word == "contains" else _like(pattern)
            return [Test("text", accepts=accepts), Test("date text", accepts=accepts)]
    raise TypeError(f"{comparison} is not a comparison")  # operators become SQL: only known ones may


def is_negative(operator: Operator) -> bool:
    """Whether the operator is true where no value passes."""
    return operator in ("!=", "not in")


def _equal_to_any(values: Sequence[Value]) -> list[Test]:
    texts = [value for value in values if isinstance(value, str)]
    truths = [value for value in values if isinstance(value, bool)]
    numbers = [value for value in values if not isinstance(value, str | bool)]
    spelled = [number for text in texts if (number := number_of(text)) is not None]
    spans = [span_of(text) for text in texts]
    spans += [year_span(number) for number in numbers if isinstance(number, int)]
    own: dict[Type, list[Any]] = {
        "text": [*texts, *(spelling for truth in truths for spelling in _SPELLINGS[truth])],
        "number": [*numbers, *spelled],
        "spelled number": numbers,
        "boolean": [int(truth) for truth in (*truths, *map(truth_of, texts)) if truth is not None],
    }
    tests = [Test(type, values=frozenset(found)) for type, found in own.items() if found]
    merged = _merged(span for span in spans if span is not None)
    return [*tests, Test("date", spans=merged)] if merged else tests


def _bounds(field: str, sign: str, value: Value) -> dict[Type, tuple[Bound, ...]]:
    """What values of each type are compared with."""
    if isinstance(value, bool):
        return {}
    if not isinstance(value, str):
        span = year_span(value) if isinstance(value, int) else None
        own: dict[Type, tuple[Bound, ...]] = {"number": ((sign, value),), "spelled number": ((sign, value),)}
        return own | ({} if span is None else {"date": (_outside(sign, span),)})
    span, number = span_of(value), number_of(value)
    is_date = span is not None and number is None  # a year alone may be a text of digits too
    if span is not None and is_date and field not in COLUMNS:  # ids begin with dates: 2024-05-01.md
        return {"date": (_outside(sign, span),)}
    found: dict[Type, tuple[Bound, ...]] = {"text": ((sign, value),)}
    if span is not None:
        found["date"] = (_outside(sign, span),)
    elif field in COLUMNS:  # ids are ordered by their characters; dates of metadata only by other dates
        found["date text"] = ((sign, value),)
    if number is not None:
        found["number"] = ((sign, number),)
    return found


def _outside(sign: str, span: Span) -> Bound:
    """Before, up to the end of, from the start of or after all that a date means."""
    start, stop = span
    return {"<": ("<", start), "<=": ("<", stop), ">": (">=", stop), ">=": (">=", start)}[sign]


def _merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    merged: list[Span] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(stop, merged[-1][1])
        else:
            merged.append((start, stop))
    return tuple(merged)


def _container(part: str) -> Callable[[str], bool]:
    part = part.casefold()
    return lambda text: part in text.casefold()


def _like(pattern: str) -> Callable[[str], bool]:
    """A test for SQL's patterns: the pieces between % come one after the other, the first and the last at the ends.

    Each piece is looked for once, as early as it can be, so that no pattern takes long.
    """
    first, *rest = [
        re.compile(re.escape(piece).replace("_", "."), re.DOTALL) for piece in pattern.casefold().split("%")
    ]

    def accepts(text: str) -> bool:
        text = text.casefold()
        if not rest:
            return first.fullmatch(text) is not None
        found = first.match(text)
        for piece in rest[:-1]:
            found = piece.search(text, found.end()) if found else None
        start = len(text) - _length(rest[-1])
        return found is not None and start >= found.end() and rest[-1].match(text, start) is not None

    return accepts


def _length(piece: re.Pattern[str]) -> int:
    """The characters that a piece stands for: each escaped one is one."""
    return len(re.sub(r"\\(.)", r"\1", piece.pattern, flags=re.DOTALL))
