"""Filters: what they allow, against plain Python; what is refused, with where; nothing of a user's becomes SQL."""

import json
import operator
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debater_search.errors import DebaterError
from debater_search.filters import Comparison, Filter, Junction, Missing, Not, parse_filter
from debater_search.filters.parser import MAX_COMPARISONS, MAX_DEPTH
from debater_search.store.corpus import write_documents
from debater_search.store.documents import DocumentStore
from debater_search.store.filters import allowed, never_true, require_fields
from debater_search.types import Document

PAPERS = [
    Document("a", title="Wings", metadata={"year": 2021, "venue": "ACL", "lang": "en", "open": True, "pub date": "x"}),
    Document("b", title="Heat", metadata={"year": 2019.5, "venue": "SIGIR", "lang": "de", "open": False}),
    Document(
        "c", metadata={"year": "2022", "venue": 'O\'Hare "x"', "lang": None, "tags": ["ACL", 2021], "a`b": 1, "c]d": 1}
    ),
    Document("7", metadata={"year": "soon", "author": {"name": "ACL"}}),
]
LONG = "long " * 100
THINGS = [
    Document("a", metadata={"when": "2020-05-01", "tags": ["eco", "new"], "n": [1, 5], "specs": {"weight_g": 2500}}),
    Document("b", metadata={"when": "2020-05-01T23:30:00-02:00", "tags": [], "note": LONG + "A", "ok": "True"}),
    Document("c", metadata={"when": "2019-12-31T23:59:59.5Z", "tags": ["eco"], "n": [7, None], "ok": False}),
    Document("d", metadata={"when": "2020-05", "tags": " ", "n": "3", "specs": {"weight_g": "900", "size": {"x": 1}}}),
    Document("e", metadata={"when": "never", "tags": "eco", "ok": True, "specs": {f"k{i}": i for i in range(99)}}),
    Document("f", metadata={"when": 2020, "n": list(range(10, 200)), "note": "50% a_b", "specs.weight_g": 1}),
]


def stored(path: Path, documents: Sequence[Document], *, table: bool) -> DocumentStore:
    """The documents, with the table of fields or as a database of before."""
    path.unlink(missing_ok=True)
    write_documents(path, documents)
    if not table:
        drop_table(path)
    return DocumentStore(path)


def drop_table(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("DROP TABLE fields")


@pytest.fixture(scope="module", params=[True, False], ids=["table", "scan"])
def papers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DocumentStore:
    return stored(tmp_path_factory.mktemp("papers") / "documents.sqlite", PAPERS, table=request.param)


@pytest.fixture(scope="module", params=[True, False], ids=["table", "scan"])
def things(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DocumentStore:
    return stored(tmp_path_factory.mktemp("things") / "documents.sqlite", THINGS, table=request.param)


def ids_of(store: DocumentStore, expression: str) -> str:
    tree = parse_filter(expression)
    require_fields(tree, store)
    return "".join(store.ids(allowed(tree, store).tolist()))


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
        ("open = 1 or open > 0", ""),
        ("open = 'true'", "a"),
        ("lang is missing", "c7"),
        ("lang IS NOT Missing", "ab"),
        ("`pub date` = 'x' or [pub date] = 'y'", "a"),
        ("[a`b] = 1 or `c]d` = 1", "c"),
        ("tags = 'ACL'", "c"),
        ("tags > 2020 and tags < 'B'", "c"),
        ("tags != 'ACL'", ""),
        ("author > '' or author = 'ACL'", ""),
        ("author.name = 'ACL' and author is not missing", "7"),
        ("title is missing", "c7"),
        ("title in ('', 'Wings') or title = ''", "a"),
        ("id = 'a' or id = 7 or id in ('x', 7)", "a7"),
        ("id > 'a'", "bc"),
        ("title = 'Wings' or title < 'I' and title > ''", "ab"),
        ("year = 2021 or year = 2022 and lang = 'de'", "a"),
        ("(year = 2021 or year = 2022) and lang is missing", "c"),
        ("not (year = 2021 or year = 2022)", "b7"),
    ],
)
def test_a_filter_allows_what_it_says(papers: DocumentStore, expression: str, ids: str) -> None:
    assert ids_of(papers, expression) == ids


