"""Runs and judgements that a caller holds in memory, checked as those in files are."""

import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from reprlib import repr as short
from typing import Any, TypeVar

from debater_search.data.qrels import MAX_GAIN
from debater_search.errors import InvalidError
from debater_search.types import Qrels, Run

Number = TypeVar("Number", int, float)


def checked_run(run: Mapping[Any, Any]) -> Run:
    """{query id: {document id: score}} with scores as floats; InvalidError for anything else, and for no query."""

    def score(value: Any) -> float | None:
        return float(value) if isinstance(value, Real) and math.isfinite(value) else None

    return _checked(run, "run", "a finite score", score)


def checked_qrels(qrels: Mapping[Any, Any]) -> Qrels:
    """{query id: {document id: gain}} with gains as ints; InvalidError for anything else, and for no query."""

    def gain(value: Any) -> int | None:
        return int(value) if isinstance(value, Integral) and abs(int(value)) <= MAX_GAIN else None

    return _checked(qrels, "qrels", f"a whole number up to {MAX_GAIN:,}", gain)


def _checked(
    given: Mapping[Any, Any], argument: str, needed: str, convert: Callable[[Any], Number | None]
) -> dict[str, dict[str, Number]]:
    shape = f"Give {{query id: {{document id: {needed}}}}}, with texts as ids."
    if not given:
        raise InvalidError(f"`{argument}` is empty.", shape)
    checked: dict[str, dict[str, Number]] = {}
    for query, documents in given.items():
        if not isinstance(query, str) or not isinstance(documents, Mapping):
            raise InvalidError(f"`{argument}` holds {short(query)}: {short(documents)}.", shape)
        values = checked[query] = {}
        for document, value in documents.items():
            found = convert(value) if isinstance(document, str) else None
            if found is None:
                raise InvalidError(f"`{argument}` holds {short(document)}: {short(value)} for {short(query)}.", shape)
            values[document] = found
    return checked
