"""Filters: what they allow, against plain Python; what is refused, with where; nothing of a user's becomes SQL."""

import json
import operator
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debater_search.errors import DebaterError
from debater_search.filters import Comparison, Filter, Junction, Missing, Not
from debater_search.search.filters import MAX_COMPARISONS, MAX_DEPTH, parse_filter, require_fields
from debater_search.store.corpus import write_documents
from debater_search.store.documents import DocumentStore
from debater_search.store.filters import as_condition
from debater_search.types import Document

PAPERS = [
    Document("a", title="Wings", metadata={"year": 2021, "venue": "ACL", "lang": "en", "open": True, "pub date": "x"}),
    Document("b", title="Heat", metadata={"year": 2019.5, "venue": "SIGIR", "lang": "de", "open": False}),
    Document(
        "c", metadata={"year": "2022", "venue": 'O\'Hare "x"', "lang": None, "tags": ["ACL", 2021], "a`b": 1, "c]d": 1}
    ),
    Document("7", metadata={"year": "soon", "author": {"name": "ACL"}}),
]


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> DocumentStore:
    path = tmp_path_factory.mktemp("papers") / "documents.sqlite"
    write_documents(path, PAPERS)
    return DocumentStore(path)


def allowed(store: DocumentStore, expression: str) -> str:
    tree = parse_filter(expression)
    require_fields(tree, store)
    return "".join(store.ids(store.positions_where(as_condition(tree))))


@pytest.mark.parametrize(
    ("expression", "ids"),
    [
        ("year >= 2020", "ac"),
        ("year>2019.5 and year<=2.021e3", "a"),
        ("year = 2022", "c"),
        ("year = '2022'", "c"),
        ("year < -5", ""),
        ("year > 99999999999999999999", ""),
        ("year < 'z'", "c7"),
        ("year in (2021, 'soon', true)", "a7"),
        ("venue in ('ACL','SIGIR') and not lang = 'de'", "a"),
        ("venue NOT IN ('ACL')", "bc"),
        ("venue != 'ACL'", "bc"),
        ("venue <> 'ACL'", "bc"),
        ("not venue = 'ACL'", "bc7"),
        ("not not venue == 'ACL'", "a"),
        ("venue = 'O''Hare \"x\"'", "c"),
        ('venue = "O\'Hare ""x"""', "c"),
        ("open = true", "a"),
        ("open = FALSE", "b"),
        ("open != true", "b"),
        ("open = 1 or open = 'true' or open > 0", ""),
        ("lang is missing", "c7"),
        ("lang IS NOT Missing", "ab"),
        ("`pub date` = 'x' or [pub date] = 'y'", "a"),
        ("[a`b] = 1 or `c]d` = 1", "c"),
        ("tags = 'ACL' or tags > 0 or author > ''", ""),
        ("tags != 'ACL'", "c"),
        ("id = 'a' or id = 7 or id in ('x', 7)", "a7"),
        ("id > 'a'", "bc"),
        ("title = 'Wings' or title < 'I' and title > ''", "ab"),
        ("year = 2021 or year = 2022 and lang = 'de'", "a"),
        ("(year = 2021 or year = 2022) and lang is missing", "c"),
        ("not (year = 2021 or year = 2022)", "b7"),
    ],
)
def test_a_filter_allows_what_it_says(papers: DocumentStore, expression: str, ids: str) -> None:
    assert allowed(papers, expression) == ids


