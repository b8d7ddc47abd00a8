"""Which columns are the id, title and text: by well-known names, as the caller says, as an index remembers."""

import gzip
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from debater_search.coerce import ID_FIELDS, TEXT_FIELDS
from debater_search.data import read_corpus
from debater_search.errors import InvalidError
from debater_search.inputs import as_documents
from debater_search.roles import KNOWN, PLAIN, ColumnChoice
from debater_search.types import Document

TENT = Document("7", "Sleeps two.", "Alta", {"price": 249})


def table(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def jsonl(path: Path, *rows: object) -> Path:
    return table(path, *map(json.dumps, rows))


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("sku,name,description,price", "Read sku as id, name as title, description as text; price is a field."),
        ("key,title,body,price", "Read key as id, body as text; price is a field."),
        ("url,headline,content,price", "Read url as id, headline as title, content as text; price is a field."),
        ("id,name,abstract,price", "Read name as title, abstract as text; price is a field."),
        ("SKU,Name,Description,price", "Read SKU as id, Name as title, Description as text; price is a field."),
        ("Product ID,Title,Text,price", "Read Product ID as id, Title as title, Text as text; price is a field."),
        ("doc-id,heading,contents,price", "Read doc-id as id, heading as title; price is a field."),
    ],
)
def test_well_known_names_are_read_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, header: str, sentence: str
) -> None:
    caplog.set_level(logging.INFO, "debater_search")
    assert list(read_corpus(table(tmp_path / "c.csv", header, "7,Alta,Sleeps two.,249"))) == [TENT]
    assert said(caplog) == [sentence]
    (document,) = as_documents([dict(zip(header.split(","), ("7", "Alta", "Sleeps two.", 249), strict=True))])
    assert document == TENT


def test_preferred_names_come_first_and_the_others_are_fields(tmp_path: Path) -> None:
    row = {"url": "u", "sku": "s", "summary": "short", "description": "long", "name": "N", "heading": "H"}
    (document,) = read_corpus(jsonl(tmp_path / "c.jsonl", row))
    assert document == Document("s", "long", "N", {"heading": "H", "summary": "short", "url": "u"})


@pytest.mark.parametrize("row", [{"id": 1, "text": "a"}, {"_id": 1, "contents": "a"}, {"docid": 1, "text": "a"}])
def test_a_corpus_with_the_usual_names_is_read_by_these_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, row: dict[str, Any]
) -> None:
    caplog.set_level(logging.INFO, "debater_search")
    more = {"name": "n", "description": "d", "sku": "s", "content": "c", "body": "b"}
    choice = ColumnChoice()
    assert list(read_corpus(jsonl(tmp_path / "c.jsonl", row | more), choice)) == [Document("1", "a", "", more)]
    assert list(as_documents([row | more], choice=choice)) == [Document("1", "a", "", more)]
    assert not choice.columns
    assert not said(caplog)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("sku,content,body", "content and body may both be the text"),
        ("sku,product_id,text", "sku and product_id may both be the id"),
        ("sku,Body,BODY", "Body and BODY may both be the text"),
    ],
)
def test_two_columns_that_fit_equally_well_are_refused(tmp_path: Path, header: str, message: str) -> None:
    path = table(tmp_path / "c.csv", header, "1,2,3")
    with pytest.raises(InvalidError, match=rf"c\.csv, line 2: {message}") as error:
        list(read_corpus(path, ColumnChoice()))
    assert "`columns`" in error.value.hint
    with pytest.raises(InvalidError, match=message) as error:
        list(read_corpus(path))
    assert "`columns`" not in error.value.hint


def test_columns_that_are_named_are_read_and_all_others_are_fields(tmp_path: Path) -> None:
    path = table(tmp_path / "c.csv", "id,sku,title,name,text,words", "1,007,T,Alta,x,hello")
    choice = ColumnChoice({"id": "sku", "title": "name", "text": ["words"]})
    assert list(read_corpus(path, choice)) == [Document("007", "hello", "Alta", {"id": 1, "text": "x", "title": "T"})]
    assert choice.columns == {"id": ["sku"], "title": ["name"], "text": ["words"]}
    pq.write_table(pa.table({"sku": ["7"], "name": ["Alta"], "words": ["hello"]}), tmp_path / "c.parquet")
    assert list(read_corpus(tmp_path / "c.parquet", choice)) == [Document("7", "hello", "Alta")]


def test_several_columns_are_one_text(tmp_path: Path) -> None:
    path = table(tmp_path / "c.csv", "id,description,features", "1,Sleeps two.,Light", "2,,Warm", "3, ,")
    choice = {"text": ["description", "features"]}
    texts = ["Sleeps two.\n\nLight", "Warm", ""]
    assert [document.text for document in read_corpus(path, ColumnChoice(choice))] == texts
    assert all(not document.metadata for document in read_corpus(path, ColumnChoice(choice)))
    rows = [{"id": 1, "description": "Sleeps two.", "features": "Light"}, {"id": 2, "features": "Warm"}]
    assert [document.text for document in as_documents(rows, choice=ColumnChoice(choice))] == texts[:2]
    assert [document.text for document in read_corpus(jsonl(tmp_path / "c.jsonl", *rows), ColumnChoice(choice))] == (
        texts[:2]
    )