@pytest.mark.parametrize(
    ("expression", "ids"),
    [
        ("tags = 'eco'", "ace"),
        ("tags has 'eco'", "ace"),
        ("tags not has 'eco'", ""),
        ("tags has 'new' or not tags has 'eco'", "abdf"),
        ("tags in ('new', 'old')", "a"),
        ("tags is missing", "bdf"),
        ("n = 5", "a"),
        ("n > 6", "cf"),
        ("n between 2 and 4", "d"),  # one element must be between
        ("n not between 2 and 4", "acf"),
        ("n != 150", "acd"),
        ("n is missing", "be"),
        ("specs.weight_g > 2000", "a"),
        ("specs.weight_g < 1000", "df"),
        ("specs.k98 = 98 and specs.k7 != 8", "e"),
        ("specs.size.x = 1", "d"),
        ("specs.weight_g is missing", "bce"),
        ("specs is missing", "bcf"),
        ("specs.size is not missing", "d"),
        ("when = '2020-05-01'", "ad"),  # a month counts by its first instant
        ("when = '2020-05-02'", "b"),
        ("when = '2020-05-02T01:30Z'", "b"),
        ("when in ('2020-05-02', '2019')", "bc"),
        ("when = 2020", "abdf"),
        ("when >= 2020", "abdf"),
        ("when > 2020", ""),
        ("when <= '2019'", "c"),
        ("when <= '2020-04' or when > '2020-05-01T12:00:00+00:00'", "bce"),  # a text is none, and compares as a text
        ("when between '2020-05-01' and '2020-05-02' and when < 'a'", "abd"),
        ("when != '2020-05'", "cef"),
        ("when contains '2020-05'", "abd"),
        ("when like '2020-0_-%' or when like 'N%V%r'", "abe"),
        ("note contains '50%' or note contains 'G LONG a'", "bf"),
        ("note like '50%a_b'", "f"),
        ("note like '%a'", "b"),
        ("note not like '%a'", "f"),
        ("note not contains 'zebra'", "bf"),
        ("ok = true", "be"),
        ("ok = 'false' or ok = 'maybe'", "c"),
        ("ok != true", "c"),
    ],
)
def test_values_compare_as_what_they_are(things: DocumentStore, expression: str, ids: str) -> None:
    assert ids_of(things, expression) == ids


@pytest.mark.parametrize(
    ("expression", "note"),
    [
        ("year > 'soon'", "'year' holds numbers, so that `year > 'soon'` is never true"),
        ("year = true or year in (1, 'x')", "'year' holds numbers, so that `year = true` is never true"),
        ("date > 20200501", "'date' holds dates, so that `date > 20200501` is never true"),
        ("open != 'maybe'", "'open' holds booleans, so that `open != 'maybe'` excludes no document"),
        ("o.x like 'a%'", "'o.x' holds numbers"),
        ("o > 5", "'o' holds objects"),
        ("title = 5", "'title' holds texts, so that `title = 5` is never true"),
        ("id > 5 or id = 'one'", "'id' holds texts"),
        ("title > 'w'", None),
        (
            "year = '2020' or date >= 2020 or open = 'TRUE' or text = '7' or text > 5 or title like 'x' or none = 3",
            None,
        ),
    ],
)
def test_a_comparison_that_can_never_be_true_is_spoken_of(tmp_path: Path, expression: str, note: str | None) -> None:
    fields = {"year": 2020, "date": "2020-05-01", "open": True, "text": "8", "o": {"x": 1}, "none": None}
    store = stored(tmp_path / "d.sqlite", [Document("one", "", "Wing", fields)], table=True)
    notes = list(never_true(parse_filter(expression), store))
    assert len(notes) == (note is not None)
    assert (note or "") in "".join(notes)