@pytest.mark.parametrize(
    ("expression", "character", "expected"),
    [
        ("year >= 2020 and venue venue", 24, "not venue"),
        ("year >=", 8, "a value .* but the filter ends"),
        ("year", 5, "`in`.*but the filter ends"),
        ("year 2020", 6, "`in`.*not 2020"),
        ("year = venue", 8, "a value .*not venue"),
        ("(year = 1", 10, "`\\)` is expected"),
        ("year = 1)", 9, "`and`, `or` or the end is expected"),
        ("year = 1; DROP TABLE documents", 9, "neither a name"),
        ("venue = 'ACL", 9, "closed string"),
        ("venue in ()", 11, "a value"),
        ("venue in ('a' 'b')", 15, "`\\)` is expected"),
        ("venue is 'ACL'", 10, "`missing` is expected"),
        ("open > true", 8, "no order"),
        ("and = 1", 1, "name of a field"),
        ("'venue' = 'ACL'", 1, "name of a field"),
        ("1 = 1", 1, "name of a field"),
        ("year = 20x", 8, "neither"),
        ("year = 1e999", 8, "a smaller number"),
        (" \n year ? 1", 9, "neither"),
    ],
)
def test_a_wrong_filter_is_refused_with_where_and_why(expression: str, character: int, expected: str) -> None:
    with pytest.raises(DebaterError, match=rf"wrong at character {character}: .*{expected}"):
        parse_filter(expression)


@pytest.mark.parametrize(
    ("expression", "message"), [("", "is empty"), (" \n", "is empty"), ("venue = '\udcff'", "not UTF-8")]
)
def test_an_empty_or_undecodable_filter_is_refused(expression: str, message: str) -> None:
    with pytest.raises(DebaterError, match=message):
        parse_filter(expression)


def test_an_unknown_field_names_those_there_are_the_nearest_first(papers: DocumentStore) -> None:
    with pytest.raises(DebaterError, match=r"field 'yaer'. Fields: year, .*id.*\."):
        allowed(papers, "venue = 'ACL' and yaer = 2020")
    with pytest.raises(DebaterError, match=r"field 'Venue'. Fields: venue, "):
        allowed(papers, "not Venue is missing")


@pytest.mark.parametrize(
    ("piece", "depth", "end"),
    [
        ("(", 1, ")"),
        ("not ", 1, ""),
        ("not (", 2, ")"),
        ("year = 1 or (venue != 'x' and ", 1, ")"),
        ("not venue in ('x', 1) and (", 1, ")"),
        ("(year = 1 or (", 2, "))"),
        ("(year = 1 or venue != 'x' and ", 1, ")"),
        ("venue = 1 or year > 1 and not (venue = 1 or ", 2, ")"),
    ],
)
def test_nesting_is_answered_up_to_the_limit_and_refused_beyond(
    papers: DocumentStore, piece: str, depth: int, end: str
) -> None:
    times = MAX_DEPTH // depth
    tree = parse_filter("year = 1 or id != 'x' and " + piece * times + "id not in (1, 'x')" + end * times)
    papers.positions_where(as_condition(tree))
    papers.search("wings", 10, where=as_condition(tree))
    for times in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(DebaterError, match=f"more than {MAX_DEPTH} deep"):
            parse_filter(piece * times + "year = 2021" + end * times)


def test_comparisons_are_answered_up_to_the_limit_and_refused_beyond(papers: DocumentStore) -> None:
    for word in (" or ", " and not "):
        allowed(papers, word.join(["year != 2021"] * MAX_COMPARISONS))
    with pytest.raises(DebaterError, match=f"more than {MAX_COMPARISONS} comparisons"):
        parse_filter(" or ".join(["year = 1"] * (MAX_COMPARISONS + 1)))


def test_a_list_of_very_many_values_is_one_comparison(papers: DocumentStore) -> None:
    assert allowed(papers, f"year in ({', '.join(map(str, range(100_000)))})") == "ac"
    assert allowed(papers, f"id not in ({', '.join(repr(f'd{i}') for i in range(100_000))}, 'a')") == "bc7"


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE documents; --",
        "') OR 1=1 --",
        '" OR ""="',
        "$.year",
        "?",
        "%",
        "\\",
        "x' UNION SELECT text",
        "\0",
    ],
)
def test_hostile_strings_and_names_are_only_data(papers: DocumentStore, text: str) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    tree = parse_filter(f"venue = {quoted} or `{text}` >= {quoted} or not [{text}] in ({quoted})")
    condition = as_condition(tree)
    assert re.fullmatch(r"[\w\s.,()?=<>']*", condition.sql)
    assert text not in condition.sql or text in "?'$.year"
    assert len(papers.positions_where(condition)) == 4
    assert len(papers) == 4


