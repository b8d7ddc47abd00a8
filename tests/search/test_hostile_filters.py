"""Filters of strangers: answered or refused at once; nothing of them becomes SQL."""

import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from debater_search.errors import DebaterError
from debater_search.filters import parse_filter
from debater_search.filters.parser import MAX_COMPARISONS, MAX_DEPTH
from debater_search.store.documents import DocumentStore
from debater_search.store.filters import allowed
from debater_search.types import Document
from tests.search.stores import ids_of, stored


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


@pytest.mark.parametrize("number", ["9" * 100_000, "1." + "0" * 100_000, "1e" + "9" * 100_000, "." + "7" * 100_000])
def test_a_long_run_of_digits_that_ends_in_a_letter_is_refused_at_once(number: str) -> None:
    start = time.perf_counter()
    with pytest.raises(DebaterError, match="The filter is wrong at character"):
        parse_filter(f"year = {number}x")
    assert time.perf_counter() - start < 1
