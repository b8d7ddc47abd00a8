"""A filter allows what plain Python allows."""

import json
import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debater_search.filters import Comparison, Filter, Junction, Missing, Not, parse_filter
from debater_search.store.documents import DocumentStore
from debater_search.store.filters import allowed
from debater_search.types import Document
from tests.search.stores import drop_table, stored

NAMES = ["n", "s", "id", "title", "and", "pub date", 'q"\\ü.$', "s.n", "n.s.n"]
STRINGS = st.one_of(
    st.sampled_from(["", "a", "B", "ü", "2", "-1.5", "1e3", "true", "'", '"', "a'b\"c", "😀"]), st.text("ab1.'\"\\ü")
)
NUMBERS = st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1), st.integers(-8, 8).map(lambda n: n / 4))
LITERALS = st.one_of(st.booleans(), NUMBERS, STRINGS)
METADATA = st.recursive(
    st.one_of(st.none(), LITERALS),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["n", "s"]), inner)),
    max_leaves=3,
)
DOCUMENTS = st.lists(
    st.tuples(STRINGS, st.dictionaries(st.sampled_from([n for n in NAMES if n not in ("id", "title")]), METADATA)),
    min_size=1,
    max_size=6,
)
FIELDS = st.sampled_from(NAMES)
ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
COMPARISONS = st.one_of(
    st.builds(Comparison, FIELDS, st.sampled_from(["=", "!="]), st.tuples(LITERALS)),
    st.builds(Comparison, FIELDS, st.sampled_from(sorted(ORDER)), st.tuples(st.one_of(NUMBERS, STRINGS))),
    st.builds(Comparison, FIELDS, st.sampled_from(["in", "not in"]), st.lists(LITERALS, min_size=1).map(tuple)),
    st.builds(Comparison, FIELDS, st.just("between"), st.tuples(NUMBERS, NUMBERS) | st.tuples(STRINGS, STRINGS)),
    st.builds(
        Comparison, FIELDS, st.sampled_from(["contains", "like"]), st.tuples(st.one_of(STRINGS, st.text("a%_1")))
    ),
    st.builds(Missing, FIELDS),
)
TREES: st.SearchStrategy[Filter] = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(Junction, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


def written(tree: Filter) -> str:
    """The filter as a person would type it."""
    match tree:
        case Comparison(field, "in" | "not in" as word, values):
            return f"`{field}` {word} ({', '.join(map(literal, values))})"
        case Comparison(field, "between", (first, last)):
            return f"`{field}` between {literal(first)} and {literal(last)}"
        case Comparison(field, sign, (value,)):
            return f"[{field}] {sign} {literal(value)}"
        case Missing(field):
            return f"`{field}` is missing"
        case Not(operand):
            return f"not ({written(operand)})"
        case Junction(word, operands):
            return f" {word} ".join(f"({written(operand)})" for operand in operands)
    raise AssertionError(tree)


def literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value)


def allows(tree: Filter, fields: dict[str, Any]) -> bool:
    match tree:
        case Comparison(field, sign, values):
            own = [value for value in elements(fields, field) if not is_blank(value)]
            if sign in ("!=", "not in"):
                return bool(own) and not any(equal(value, other) for value in own for other in values)
            return any(passes(sign, value, values) for value in own)
        case Missing(field):
            return all(map(is_blank, elements(fields, field)))
        case Not(operand):
            return not allows(operand, fields)
        case Junction(word, operands):
            return (all if word == "and" else any)(allows(operand, fields) for operand in operands)
    raise AssertionError(tree)


def elements(fields: Any, path: str) -> list[Any]:
    """Everything that lies at a path, through lists and objects."""
    if isinstance(fields, list):
        return [found for element in fields for found in elements(element, path)]
    if path == "":
        return [fields]
    found = []
    for name, value in fields.items() if isinstance(fields, dict) else ():
        if path == name or path.startswith(f"{name}."):
            found += elements(value, path[len(name) + 1 :])
    return found


def is_blank(value: Any) -> bool:
    return value is None or value == {} or (isinstance(value, str) and not value.strip())


def passes(sign: str, value: Any, others: tuple[Any, ...]) -> bool:
    if sign in ("=", "in"):
        return any(equal(value, other) for other in others)
    if sign == "between":
        return ordered(operator.ge, value, others[0]) and ordered(operator.le, value, others[1])
    if sign == "contains":
        return isinstance(value, str) and others[0].lower() in value.lower()
    if sign == "like":
        pattern = "".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in others[0])
        return isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL | re.IGNORECASE) is not None
    return ordered(ORDER[sign], value, others[0])


def kind(value: Any) -> str:
    return "number" if type(value) in (int, float) else type(value).__name__


def as_number(value: Any) -> Any:
    spelled = isinstance(value, str) and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value)
    return (int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)) if spelled else value


def ordered(compare: Callable[[Any, Any], bool], value: Any, other: Any) -> bool:
    if "number" in (kind(value), kind(other)):
        value, other = as_number(value), as_number(other)
    return kind(value) == kind(other) and compare(value, other)


def equal(value: Any, other: Any) -> bool:
    if bool in (type(value), type(other)) and str in (type(value), type(other)):
        return str(value).lower() == str(other).lower()
    return ordered(operator.eq, value, other)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("filters")


@settings(max_examples=200, deadline=None)
@given(documents=DOCUMENTS, tree=TREES)
def test_a_filter_allows_what_plain_python_allows(
    scratch: Path, documents: list[tuple[str, dict[str, Any]]], tree: Filter
) -> None:
    parsed = parse_filter(written(tree))
    corpus = [Document(f"{i}", "", title, fields) for i, (title, fields) in enumerate(documents)]
    expected = [
        i for i, (title, fields) in enumerate(documents) if allows(tree, {**fields, "id": str(i), "title": title})
    ]
    store = stored(scratch / "documents.sqlite", corpus, table=True)
    assert allowed(parsed, store).tolist() == expected
    store.close()
    drop_table(store.path)
    store = DocumentStore(store.path)
    assert allowed(parsed, store).tolist() == expected
    store.close()
