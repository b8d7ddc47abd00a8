"""Texts, documents, queries and tables as callers give them."""

import math
from collections import namedtuple
from collections.abc import Callable
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from debater_search.errors import InvalidError
from debater_search.inputs import as_documents, as_ids, as_queries, as_query_texts, as_texts, id_of_text
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
        [("1", "T", "wing")],
        [("1", "T wing")],
        pa.array(["T wing"]),
        pa.table({"title": ["T"], "text": ["wing"]}),
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
    assert as_texts([{"title": None, "text": "wing"}, ("1", math.nan, "wing"), {"text": ""}]) == ["wing", "wing", ""]


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
        ([("a", "b", "c", "d")], r"texts\[0\] is a tuple of 4"),
        ([("a", None)], r"texts\[0\]: the text is None"),
        ([{"text": None}], r"texts\[0\]: the text is None"),
        ([Document("1", None)], r"texts\[0\]: the text is None"),  # type: ignore[arg-type]
        ([object()], r"texts\[0\] is of type object"),
    ],
)
def test_what_is_no_text_is_named(given: Any, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        as_texts(given)


def test_a_table_that_arrow_cannot_read_is_no_list_of_texts() -> None:
    class Frame:  # iterating over a data frame gives the names of its columns
        columns = ("text",)

        def __iter__(self) -> Any:
            return iter(self.columns)

    for read in (as_texts, as_queries, lambda given: list(as_documents(given))):
        with pytest.raises(InvalidError, match=r"table of type Frame, which Arrow cannot read.*pandas from 2.2"):
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
        ([("1", "a"), ("2",)], r"documents\[1\] is a tuple of 1, not a document"),
        ([("1", "a"), ("2", None)], r"documents\[1\] \('2'\): the text is None"),
        (["a", None], r"documents\[1\] is None, not a document"),
        (("1", "a"), "documents is a tuple of strings.*one document or several.*list"),
        ([{"text": "wing"}], r"documents\[0\] has no id"),
        ([Document("1", "a"), Document(None, "b")], r"documents\[1\] has no id"),  # type: ignore[arg-type]
        ([Document("1", None)], r"documents\[0\] \('1'\): the text is None"),  # type: ignore[arg-type]
        ([Document("1", "a", 3)], r"documents\[0\] \('1'\): the title is of type int"),  # type: ignore[arg-type]
        ([{"id": "1", "text": math.nan}], r"documents\[0\] \('1'\): the text is NaN"),
        ([{"id": "1", "text": ["a"]}], r"documents\[0\] \('1'\): the text is of type list"),
        ([{"id": "1"}], r"documents\[0\] \('1'\): there is no text among id\."),
        ([{"id": "1", "text": None}], r"documents\[0\] \('1'\): the text is None"),
        ([{"id": "1", "body": "a", "year": 1}, {"id": "2", "year": 2}], r"\('2'\): there is no text among id, year\."),
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
        ([("a", "wing"), (2, "heat")], [Query("a", "wing"), Query("2", "heat")]),
        (pa.table({"qid": ["a"], "query": ["wing"]}), [Query("a", "wing")]),
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
        ([("1", "T", "a")], r"queries\[0\] is a tuple of 3"),
        ([Document("1", "a")], r"queries\[0\] is of type Document"),
        ([None], r"queries\[0\] is None"),
        (None, "queries is None"),
    ],
)
def test_what_are_no_queries_is_named(given: Any, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        as_queries(given)


def as_list(given: Any) -> list[Document]:
    return list(as_documents(given))


@pytest.mark.parametrize("read", [as_texts, as_list, as_queries])
def test_nothing_gives_nothing(read: Callable[[Any], list[Any]]) -> None:
    assert read([]) == []


def test_a_text_is_a_document_whose_id_depends_on_nothing_else() -> None:
    first, second = as_documents(["wing", "heat"])
    assert list(as_documents(["heat", "ice", "wing"]))[::2] == [second, first]
    assert (first.text, first.title, first.metadata) == ("wing", "", {})
    assert first.id == id_of_text("wing")
    assert len(first.id) == 20


def test_the_same_text_is_one_document() -> None:
    assert [document.text for document in as_documents(iter(["wing", "heat", "wing"]))] == ["wing", "heat"]


def test_half_a_surrogate_pair_has_an_id() -> None:
    assert next(as_documents(["\ud800"])).id != next(as_documents(["\ud801"])).id


def test_tuples_are_documents_by_their_length() -> None:
    assert list(as_documents([(1, "wing"), ("2", "Heat", "hot"), ("3", None, "ice")])) == [
        Document("1", "wing"),
        Document("2", "hot", "Heat"),
        Document("3", "ice"),
    ]


def test_named_tuples_are_read_by_their_names() -> None:
    class Row(NamedTuple):
        number: int  # as the index of `itertuples`
        id: str
        text: str

    row = Row(7, "a", "wing")
    assert list(as_documents([row])) == list(as_documents(row)) == [Document("a", "wing", "", {"number": 7})]
    assert as_queries([row]) == [Query("a", "wing")]
    assert as_texts([row]) == ["wing"]
    with pytest.raises(InvalidError, match=r"documents\[0\] has no id"):
        list(as_documents([namedtuple("Other", "number, text")("a", "wing")]))


TABLE = {"id": [1, 2], "title": ["Wings", None], "text": ["wing", "heat"], "year": [1955, None]}
ROWS = [Document("1", "wing", "Wings", {"year": 1955}), Document("2", "heat", "", {"year": None})]


def test_a_table_of_arrow_has_a_document_in_each_row() -> None:
    assert list(as_documents(pa.table(TABLE))) == ROWS
    assert as_texts(pa.table(TABLE)) == ["Wings wing", "heat"]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_data_frame_has_a_document_in_each_row(library: str) -> None:
    frame = pytest.importorskip(library).DataFrame(TABLE)
    assert list(as_documents(frame)) == ROWS
    assert as_texts(frame["text"]) == ["wing", "heat"]


def test_a_row_of_a_table_is_named_by_its_number() -> None:
    table = pa.table({"id": [str(n) for n in range(2500)], "text": ["a"] * 2400 + [None] * 100})
    with pytest.raises(InvalidError, match=r"documents\[2400\] \('2400'\): the text is None"):
        list(as_documents(table))
    with pytest.raises(InvalidError, match="documents: two columns are called 'text'"):
        list(as_documents(pa.Table.from_arrays([pa.array(["a"])] * 2, ["text", "text"])))


def test_texts_of_queries_need_no_different_ids() -> None:
    assert as_query_texts({"a": "wing", "b": "heat"}) == ["wing", "heat"]
    assert as_query_texts([Query("a", "wing"), Query("a", "heat"), ("a", "ice")]) == ["wing", "heat", "ice"]


@pytest.mark.parametrize(
    ("given", "ids"), [("d1", ["d1"]), (7, ["7"]), (["d1", 7, 8.0], ["d1", "7", "8"]), (iter(["a"]), ["a"]), ([], [])]
)
def test_ids_are_one_or_several(given: Any, ids: list[str]) -> None:
    assert as_ids(given) == ids


@pytest.mark.parametrize(
    ("given", "message"),
    [(None, "ids is None"), ({"a": 1}, "ids is of type dict"), (["a", None], r"ids\[1\] is no id")],
)
def test_what_is_no_id_is_named(given: Any, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        as_ids(given)
