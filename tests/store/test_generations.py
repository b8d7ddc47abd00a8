"""What a change writes is seen by its own generation alone, until it is settled; whatever is killed is undone."""

import sqlite3
import threading
import time
from pathlib import Path

import pytest

from debater_search.errors import BusyError, DamagedError
from debater_search.filters import Comparison, Missing, Not
from debater_search.store.connection import SupersededError
from debater_search.store.corpus import Written, write_documents
from debater_search.store.database import BUSY_SECONDS
from debater_search.store.documents import DocumentStore
from debater_search.store.edits import edit_documents, index_words, recover, settle
from debater_search.store.filters import allowed
from debater_search.store.words import register
from debater_search.types import Document, Span

DOCUMENTS = [
    Document("a", "Heat transfer in layers.", "Heat", {"year": 1950}),
    Document("b", "The wings of an aircraft flutter.", "Flutter", {"year": 1960}),
    Document("c", "Nothing of interest.", "", {"year": 1970}),
]
CHANGED = Document("b", "Gliders have long wings.", "Gliders", {"year": 1961})
REVISED = Document("c", "Nothing of interest.", "", {"year": 1971})
NEW = Document("d", "Flutter once more.")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "documents.sqlite"


@pytest.fixture
def written(path: Path) -> Written:
    return write_documents(path, DOCUMENTS)


def change(path: Path, written: Written) -> str:
    """Add d, delete a, give b another text and c other metadata, as generation 1; returns the content."""
    with edit_documents(path, 1, written.rows, written.documents, written.content) as edits:
        edits.put([CHANGED, REVISED, NEW])
        edits.delete(["a"])
    assert sorted(edits.vacated) == [0, 1]
    return str(edits.content)


def seen(store: DocumentStore) -> list[Document]:
    return list(store)


BEFORE, AFTER = DOCUMENTS, [REVISED, CHANGED, NEW]


def test_each_generation_sees_its_own_documents_until_the_change_is_settled(path: Path, written: Written) -> None:
    before = DocumentStore(path, 0)
    change(path, written)
    index_words(path)
    after = DocumentStore(path, 1)
    assert (seen(before), seen(after)) == (BEFORE, AFTER)
    assert (len(before), len(after)) == (3, 3)
    assert before.positions(["a", "b", "c", "d"]) == {"a": 0, "b": 1, "c": 2}
    assert after.positions(["a", "b", "c", "d"]) == {"b": 3, "c": 2, "d": 4}
    filters = {  # one of metadata that a change revised, one of a document that it deleted, and two that look at all
        Comparison("year", "=", (1971,)): ([], [2]),
        Comparison("year", "<", (1961,)): ([0, 1], []),
        Missing("year"): ([], [4]),
        Not(Comparison("year", "=", (1970,))): ([0, 1], [2, 3, 4]),
    }
    for tree, positions in filters.items():
        assert (allowed(tree, before).tolist(), allowed(tree, after).tolist()) == positions
    assert [position for position, _ in before.search("flutter heat", 9)] == [0, 1]
    assert [position for position, _ in after.search("flutter heat", 9)] == [4]


def test_a_settled_database_scores_as_one_written_anew(path: Path, written: Written, tmp_path: Path) -> None:
    change(path, written)
    index_words(path)
    settle(path)
    write_documents(tmp_path / "anew.sqlite", AFTER)
    changed, anew = DocumentStore(path, 1), DocumentStore(tmp_path / "anew.sqlite")
    for query in ("wings", "flutter", "nothing interesting", "heat"):
        ours = {changed.ids([position])[0]: score for position, score in changed.search(query, 9)}
        assert ours == pytest.approx({anew.ids([p])[0]: score for p, score in anew.search(query, 9)})


def test_a_reader_of_a_generation_that_was_settled_away_is_told_so(path: Path, written: Written) -> None:
    before = DocumentStore(path, 0)
    with before.reading():
        start = time.monotonic()
        change(path, written)
        index_words(path)
        settle(path)
        assert time.monotonic() - start < BUSY_SECONDS / 2  # a writer does not wait for readers
        assert seen(before) == BEFORE  # what began before is read to its end
    with pytest.raises(SupersededError, match="moved on to generation 1"):
        before.read([0])