@given(st.text())
def test_any_text_is_a_filter_or_a_sentence(text: str) -> None:
    with suppress(DebaterError):
        parse_filter(text)


# --- the property: what SQLite allows is what plain Python allows


@pytest.mark.parametrize("number", ["9" * 100_000, "1." + "0" * 100_000, "1e" + "9" * 100_000, "." + "7" * 100_000])
def test_a_long_run_of_digits_that_ends_in_a_letter_is_refused_at_once(number: str) -> None:
    start = time.perf_counter()
    with pytest.raises(DebaterError, match="The filter is wrong at character"):
        parse_filter(f"year = {number}x")
    assert time.perf_counter() - start < 1


NAMES = ["n", "s", "id", "title", "and", "pub date", 'q"\\ü.$']
STRINGS = st.one_of(
    st.sampled_from(["", "a", "B", "ü", "2", "-1.5", "1e3", "'", '"', "a'b\"c", "😀"]), st.text("ab1.'\"\\ü")
)
NUMBERS = st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1), st.integers(-8, 8).map(lambda n: n / 4))
LITERALS = st.one_of(st.booleans(), NUMBERS, STRINGS)
METADATA = st.one_of(st.none(), LITERALS, st.lists(LITERALS, max_size=2), st.dictionaries(st.just("n"), LITERALS))
DOCUMENTS = st.lists(
    st.tuples(STRINGS, st.dictionaries(st.sampled_from([n for n in NAMES if n not in ("id", "title")]), METADATA)),
    min_size=1,
    max_size=6,
)
ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
FIELDS = st.sampled_from(NAMES)
COMPARISONS = st.one_of(
    st.builds(Comparison, FIELDS, st.sampled_from(["=", "!="]), st.tuples(LITERALS)),
    st.builds(Comparison, FIELDS, st.sampled_from(sorted(ORDER)), st.tuples(st.one_of(NUMBERS, STRINGS))),
    st.builds(Comparison, FIELDS, st.sampled_from(["in", "not in"]), st.lists(LITERALS, min_size=1).map(tuple)),
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
        case Comparison(field, sign, (value,)):
            return f"[{field}]{sign}{literal(value)}"
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
            if (value := fields.get(field)) is None:
                return False
            if sign in ORDER:
                return ordered(ORDER[sign], value, values[0])
            return any(equal(value, other) for other in values) is (sign in ("=", "in"))
        case Missing(field):
            return fields.get(field) is None
        case Not(operand):
            return not allows(operand, fields)
        case Junction(word, operands):
            return (all if word == "and" else any)(allows(operand, fields) for operand in operands)
    raise AssertionError(tree)


def kind(value: Any) -> str:
    return "number" if type(value) in (int, float) else type(value).__name__


def as_number(value: Any) -> Any:
    spelled = isinstance(value, str) and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value)
    return (int(value) if re.fullmatch(r"[+-]?\d+", value) else float(value)) if spelled else value


def ordered(compare: Callable[[Any, Any], bool], value: Any, other: Any) -> bool:
    value = as_number(value) if kind(other) == "number" else value
    return kind(value) == kind(other) and compare(value, other)


def equal(value: Any, other: Any) -> bool:
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
    path = scratch / "documents.sqlite"
    path.unlink(missing_ok=True)
    write_documents(path, [Document(f"{i}", "", title, fields) for i, (title, fields) in enumerate(documents)])
    store = DocumentStore(path)
    expected = [
        i for i, (title, fields) in enumerate(documents) if allows(tree, {**fields, "id": str(i), "title": title})
    ]
    assert store.positions_where(as_condition(parsed)) == expected
    store.close()
