"""Documents and queries as Python callers give them, from the index's door to its hits."""

from pathlib import Path
from typing import Any

import pytest

from debater_search.errors import InvalidError, MissingError
from debater_search.indexing import add, build, delete, update
from debater_search.search import SearchEngine
from debater_search.types import Document, Query

WING, HEAT = Document("1", "wing"), Document("2", "heat")


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return build([WING, HEAT], None, tmp_path / "ix").folder


def found(folder: Path, query: Any, **more: Any) -> list[str]:
    return [hit.id for hit in SearchEngine.open(folder).search(query, mode="lexical", **more)]


def test_objects_with_a_text_are_documents(tmp_path: Path) -> None:
    rows = [{"_id": 1, "title": "T", "text": "wing", "year": 2020}, {"id": "2", "contents": "heat"}]
    folder = build(rows, None, tmp_path / "ix").folder  # type: ignore[arg-type]
    assert found(folder, "wing", where="year = 2020") == ["1"]
    add(folder, {"id": "3", "text": "lift of a wing"})  # type: ignore[arg-type]
    assert set(found(folder, "wing")) == {"1", "3"}
    update(folder, [{"id": "3", "text": "lift"}])  # type: ignore[list-item]
    assert found(folder, "lift") == ["3"]


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([Document("1", None)], r"\('1'\): the text is None"),  # type: ignore[arg-type]
        ([("1", "T", "wing", "x")], r"\[0\] is a tuple of 4, not a document"),
        (["wing", 3], r"\[1\] is of type int, not a document"),
        ([{"text": "wing"}], "has no id"),
        ([None], "is None, not a document"),
        (3, "is of type int, not a list of documents"),
        ([Document("1\n1 Q0 b 1 9 x", "wing")], "holds a control character"),
    ],
)
def test_what_is_no_document_is_named_with_its_argument(
    index: Path, tmp_path: Path, documents: Any, message: str
) -> None:
    with pytest.raises(InvalidError, match=f"corpus.*{message}"):
        build(documents, None, tmp_path / "other")
    with pytest.raises(InvalidError, match=f"documents.*{message}"):
        add(index, documents)
    assert set(found(index, "wing heat")) == {"1", "2"}


def test_keys_of_metadata_become_strings(tmp_path: Path) -> None:
    folder = build([Document("1", "wing", metadata={"a": 1, 2: 3})], None, tmp_path / "ix").folder  # type: ignore[dict-item]
    [hit] = SearchEngine.open(folder).search("wing", mode="lexical")
    assert hit.metadata == {"a": 1, "2": 3}


def test_two_queries_with_one_id_are_refused(index: Path) -> None:
    engine = SearchEngine.open(index)
    with pytest.raises(InvalidError, match="queries: the query id '1' comes twice"):
        engine.search_batch([Query("1", "wing"), Query("1", "heat")], mode="lexical")


def test_one_string_is_one_query(index: Path) -> None:
    engine = SearchEngine.open(index)
    assert list(engine.search_batch("wing", mode="lexical")) == ["0"]  # type: ignore[arg-type]
    assert {
        q: list(hits) for q, hits in engine.search_batch([{"id": "a", "text": "heat"}], mode="lexical").items()
    } == {  # type: ignore[list-item]
        "a": ["2"]
    }
    for query in (None, 3, ["wing"], ("1", "wing")):
        with pytest.raises(InvalidError, match="query"):
            engine.search(query, mode="lexical")  # type: ignore[arg-type]


def test_a_blank_cell_of_csv_is_a_missing_field(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("_id,text,year,ok\n1,wing a,2020,true\n2,wing b,,false\n", encoding="utf-8")
    folder = build(tmp_path / "c.csv", None, tmp_path / "ix").folder
    assert found(folder, "wing", where="year is missing") == ["2"]
    assert found(folder, "wing", where="year is not missing") == ["1"]
    assert found(folder, "wing", where="year = 2020") == ["1"]
    assert found(folder, "wing", where="ok = true") == ["1"]


def test_warnings_of_a_folder_are_kept_in_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "README.md").write_text("card", encoding="utf-8")
    (tmp_path / "data" / "docs.jsonl").write_text('{"id": "1", "contents": "wing"}\n', encoding="utf-8")
    folder = build(tmp_path / "data", None, tmp_path / "ix").folder
    assert found(folder, "wing") == ["1"]
    assert SearchEngine.open(folder).manifest.warnings == ["Files of the folder that are not read: 1 (README.md)."]


def test_texts_are_documents_and_keep_their_places_in_later_changes(tmp_path: Path) -> None:
    folder = build(["wing", "heat", "wing"], None, tmp_path / "ix").folder
    again = add(folder, ["heat", "ice"])
    assert (again.added, again.unchanged, again.documents) == (1, 1, 3)
    whole = update(folder, ["ice", "wing"])
    assert (whole.unchanged, whole.deleted, whole.documents) == (2, 1, 2)


def test_one_id_is_deleted_as_a_list_of_one(index: Path) -> None:
    add(index, [(10, "lift")])
    assert delete(index, "10").deleted == 1
    assert delete(index, 1).documents == 1  # type: ignore[arg-type]


def test_a_text_where_a_path_belongs_is_explained(index: Path, tmp_path: Path) -> None:
    text = "A wing carries an aircraft. " * 200
    for call in (lambda: add(index, text), lambda: build(text, None, tmp_path / "other")):
        with pytest.raises(MissingError, match=r"There is no file 'A wing .*…'.*a text goes into a list: \[text\]"):
            call()
    with pytest.raises(MissingError, match=r"There is no file papers\.jsonl"):
        add(index, "papers.jsonl")