@pytest.mark.parametrize("words", [False, True])
def test_a_change_without_its_manifest_is_undone(path: Path, written: Written, words: bool) -> None:
    change(path, written)
    if words:
        index_words(path)
    recover(path, 0)
    store = DocumentStore(path, 0)
    assert seen(store) == BEFORE
    assert [position for position, _ in store.search("flutter heat", 9)] == [0, 1]
    assert all(right for _, _, right in store.checked_rows())
    connection = sqlite3.connect(path)
    register(connection)
    connection.execute("INSERT INTO lexical (lexical, rank) VALUES ('integrity-check', 1)")
    connection.close()


def test_a_change_with_its_manifest_is_finished(path: Path, written: Written) -> None:
    content = change(path, written)
    index_words(path)
    recover(path, 1)
    store = DocumentStore(path, 1)
    assert seen(store) == AFTER
    assert store.state is not None
    assert store.state.pending is None
    total = sum(int.from_bytes(hash, "big") for _, hash, _ in store.checked_rows()) % (1 << 128)
    assert f"{total:032x}" == content


def test_a_database_that_belongs_to_another_manifest_is_refused(path: Path, written: Written) -> None:
    with pytest.raises(DamagedError, match="lacks the changes of generation 3"):
        DocumentStore(path, 3)
    with pytest.raises(DamagedError, match="generation 0, and its manifest in 3"):
        recover(path, 3)


def test_a_damaged_row_is_named_and_its_neighbours_are_not(path: Path, written: Written) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE documents SET text = 'Heat transfer in lawyers.' WHERE position = 0")
    connection.commit()
    connection.close()
    store = DocumentStore(path)
    assert [right for _, _, right in store.checked_rows()] == [False, True, True]
    with pytest.raises(DamagedError, match=r"Document 'a' in .* is damaged"):
        list(store.sound_documents())


def test_passages_come_and_go_with_their_document(path: Path) -> None:
    def split(documents: object) -> list[list[Span]]:
        return [[Span(0, 0, 3), Span(0, 3, len(document.text))] for document in documents]  # type: ignore[attr-defined]

    written = write_documents(path, DOCUMENTS, split)
    with edit_documents(path, 1, written.rows, 3, written.content, split) as edits:
        edits.put([CHANGED, REVISED])
    assert edits.vacated == [2, 3]
    before, after = DocumentStore(path, 0), DocumentStore(path, 1)
    assert before.row_ids(0, 9) == ["a", "a", "b", "b", "c", "c"]
    assert after.row_ids(0, 9) == ["a", "a", "c", "c", "b", "b"]
    assert after.rows() == [(0, 0), (1, 0), (4, 4), (5, 4), (6, 6), (7, 6)]
    assert [d.text for d in after.read_rows(6, 8)] == ["Gli", "ders have long wings."]
    index_words(path)
    settle(path)
    assert DocumentStore(path, 1).rows() == [(0, 0), (1, 0), (4, 4), (5, 4), (6, 6), (7, 6)]
    assert all(right for _, _, right in DocumentStore(path, 1).checked_rows())


def test_a_second_writer_is_told_to_wait(path: Path, written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("debater_search.store.database.BUSY_SECONDS", 0.01)
    with edit_documents(path, 1, 3, 3, written.content) as edits:
        edits.delete(["a"])
        with pytest.raises(BusyError, match="in use by another process"):
            settle(path)


def test_threads_read_side_by_side_while_a_writer_works(path: Path, written: Written) -> None:
    store, failures = DocumentStore(path, 0), []

    def read() -> None:
        try:
            for _ in range(50):
                assert seen(store) == BEFORE
        except Exception as error:  # shown below
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    change(path, written)
    index_words(path)
    for thread in threads:
        thread.join()
    assert failures == []
