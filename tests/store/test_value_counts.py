"""Counts of the values of one field, among some documents or all: values, ranges of numbers, periods of dates."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from debater_search.store.corpus import write_documents
from debater_search.store.documents import DocumentStore
from debater_search.store.facets import _edges, count_values
from debater_search.types import Document

Store = Callable[..., DocumentStore]


@pytest.fixture
def store_of(tmp_path: Path) -> Iterator[Store]:
    """A store of documents with these values of the field `v`."""
    opened: list[DocumentStore] = []

    def make(*values: Any) -> DocumentStore:
        documents = (Document(f"d{number}", metadata={"v": value}) for number, value in enumerate(values))
        write_documents(tmp_path / "d.sqlite", documents)
        opened.append(DocumentStore(tmp_path / "d.sqlite"))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


def test_few_different_numbers_are_counted_one_by_one(store_of: Store) -> None:
    found = count_values(store_of(5, 3, 5, 4.5), "v")
    assert (found.type, found.min, found.max, found.distinct) == ("number", 3, 5, 3)
    assert (found.values, found.ranges) == ([(5, 2), (3, 1), (4.5, 1)], None)


def test_many_different_numbers_are_counted_in_round_ranges(store_of: Store) -> None:
    found = count_values(store_of(*range(1958, 2021)), "v", limit=7)
    assert found.values is None
    assert found.ranges == [(1940, 1960, 2), (1960, 1980, 20), (1980, 2000, 20), (2000, 2020, 20), (2020, 2040, 1)]
    assert found.distinct == 63


def test_a_limit_of_a_range_belongs_to_the_range_that_it_begins(store_of: Store) -> None:
    found = count_values(store_of(0.1, 0.2, 0.3, 0.4, 0.7), "v", limit=4)
    assert found.ranges == [(0.0, 0.2, 1), (0.2, 0.4, 2), (0.4, 0.6, 1), (0.6, 0.8, 1)]


def test_a_few_texts_among_numbers_do_not_hide_the_ranges(store_of: Store) -> None:
    found = count_values(store_of(*range(18), "n/a", "tba"), "v", limit=2)
    assert (found.type, found.documents, found.min, found.max) == ("number", 20, 0, 17)
    assert found.ranges == [(0, 10, 10), (10, 20, 8)]


@pytest.mark.parametrize(
    ("values", "type"),
    [
        ([*(f"2024-05-{day}" for day in range(10, 19)), "soon"], "date"),
        ([*range(8), "tba"], "mixed"),
        ([*"aaaaaaaaaaaaaaaaaaa", 1], "mixed"),
    ],
)
def test_a_field_is_of_the_type_of_nearly_all_if_that_has_ranges(store_of: Store, values: list[Any], type: str) -> None:
    assert count_values(store_of(*values), "v").type == type


def test_a_document_counts_once_per_range(store_of: Store) -> None:
    found = count_values(store_of([1, 2, 3], [2, 90]), "v", limit=2)
    assert found.ranges == [(0, 50, 2), (50, 100, 1)]


def test_only_chosen_documents_are_counted(store_of: Store) -> None:
    store = store_of("x", "y", "y", 7)
    found = count_values(store, "v", np.array([0, 1]))
    assert (found.type, found.documents, found.values) == ("text", 2, [("x", 1), ("y", 1)])
    assert count_values(store, "v", np.array([3])).values == [(7, 1)]
    nothing = count_values(store, "v", np.array([], np.int64))
    assert (nothing.type, nothing.documents, nothing.values) == ("missing", 0, None)


@pytest.mark.parametrize("few", [0, 100])
def test_chosen_documents_are_counted_alike_from_their_metadata_and_from_the_table(
    store_of: Store, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    values = ["x", ["x", "y"], 7, True, None, [], "2020-01-31", {"w": 1}, [3, "x"], "long" * 100]
    store = store_of(*values)
    monkeypatch.setattr("debater_search.store.documents._FEW", few)
    for name in ("v", "v.w"):
        assert count_values(store, name, np.arange(len(values))) == count_values(store, name)
    dates = count_values(store, "v", np.array([6]))
    assert (dates.type, dates.values) == ("date", [("2020-01-31", 1)])


@pytest.mark.parametrize(
    ("limit", "values"),
    [
        (5, [("1969-12-31", 1), ("2020-01-01", 1), ("2020-01-31", 1), ("2020-02-01", 2), ("2021-07-01", 1)]),
        (4, [("1969-12", 1), ("2020-01", 2), ("2020-02", 2), ("2021-07", 1)]),
        (3, [("1969", 1), ("2020", 4), ("2021", 1)]),
        (1, [("2020", 4)]),
    ],
)
def test_dates_are_counted_by_the_shortest_period_that_fits(
    store_of: Store, limit: int, values: list[tuple[str, int]]
) -> None:
    store = store_of(
        "1969-12-31T23:59:59.9Z", "2020-01-01", "2020-01-31", "2020-02-01", "2020-02-01T01:00:00+01:00", "2021-07"
    )
    found = count_values(store, "v", limit=limit)
    assert (found.type, found.min) == ("date", "1969-12-31T23:59:59.900000Z")
    assert found.values == values


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.floats(-1e300, 1e300), min_size=2, unique=True), st.integers(1, 20)
)
def test_ranges_hold_every_number_and_are_few(numbers: list[float], limit: int) -> None:
    low, high = min(numbers), max(numbers)
    if low == high:
        return
    edges = _edges(low, high, limit)
    if not edges:
        assert max(abs(low), abs(high)) > 1e299
        return
    assert edges[0] <= low
    assert edges[-1] > high
    assert len(edges) - 1 <= max(limit, 2)
    assert edges == sorted(edges)