LISTS = {"list": ["tags", "sizes"], "comma-list": "genres"}
ROWS = [
    {"id": "1", "text": "a", "tags": "light| dry |", "sizes": "38;39", "genres": "Action, Drama", "other": "x|y"},
    {"id": "2", "text": "b", "tags": "red", "sizes": "a;b|c", "genres": "a|b"},
    {"id": "3", "text": "c", "tags": "", "sizes": " ", "genres": ","},
]
CUT = [
    {"genres": ["Action", "Drama"], "other": "x|y", "sizes": ["38", "39"], "tags": ["light", "dry"]},
    {"genres": ["a|b"], "sizes": ["a;b", "c"], "tags": ["red"]},
    {"genres": [], "sizes": [], "tags": []},
]


def test_texts_become_lists_where_the_caller_says_so(tmp_path: Path) -> None:
    lines = ["\t".join(ROWS[0]), *("\t".join([*row.values(), ""][:6]) for row in ROWS)]
    folder = tmp_path / "parts"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist([{**ROWS[0], "id": "9"}]), folder / "b.parquet")
    jsonl(folder / "a.jsonl", *ROWS)
    for path in (table(tmp_path / "c.tsv", *lines), jsonl(tmp_path / "c.jsonl", *ROWS), folder):
        read = list(read_corpus(path, ColumnChoice(LISTS)))
        found = [{name: value for name, value in d.metadata.items() if value is not None} for d in read]
        assert found == (CUT if path != folder else [*CUT, CUT[0]])
    assert [document.metadata for document in as_documents(ROWS, choice=ColumnChoice(LISTS))] == CUT
    assert [document.metadata["tags"] for document in as_documents(ROWS)] == ["light| dry |", "red", ""]


def test_real_lists_and_numbers_stay_what_they_are() -> None:
    rows = [{"id": n, "text": "a", "tags": tags} for n, tags in enumerate((["a|b"], 7, None, {"k": "a|b"}))]
    read = as_documents([*rows, {"id": 9, "text": "a"}], choice=ColumnChoice({"list": "tags"}))
    assert [document.metadata.get("tags", "absent") for document in read] == [["a|b"], 7, [], {"k": "a|b"}, "absent"]


def test_a_list_may_be_part_of_the_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "debater_search")
    path = table(tmp_path / "c.csv", "sku,description,tags,price", "1,Sleeps two.,light|dry,249")
    choice = ColumnChoice({"text": ["description", "tags"], "list": "tags"})
    assert list(read_corpus(path, choice)) == [
        Document("1", "Sleeps two.\n\nlight|dry", "", {"price": 249, "tags": ["light", "dry"]})
    ]
    assert said(caplog) == ["Read sku as id, description and tags as text, tags as list; price is a field."]
    assert choice.columns == {"id": ["sku"], "text": ["description", "tags"], "list": ["tags"]}


def test_lists_are_remembered_for_tables_with_other_ids_too() -> None:
    kept = {"id": ["ref"], "text": ["words"], "list": ["tags"]}
    rows = ({"ref": 1, "words": "w", "tags": "a;b"}, {"id": 1, "text": "w", "tags": "a;b"}, {"sku": 1, "summary": "w"})
    for row in rows:
        (document,) = as_documents([row], choice=ColumnChoice(kept=kept))
        assert document == Document("1", "w", "", {"tags": ["a", "b"]} if "tags" in row else {})


def test_a_named_column_that_is_missing_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="line 2: there is no column 'ref'") as error:
        list(read_corpus(table(tmp_path / "c.csv", "id,text", "1,a"), ColumnChoice({"id": "ref"})))
    assert error.value.hint == "There are id, text."
    with pytest.raises(InvalidError, match=r"documents\[0\]: there is no column 'tag'"):
        list(as_documents(ROWS, choice=ColumnChoice({"list": "tag"})))


@pytest.mark.parametrize(
    "columns", [{"price": "x"}, {"id": []}, {"id": ["a", "b"]}, {"text": ""}, {"text": [7]}, "id=sku"]
)
def test_what_cannot_be_columns_is_refused(columns: Any) -> None:
    with pytest.raises(InvalidError):
        ColumnChoice(columns)


def test_what_an_index_remembers_counts_only_where_it_fits(tmp_path: Path) -> None:
    kept = {"id": ["ref"], "title": ["label"], "text": ["words"]}

    def read(*lines: str) -> list[Document]:
        return list(read_corpus(table(tmp_path / "c.csv", *lines), ColumnChoice(kept=kept)))

    assert read("id,ref,label,words,text", "1,r,L,w,t") == [Document("r", "w", "L", {"id": 1, "text": "t"})]
    assert read("ref,words", "r,w") == [Document("r", "w")]
    assert read("ref,words,more", "r,w,m") == [Document("r", "w", "", {"more": "m"})]
    assert read("id,text,label", "1,t,L") == [Document("1", "t", "", {"label": "L"})]
    assert read("sku,description,label", "s,d,L") == [Document("s", "d", "", {"label": "L"})]


