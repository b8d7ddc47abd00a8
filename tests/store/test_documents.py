import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from debater_search.errors import DamagedError, DebaterError
from debater_search.store.corpus import write_documents
from debater_search.store.documents import DocumentStore
from debater_search.store.lexical import ENGLISH, LANGUAGES, MAX_WORDS, STOP_WORDS
from debater_search.types import Document

DOCUMENTS = [
    Document("a", "Heat transfer in boundary layers.", "On heating", {"year": 1950, "tags": ["x", "ü"]}),
    Document("b", "The wings of an aircraft flutter.", "Flutter"),
    Document("c", "Nothing of interest.", ""),
    Document("d", "", "Heat"),
]


@pytest.fixture
def store(tmp_path: Path) -> DocumentStore:
    write_documents(tmp_path / "documents.sqlite", DOCUMENTS)
    return DocumentStore(tmp_path / "documents.sqlite")


def found(store: DocumentStore, query: str, k: int = 10) -> list[str]:
    return store.ids([position for position, _ in store.search(query, k)])


def test_documents_come_back_whole_and_in_the_order_asked_for(store: DocumentStore) -> None:
    assert len(store) == 4
    assert store.read([2, 0]) == [DOCUMENTS[2], DOCUMENTS[0]]
    assert store.read_range(1, 3) == DOCUMENTS[1:3]
    assert store.ids() == ["a", "b", "c", "d"]
    assert store.ids([3, 1]) == ["d", "b"]
    assert store.positions(["d", "unknown", "a"]) == {"a": 0, "d": 3}


def test_lexical_search_matches_any_word_stemmed_in_title_or_text(store: DocumentStore) -> None:
    assert set(found(store, "heated wing")) == {"a", "b", "d"}
    assert found(store, "flutter")[0] == "b"
    assert found(store, "zebra") == []
    assert len(found(store, "heated wing", k=1)) == 1


def test_scores_are_positive_and_fall_and_ties_follow_position(tmp_path: Path) -> None:
    twins = [Document(str(i), "same words here") for i in range(5)]
    write_documents(tmp_path / "d.sqlite", [*twins, *(Document(f"o{i}", "other") for i in range(9))])
    hits = DocumentStore(tmp_path / "d.sqlite").search("same", 4)
    assert [position for position, _ in hits] == [0, 1, 2, 3]
    assert all(score > 0 for _, score in hits)


def test_positions_choose_among_matches_and_leave_the_scores(store: DocumentStore) -> None:
    within = np.array([1, 3, 9])
    scores = dict(store.search("heated wing", 10))
    assert dict(store.search("heated wing", 10, within=within)) == {1: scores[1], 3: scores[3]}
    assert len(store.search("heated wing", 1, within=within)) == 1
    assert store.search("heated wing", 10, within=within[:0]) == []
    assert store.live_positions().tolist() == [0, 1, 2, 3]


def test_metadata_fields_are_known_by_name(store: DocumentStore) -> None:
    assert store.fields() == ["tags", "year"]
    assert [store.has_field(name) for name in ("year", "Year", "title", "$.year", "x'")] == [True] + [False] * 4


def test_numbers_that_are_none_become_null(tmp_path: Path) -> None:
    odd = {"a": float("nan"), "b": [float("inf"), 1.5], "c": "NaN"}
    write_documents(tmp_path / "d.sqlite", [Document("x", metadata=odd)])
    store = DocumentStore(tmp_path / "d.sqlite")
    assert store.read([0])[0].metadata == {"a": None, "b": [None, 1.5], "c": "NaN"}
    assert store.has_field("a")


def test_stop_words_are_dropped_unless_nothing_else_is_asked() -> None:
    assert [term.text for term in ENGLISH.terms("What is the heat of the wing")] == ["heat", "wing"]
    assert [term.text for term in ENGLISH.terms("to be or not to be")] == ["to", "be", "or", "not"]
    assert "heat" not in STOP_WORDS


def test_a_query_of_100000_words_is_cut_and_answered(store: DocumentStore) -> None:
    query = "heat " + " ".join(f"w{i}" for i in range(100_000))
    assert len(ENGLISH.terms(query)) == MAX_WORDS
    assert ENGLISH.expression(f"{query} heat heat").count('"') == 2 * MAX_WORDS
    assert "a" in found(store, query)


@given(st.text())
def test_no_query_is_ever_fts_syntax(text: str) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE lexical USING fts5(text)")
    for language in LANGUAGES.values():
        if expression := language.expression(text):
            connection.execute("SELECT * FROM lexical WHERE lexical MATCH ?", [expression]).fetchall()
    connection.close()


@pytest.mark.parametrize(
    "query", ['"', "title:heat", "heat AND", "heat*", "NEAR(heat wing)", "'; DROP TABLE documents"]
)
def test_operators_in_a_query_are_plain_words(store: DocumentStore, query: str) -> None:
    store.search(query, 10)
    assert len(store) == 4


def test_a_query_without_any_word_finds_nothing(store: DocumentStore) -> None:
    assert store.search("?! …", 10) == []


def test_a_repeated_id_is_named(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match="id 'a' twice"):
        write_documents(tmp_path / "d.sqlite", [*DOCUMENTS, Document("a", "again")])


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match="corpus is empty"):
        write_documents(tmp_path / "d.sqlite", [])


def test_half_a_surrogate_pair_is_named_by_document(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match="Document 'bad'"):
        write_documents(tmp_path / "d.sqlite", [DOCUMENTS[0], Document("bad", "\ud800")])


@pytest.mark.parametrize("metadata", ["{", "", "[" * 100_000, "NULL"])
def test_damaged_metadata_is_a_sentence(tmp_path: Path, metadata: str) -> None:
    path = tmp_path / "d.sqlite"
    write_documents(path, iter(DOCUMENTS))
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE documents SET metadata = ?", (metadata,))
        database.commit()
    with pytest.raises(DamagedError, match=r"metadata of document .* is damaged"):
        list(DocumentStore(path))


def test_the_fingerprint_follows_content_and_order(tmp_path: Path) -> None:
    def fingerprint(documents: list[Document]) -> str:
        (tmp_path / "d.sqlite").unlink(missing_ok=True)
        return write_documents(tmp_path / "d.sqlite", iter(documents)).fingerprint

    assert fingerprint(DOCUMENTS) == fingerprint(DOCUMENTS)
    assert fingerprint(DOCUMENTS) != fingerprint(DOCUMENTS[::-1])
    assert fingerprint([Document("a", "b c")]) != fingerprint([Document("a", "c", "b")])


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "documents.sqlite"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    with pytest.raises(DebaterError, match=r"documents\.sqlite is damaged"):
        DocumentStore(path)


def test_a_database_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match=r"documents\.sqlite cannot be written"):
        write_documents(tmp_path / "none" / "documents.sqlite", DOCUMENTS)


def test_a_missing_database_is_named_and_not_created(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match=r"documents\.sqlite is missing"):
        DocumentStore(tmp_path / "documents.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_threads_share_a_store(store: DocumentStore) -> None:
    answers: list[list[str]] = []
    threads = [threading.Thread(target=lambda: answers.append(found(store, "heat"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [found(store, "heat")] * 8
