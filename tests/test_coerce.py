"""Texts, documents and queries as callers give them."""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from debater_search.coerce import as_documents, as_queries, as_texts, id_text, plain
from debater_search.errors import InvalidError
from debater_search.types import Document, Query


@pytest.mark.parametrize(
    "given",
    [
        "T wing",
        ["T wing"],
        Document("1", "wing", "T"),
        [{"title": "T", "text": "wing"}],
        {"text": "wing", "title": "T"},
        [{"id": 3, "title": "T", "text": None, "contents": "wing"}],
        [("T", "wing")],
        np.array(["T wing"]),
        (text for text in ["T wing"]),
        Query("1", "T wing"),
    ],
)
def test_what_plainly_is_a_text_is_one(given: Any) -> None:
    texts = as_texts(given)
    assert texts == ["T wing"]
    assert type(texts[0]) is str


def test_a_title_may_be_missing() -> None:
    assert as_texts([{"title": None, "text": "wing"}, (math.nan, "wing"), {"text": ""}]) == ["wing", "wing", ""]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "texts is None, not a list of texts"),
        (7, "texts is of type int"),
        (b"wing", "texts is of type bytes"),
        ({"a": "wing"}, "texts is of type dict"),
        ([None], r"texts\[0\] is None"),
        (["a", 1.5], r"texts\[1\] is of type float"),
        ([["a", "b"]], r"texts\[0\] is of type list"),
        ([{"body": "wing"}], r"texts\[0\] is of type dict"),
        ([("a", "b", "c")], r"texts\[0\] is of type tuple"),
        ([("a", None)], r"texts\[0\]: the text is None"),
        ([{"text": None}], r"texts\[0\]: the text is None"),
        ([Document("1", None)], r"texts\[0\]: the text is None"),  # type: ignore[arg-type]
        ([object()], r"texts\[0\] is of type object"),
    ],
)
def test_what_is_no_text_is_named(given: Any, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        as_texts(given)


def test_a_table_of_pandas_is_no_list_of_texts() -> None:
    class Frame:  # iterating over a data frame gives the names of its columns
        columns = ("text",)

        def __iter__(self) -> Any:
            return iter(self.columns)

    for read in (as_texts, as_queries, lambda given: list(as_documents(given))):
        with pytest.raises(InvalidError, match="is of type Frame"):
            read(Frame())


@pytest.mark.parametrize("one", [{"id": "1", "text": "wing"}, Document("1", "wing")])
def test_one_document_is_a_list_of_one(one: Any) -> None:
    assert list(as_documents(one)) == list(as_documents([one])) == [Document("1", "wing")]


def test_documents_are_objects_with_id_and_text() -> None:
    given = [
        {"_id": 1, "title": "T", "text": "wing", "year": 2020, "metadata": {"by": "Ting", "year": 1}},
        {"docid": 2.0, "contents": "heat", "title": None},
        Document(3, "lift", metadata={"on": date(2020, 5, 1), 2: math.nan}),  # type: ignore[arg-type, dict-item]
        Document(" 1.0 ", "kept"),
    ]
    assert list(as_documents(given)) == [
        Document("1", "wing", "T", {"by": "Ting", "year": 2020}),
        Document("2", "heat"),
        Document("3", "lift", "", {"on": "2020-05-01", "2": None}),
        Document(" 1.0 ", "kept"),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "documents is None, not a list of documents"),
        ("some text", r"documents\[0\] is of type str, not a document"),
        ([("T", "wing")], r"documents\[0\] is of type tuple, not a document"),
        ([{"text": "wing"}], r"documents\[0\] has no id"),
        ([Document("1", "a"), Document(None, "b")], r"documents\[1\] has no id"),  # type: ignore[arg-type]
        ([Document("1", None)], r"documents\[0\] \('1'\): the text is None"),  # type: ignore[arg-type]
        ([Document("1", "a", 3)], r"documents\[0\] \('1'\): the title is of type int"),  # type: ignore[arg-type]
        ([{"id": "1", "text": math.nan}], r"documents\[0\] \('1'\): the text is NaN"),
        ([{"id": "1", "text": ["a"]}], r"documents\[0\] \('1'\): the text is of type list"),
        ([{"id": "1"}], r"documents\[0\] \('1'\): the text is None"),
        ([Document("1\n2", "a")], "holds a control character"),
        ([Document("1", "a", metadata={1: 0, "1": 0})], "two keys are equal"),  # type: ignore[dict-item]
        ([Document("1", "a", metadata={"n": [10**5000]})], "stored: a number has too many digits. Change that"),
    ],
)
def test_what_is_no_document_is_named(given: Any, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        list(as_documents(given))


def test_metadata_that_holds_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    with pytest.raises(InvalidError, match="nested too deeply"):
        list(as_documents([Document("1", "a", metadata=endless)]))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("wing", [Query("0", "wing")]),
        (["wing", Query("b", "heat")], [Query("0", "wing"), Query("b", "heat")]),
        ([{"_id": 7, "query": "wing"}, {"text": "heat"}], [Query("7", "wing"), Query("1", "heat")]),
        ({"a": "wing", "b": "heat"}, [Query("a", "wing"), Query("b", "heat")]),
        (Query("a", "wing"), [Query("a", "wing")]),
    ],
)
def test_queries_are_strings_objects_or_a_mapping(given: Any, expected: list[Query]) -> None:
    assert as_queries(given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([Query("1", "a"), Query("1", "b")], "the query id '1' comes twice"),
        (["a", Query("0", "b")], "the query id '0' comes twice"),
        ([("1", "a")], r"queries\[0\] is of type tuple"),
        ([None], r"queries\[0\] is None"),
        (None, "queries is None"),
    ],
)
def test_what_are_no_queries_is_named(given: Any, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        as_queries(given)


@pytest.mark.parametrize(
    ("value", "id"),
    [
        (7, "7"),
        (7.0, "7"),
        (np.int64(7), "7"),
        (np.float32(7), "7"),
        (Decimal("7.0"), "7"),
        (7.5, "7.5"),
        (" a ", "a"),
        ("7.0", "7.0"),
        (True, None),
        (math.nan, None),
        (math.inf, None),
        (None, None),
        (" ", None),
        (["a"], None),
        (10**30, "1" + "0" * 30),
    ],
)
def test_ids_are_strings_and_whole_numbers(value: Any, id: str | None) -> None:
    assert id_text(value) == id


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2020, 5, 1, 12, tzinfo=UTC), "2020-05-01T12:00:00+00:00"),
        (date(2020, 5, 1), "2020-05-01"),
        (Decimal("5"), 5),
        (Decimal("5.25"), 5.25),
        (Decimal("NaN"), None),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([1, 2]), [1, 2]),
        ({"a": (1, math.inf)}, {"a": [1, None]}),
        (b"\xff\0x", "\\xffx"),
        (10**400, 10**400),
    ],
)
def test_metadata_comes_out_as_what_it_is(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    assert type(plain(value)) is type(expected)


def as_list(given: Any) -> list[Document]:
    return list(as_documents(given))


@pytest.mark.parametrize("read", [as_texts, as_list, as_queries])
def test_nothing_gives_nothing(read: Callable[[Any], list[Any]]) -> None:
    assert read([]) == []