def test_a_text_of_several_columns_is_remembered_where_one_of_them_is_missing() -> None:
    kept = ColumnChoice(kept={"id": ["ref"], "text": ["notes", "more"]})
    assert list(as_documents([{"ref": 1, "notes": "a"}], choice=kept)) == [Document("1", "a")]


def test_fields_that_only_later_rows_have_take_part_in_the_choice(tmp_path: Path) -> None:
    rows = [{"sku": 1, "summary": "s"}, {"sku": 2, "summary": "s", "description": "d", "name": "N"}]
    path = jsonl(tmp_path / "c.jsonl", {**rows[0], "description": "e"}, rows[1])
    assert [(d.text, d.title) for d in read_corpus(path)] == [("e", ""), ("d", "N")]
    with pytest.raises(InvalidError, match="line 1: there is no text"):
        list(read_corpus(jsonl(tmp_path / "d.jsonl", *rows)))


def test_tables_with_other_names_are_a_corpus_only_where_no_texts_are(tmp_path: Path) -> None:
    table(tmp_path / "people.csv", "key,name,description", "1,Ann,Friend")
    table(tmp_path / "README.md", "what this is")
    assert [document.id for document in read_corpus(tmp_path)] == ["1"]
    table(tmp_path / "note.md", "words")
    assert [document.id for document in read_corpus(tmp_path)] == ["README.md", "note.md"]
    kept = ColumnChoice(kept={"id": ["sku"], "text": ["words"]})
    assert [document.id for document in read_corpus(tmp_path, kept)] == ["README.md", "note.md"]
    named = ColumnChoice({"id": "key", "text": "description"})
    assert [document.id for document in read_corpus(tmp_path, named)] == ["1"]


names = st.sampled_from([*(name for groups in KNOWN.values() for group in groups for name in group), "price", "Name"])
cells = st.text(st.characters(categories=["L", "Nd"]), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.dictionaries(names, cells, min_size=1, max_size=6), min_size=1, max_size=4))
def test_no_cell_is_lost_and_usual_rows_are_read_as_ever(rows: list[dict[str, str]]) -> None:
    """Each value is the id, the title, (in) the text or metadata; and files are read like objects in memory."""
    for number, row in enumerate(rows):
        row.update({name: f"{row[name]}{number}" for name in row if name in ("_id", "id", "sku", "key")})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "c.jsonl.gz")
        path.write_bytes(gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows)))
        try:
            documents = list(read_corpus(path))
        except InvalidError:
            assert len(rows) > 1 or not PLAIN.fit(rows[0])
            return
    for row, document in zip(rows, documents, strict=True):
        found = [document.id, document.title, document.text, *document.metadata.values()]
        assert sorted(found, key=str) == sorted([*row.values(), *([""] if document.title == "" else [])], key=str)
        if PLAIN.fit(rows[0]):
            id, text = (next(row[n] for n in order if n in row) for order in (ID_FIELDS, TEXT_FIELDS))
            assert (document.id, document.text, document.title) == (id, text, row.get("title", ""))
    assert list(as_documents(rows)) == documents


def test_the_id_may_be_a_part_of_the_text(tmp_path: Path) -> None:
    path = table(tmp_path / "c.csv", "sku,name,description", "K-1,Alta,A tent")
    choice = ColumnChoice({"text": ["sku", "description"]})
    assert list(read_corpus(path, choice)) == [Document("K-1", "K-1\n\nA tent", "Alta")]


def test_a_column_of_numbers_is_named_among_what_was_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = table(tmp_path / "c.csv", "sku,description,price", "K-1,A tent,9")
    with caplog.at_level("INFO"):
        list(read_corpus(path, ColumnChoice({"number": "price"})))
    assert "Read sku as id, description as text, price as number." in caplog.text


def test_what_the_caller_says_is_added_to_what_an_index_remembers() -> None:
    kept = {"id": ["ref"], "text": ["notes", "more"], "list": ["tags", "sizes"], "number": ["price"]}
    row = {"ref": 1, "notes": "a", "more": "b", "tags": "x|y", "sizes": "3", "price": "7.5"}
    for said, tags, sizes in (({"list": "tags"}, ["x", "y"], ["3"]), ({"number": "sizes"}, ["x", "y"], 3)):
        (document,) = as_documents([row], choice=ColumnChoice(said, kept))
        assert (document.id, document.text) == ("1", "a\n\nb")
        assert document.metadata == {"tags": tags, "sizes": sizes, "price": 7.5}
    (document,) = as_documents([row], choice=ColumnChoice({"text": "more"}, kept))
    assert (document.text, document.metadata["notes"], document.metadata["price"]) == ("b", "a", 7.5)