@pytest.mark.parametrize(
    ("expression", "character", "expected"),
    [
        ("year between 1 or 2", 16, '"and" is expected, not or'),
        ("year between 1 and", 19, "a value .* but the filter ends"),
        ("year between true and 2", 14, "no order"),
        ("year between 1 and '2'", 20, "two numbers or two texts"),
        ("year between '1' and true", 22, "two numbers or two texts"),
        ("title contains 5", 16, "a text in quotes is expected, not 5"),
        ("title like wing", 12, "a text in quotes"),
        ("title not > 5", 11, '"contains".*not >'),
        ("year >= 2020 and venue venue", 24, "not venue"),
        ("year >=", 8, "a value .* but the filter ends"),
        ("year", 5, '"in".*but the filter ends'),
        ("year 2020", 6, '"in".*not 2020'),
        ("year = venue", 8, "a value .*not venue"),
        ("(year = 1", 10, r'"\)" is expected'),
        ("year = 1)", 9, '"and", "or" or the end is expected'),
        ("year = 1; DROP TABLE documents", 9, "neither a name"),
        ("venue = 'ACL", 9, "closed string"),
        ("venue in ()", 11, "a value"),
        ("venue in ('a' 'b')", 15, r'"\)" is expected'),
        ("venue is 'ACL'", 10, '"missing" is expected'),
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
        ids_of(papers, "venue = 'ACL' and yaer = 2020")
    with pytest.raises(DebaterError, match=r"field 'Venue'. Fields: venue, "):
        ids_of(papers, "not Venue is missing")


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
    allowed(tree, papers)
    for times in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(DebaterError, match=f"more than {MAX_DEPTH} deep"):
            parse_filter(piece * times + "year = 2021" + end * times)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("year = " + "1" * 100_000, "a smaller number"),
        ("year = " + "1" * 100_000 + "x", "neither a name"),
        ("year = ." + "1" * 100_000 + "e" + "1" * 100_000 + "y", "neither a name"),
        ("year = '" + "''" * 100_000, "closed string"),
        ("`" + "y" * 100_000 + "` = 1", "a field, of at most 200 characters"),
        ("y" + ".y" * 50_000 + " = 1", "a field, of at most 200 characters"),
        ("year in (" + "1," * 100_000, "a value .* but the filter ends"),
        ("x" * 10_000_001, "longer than 10,000,000 characters"),
    ],
)
def test_a_hostile_filter_is_one_short_sentence_at_once(papers: DocumentStore, expression: str, message: str) -> None:
    start = time.process_time()
    with pytest.raises(DebaterError, match=message) as raised:
        ids_of(papers, expression)
    assert time.process_time() - start < 1
    assert len(str(raised.value)) < 500


def test_a_hostile_pattern_is_answered_at_once(tmp_path: Path) -> None:
    texts = [Document("a", title="a" * 5000), Document("b", metadata={"title2": "a" * 199})]
    store = stored(tmp_path / "d.sqlite", texts, table=True)
    start = time.process_time()
    assert ids_of(store, f"title like '{'%a' * 500}%b' or title2 like '{'%_a' * 90}b'") == ""
    assert ids_of(store, f"title like '{'%a' * 500}%'") == "a"
    assert time.process_time() - start < 1


def test_comparisons_are_answered_up_to_the_limit_and_refused_beyond(papers: DocumentStore) -> None:
    for word in (" or ", " and not "):
        ids_of(papers, word.join(["year != 2021"] * MAX_COMPARISONS))
    with pytest.raises(DebaterError, match=f"more than {MAX_COMPARISONS} comparisons"):
        parse_filter(" or ".join(["year = 1"] * (MAX_COMPARISONS + 1)))


def test_a_list_of_very_many_values_is_one_comparison(papers: DocumentStore) -> None:
    assert ids_of(papers, f"year in ({', '.join(map(str, range(100_000)))})") == "ac"
    assert ids_of(papers, f"id not in ({', '.join(repr(f'd{i}') for i in range(100_000))}, 'a')") == "bc7"


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
    assert len(allowed(tree, papers)) == 4
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
ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
FIELDS = st.sampled_from(NAMES)
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
