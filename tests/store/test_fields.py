"""The table of metadata fields: what values are, that it follows every change, and what facets and descriptions say."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debater_search.store.corpus import write_documents
from debater_search.store.database import row_of
from debater_search.store.documents import DocumentStore
from debater_search.store.edits import edit_documents, index_words, recover, settle
from debater_search.store.facets import count_values, describe_fields
from debater_search.store.fields import SCHEMA, insert_fields, remove_fields
from debater_search.store.values import MAX_ROWS, MAX_TEXT, date_text, rows_of, span_of
from debater_search.types import Document

DAY = 86_400_000_000
DOCUMENTS = [
    Document("a", metadata={"year": 1950, "tags": ["x", "y", "x"], "open": True, "day": "1960-02-29"}),
    Document("b", metadata={"year": 1961.5, "tags": ["y"], "open": False, "day": "1959-01-01T00:00:00+01:00"}),
    Document("c", metadata={"year": 1961.5, "tags": [], "kind": 7, "o": {"of": [{"n": 1}, {"n": 2}]}}),
    Document("d", metadata={"tags": "y", "kind": "7", "none": None, "day": "1960", "essay": "w " * MAX_TEXT}),
]


def table(path: Path, name: str = "fields") -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT * FROM {name}").fetchall()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DocumentStore]:
    write_documents(tmp_path / "d.sqlite", DOCUMENTS)
    store = DocumentStore(tmp_path / "d.sqlite")
    yield store
    store.close()


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (7, [("v", "number", 7)]),
        (True, [("v", "boolean", 1)]),
        ("7.50", [("v", "text", "7.50"), ("v", "spelled number", 7.5)]),
        ("2020", [("v", "text", "2020"), ("v", "spelled number", 2020)]),
        ("1970-01-02", [("v", "date text", "1970-01-02"), ("v", "date", DAY)]),
        ("1970-13-02", [("v", "text", "1970-13-02")]),
        (" ", [("v", "missing", "")]),
        ([], [("v", "missing", "")]),
        ([1, [1, "a"]], [("v", "number", 1), ("v", "text", "a"), ("v", "several", "")]),
        ([1, [1]], [("v", "number", 1)]),
        ({"w": {}}, [("v", "object", ""), ("v.w", "missing", "")]),
        (
            [{"w": 1}, {"w": 2}],
            [("v", "object", ""), ("v.w", "number", 1), ("v.w", "number", 2), ("v.w", "several", "")],
        ),
        ("l" * (MAX_TEXT + 1), [("v", "long", "")]),
        (list(range(MAX_ROWS + 1)), [("v", "long", "")]),
        ({f"k{n}": 1 for n in range(5000)}, [("v", "long", "")]),
        pytest.param(-(10**400), [("v", "number", -1.7976931348623157e308)], id="huge"),
        ("9" * 30, [("v", "text", "9" * 30), ("v", "spelled number", 1e30)]),
        ("\ud83d", [("v", "text", "?")]),
    ],
)
def test_a_value_is_what_it_is_in_any_format(value: Any, rows: list[Any]) -> None:
    assert rows_of(json.dumps({"v": value})) == set(rows)


def test_nesting_that_python_can_read_is_no_trouble() -> None:
    assert rows_of('{"v": ' + '{"w": ' * 200 + "1" + "}" * 201) == {("v", "long", "")}
    assert rows_of('{"v": ' + "[" * 500 + "1" + "]" * 500 + "}") == {("v", "number", 1)}


@pytest.mark.parametrize(
    ("text", "start", "length"),
    [
        ("1970", 0, 365 * DAY),
        ("1972-02", 730 + 31, 29 * DAY),
        ("1970-01-02", 1, DAY),
        ("1970-01-02T00:00Z", 1, DAY // 1440),
        ("1970-01-02 01:30:00+01:30", 1, 1_000_000),
        ("1970-01-01t22:00:00.0-0200", 1, 1),
        ("1970-01-01T18:00:00,000000000-06", 1, 1),
        ("9999", 2932532, 365 * DAY),
        ("9999-12", 2932532 + 334, 31 * DAY),
    ],
)
def test_a_date_means_all_of_it(text: str, start: int, length: int) -> None:
    assert span_of(text) == (start * DAY, start * DAY + length)


@pytest.mark.parametrize(
    "text",
    ["", "197", "0000", "1970-00", "1970-02-30", "1970-1-1", "1970-01-01T24:00", "1970-01-01T10", "1970-01-01T10:00:60",
     "1970-01-01T10:00+24:00", "1970-01-01x", "²020", "١٩٧٠-٠١-٠١"],
)  # fmt: skip
def test_what_is_no_date_is_a_text(text: str) -> None:
    assert span_of(text) is None


def test_instants_are_shown_in_utc() -> None:
    dates = ["2020-05-01", "1969-12-31T23:59:59Z", "2020-05-01T10:00:00.000250Z", "0001-01-01"]
    assert [date_text(span[0]) for text in dates if (span := span_of(text))] == dates


@pytest.mark.parametrize("committed", [True, False])
def test_the_table_follows_a_change_and_its_undoing(tmp_path: Path, committed: bool) -> None:
    path = tmp_path / "d.sqlite"
    written = write_documents(path, DOCUMENTS)
    before = table(path)
    changed = [
        Document("a", "other text", metadata={"year": 1}),
        Document("c", metadata={"year": 1962, "o": [{"n": 3}, {}], "new": "2020-01-01"}),
        Document("e", metadata={"tags": ["x", "z"]}),
    ]
    with edit_documents(path, 1, written.rows, written.documents, written.content) as edits:
        edits.put(changed)
        edits.delete(["d"])
    assert table(path, "revised_fields")
    index_words(path)
    if not committed:
        recover(path, 0)
        assert table(path) == before
        assert table(path, "revised_fields") == []
        return
    settle(path)
    expected = {2: changed[1], 1: DOCUMENTS[1], 4: changed[0], 5: changed[2]}
    rows = [
        (*row, position) for position, document in expected.items() for row in rows_of(json.dumps(document.metadata))
    ]
    assert set(table(path)) == set(rows)
    assert table(path, "revised_fields") == []


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner), max_leaves=5
)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_whatever_metadata_is_inserted_can_be_removed(metadata: dict[str, Any]) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in SCHEMA:
            connection.execute(statement)
        stored = row_of(Document("a", metadata=metadata))[3]
        insert_fields(connection, 5, stored)
        remove_fields(connection, [(5, stored)])
        assert connection.execute("SELECT count(*) FROM fields").fetchone() == (0,)


def test_facets_count_documents_by_value(store: DocumentStore) -> None:
    found = count_values(store, "tags")
    assert (found.documents, found.values) == (3, [("y", 3), ("x", 1)])
    assert count_values(store, "tags", np.array([0, 2])).values == [("x", 1), ("y", 1)]
    assert count_values(store, "tags", limit=1).values == [("y", 3)]
    assert count_values(store, "open").values == [(False, 1), (True, 1)]
    assert count_values(store, "year", np.array([1, 2, 99])).values == [(1961.5, 2)]
    assert count_values(store, "kind").values == [(7, 1), ("7", 1)]
    assert (count_values(store, "zebra").documents, count_values(store, "zebra").values) == (0, None)


def test_fields_are_described_by_type_range_and_values(store: DocumentStore) -> None:
    described = {field.name: field for field in describe_fields(store)}
    assert list(described) == ["day", "essay", "kind", "none", "o", "o.of", "o.of.n", "open", "tags", "year"]
    year, tags, day = described["year"], described["tags"], described["day"]
    assert (year.type, year.documents, year.min, year.max, year.values) == ("number", 3, 1950, 1961.5, None)
    assert (tags.type, tags.documents, tags.values, tags.distinct) == ("text", 3, [("y", 3), ("x", 1)], 2)
    assert [name for name, field in described.items() if field.lists] == ["o.of.n", "tags"]
    assert (day.type, day.documents, day.distinct) == ("mixed", 3, 3)  # a year alone is a number
    types = {name: (field.type, field.documents) for name, field in described.items()}
    assert types["essay"] == ("long", 1)
    assert types["kind"] == ("mixed", 2)
    assert types["none"] == ("missing", 0)
    assert types["o"] == types["o.of"] == ("object", 1)
    assert types["o.of.n"] == ("number", 1)
    assert types["open"] == ("boolean", 2)


def test_a_field_of_dates_has_a_range(tmp_path: Path) -> None:
    days = ["1960-02-29", "1959-01-01T00:00:00+01:00", "1961-05"]
    write_documents(tmp_path / "d.sqlite", [Document(day, metadata={"day": day}) for day in days])
    (day,) = describe_fields(DocumentStore(tmp_path / "d.sqlite"))
    assert (day.type, day.min, day.max, day.values) == ("date", "1958-12-31T23:00:00Z", "1961-05-01", None)
