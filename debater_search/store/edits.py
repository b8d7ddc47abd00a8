"""Change `documents.sqlite` in place: put documents in, take documents out; the lexical index follows exactly.

A change is three transactions around the manifest's rename: `edit_documents` writes rows of the next generation, which
no reader sees yet, so that they can be encoded; `index_words` gives the lexical index their words; after the rename
`settle` removes what went. A change that is given up, or whose process was killed, is undone by `recover`.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from debater_search.errors import DamagedError, InvalidError
from debater_search.store.database import (
    ContentSum,
    Row,
    changed_database,
    duplicate_id,
    has_generations,
    in_json,
    insert_row,
    read_language,
    read_state,
    row_hash,
    row_of,
)
from debater_search.store.fields import (
    has_fields,
    insert_fields,
    remove_fields,
    revise_fields,
    settle_revised_fields,
)
from debater_search.store.lexical import FORMER
from debater_search.store.manifest import MEND
from debater_search.store.passages import Split, has_passages, insert_passages, passages_of
from debater_search.types import Document, Span

_AT_ONCE = 1000  # documents
_NAMED = 10  # ids


class DocumentEdits:
    """What one change does to the documents, with counts. New texts stand at positions `first` … `end` - 1."""

    def __init__(
        self, connection: sqlite3.Connection, generation: int, first: int, split: Split | None, content: str
    ) -> None:
        self.generation = generation
        self.first = self.end = first
        self.vacated: list[int] = []
        """The rows whose document was deleted, or put again with another text."""
        self.others: list[str] = []
        """The first ids that `delete_others` took out."""
        self.added = self.updated = self.deleted = self.unchanged = 0
        self.current = ""
        self.content = ContentSum(content)
        self._connection, self._split = connection, split
        self._of_passages, self._has_fields = has_passages(connection), has_fields(connection)
        self._seen = bytearray(first)  # of each old position, whether its document was put
        self._digest = hashlib.sha256()

    @property
    def changed(self) -> bool:
        """Whether anything is different from before."""
        return bool(self.added or self.updated or self.deleted)

    def fingerprint(self, before: str) -> str:
        """The corpus's fingerprint after this change, made from the one before and from what has changed."""
        return hashlib.sha256(f"{before} {self._digest.hexdigest()}".encode()).hexdigest()

    def put(self, documents: Iterable[Document]) -> None:
        """Add documents; one whose id is known takes the place of the old one, unless it is the same.

        Raises:
            InvalidError: an id comes twice.

        """
        stream = iter(documents)
        while batch := list(islice(stream, _AT_ONCE)):
            known = self._known([document.id for document in batch])
            for document in batch:
                self.current = document.id
                self._put(document, known.get(document.id))

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Take out the documents with these ids; returns the ids that no document has."""
        sql = "SELECT id, position FROM documents WHERE id IN (SELECT value FROM json_each(?)) AND gone IS NULL"
        known = dict(self._connection.execute(sql, (in_json(ids),)))
        self._remove(sorted(known.values()))
        self.deleted += len(known)
        return [id for id in dict.fromkeys(ids) if id not in known]

    def delete_others(self) -> None:
        """Take out every old document that was not put."""
        sql = "SELECT position FROM documents WHERE position < ? AND gone IS NULL ORDER BY position"
        others = [position for (position,) in self._connection.execute(sql, (self.first,)) if not self._seen[position]]
        named = "SELECT id FROM documents WHERE position = ?"
        self.others += [self._connection.execute(named, (position,)).fetchone()[0] for position in others[:_NAMED]]
        self._remove(others)
        self.deleted += len(others)

    def _put(self, document: Document, known: tuple[int, str, str, str] | None) -> None:
        id, title, text, metadata = row = row_of(document)
        if known is None:
            self.added += 1
            self._insert(row)
            return
        position, *before = known
        if position >= self.first or self._seen[position]:
            raise duplicate_id(id)
        self._seen[position] = True
        if before == [title, text, metadata]:
            self.unchanged += 1
            return
        self.updated += 1
        if before == [title, text, before[2]]:  # its vector and its words stay
            self._revise(position, row)
        else:
            self._remove([position])
            self._insert(row)

    def _insert(self, row: Row) -> None:
        self._note(row)
        position = self.end
        spans: Sequence[Span] = ()
        if self._of_passages:
            assert self._split is not None
            (spans,) = self._split([Document(id=row[0], title=row[1], text=row[2])])
        hash = row_hash(position, row, spans)
        self.content.add(insert_row(self._connection, position, row, hash, self.generation))
        if self._has_fields:
            insert_fields(self._connection, position, row[3])
        self.end += insert_passages(self._connection, position, spans) if self._of_passages else 1

    def _revise(self, position: int, row: Row) -> None:
        self._note(row)
        self.content.remove(self._hash(position))
        spans = [span for _, span in passages_of(self._connection, position)] if self._of_passages else []
        hash = row_hash(position, row, spans)
        self.content.add(hash)
        self._connection.execute("INSERT INTO revisions VALUES (?, ?, ?)", (position, hash, row[3]))
        if self._has_fields:
            revise_fields(self._connection, position, row[3])

    def _remove(self, positions: Sequence[int]) -> None:
        for position in positions:
            self._note(position)
            self.content.remove(self._hash(position))
            self._connection.execute("UPDATE documents SET gone = ? WHERE position = ?", (self.generation, position))
            if self._of_passages:
                self.vacated += [row for row, _ in passages_of(self._connection, position)]
            else:
                self.vacated.append(position)

    def _hash(self, position: int) -> bytes:
        return self._connection.execute("SELECT hash FROM documents WHERE position = ?", (position,)).fetchone()[0]

    def _known(self, ids: Sequence[str]) -> dict[str, tuple[int, str, str, str]]:
        sql = (
            "SELECT id, position, title, text, metadata FROM documents "
            "WHERE id IN (SELECT value FROM json_each(?)) AND gone IS NULL"
        )
        return {id: (*row,) for id, *row in self._connection.execute(sql, (in_json(ids),))}

    def _note(self, what: int | tuple[str, ...]) -> None:
        self._digest.update(json.dumps(what).encode() + b"\n")


@contextmanager
def edit_documents(
    path: Path, generation: int, first: int, count: int, content: str, split: Split | None = None
) -> Iterator[DocumentEdits]:
    """Write what changes as rows of `generation`; they are on the disk, and invisible, when the block ends well.

    The database holds `count` documents, whose hashes add up to `content`. New texts get positions from `first` on;
    `split` makes their passages, in a database of passages. A block that changes nothing leaves nothing.

    Raises:
        InvalidError: the block put an id twice or a text that is none; or no document is left.
        DamagedError: there are documents at or behind `first`.
        BusyError, UnavailableError: the database cannot be written to.

    """
    edits: DocumentEdits | None = None
    with changed_database(path, lambda: edits.current if edits else "") as connection:
        highest = connection.execute("SELECT coalesce(max(position), -1) FROM documents").fetchone()[0]
        if highest >= first:
            raise DamagedError(f"{path} holds position {highest}, and its manifest {first} rows.", MEND)
        connection.execute("UPDATE state SET pending = ?, first = ?, words = 0", (generation, first))
        edits = DocumentEdits(connection, generation, first, split, content)
        yield edits
        if count + edits.added - edits.deleted < 1:
            raise InvalidError(
                "That would leave the index without documents.", "To remove the index: debater drop INDEX"
            )
        if not edits.changed:
            connection.execute("UPDATE state SET pending = NULL, first = NULL, words = 0")


def index_words(path: Path) -> None:
    """Give the lexical index the words of what is pending: the last step before the manifest's rename."""
    with changed_database(path) as connection:
        state = read_state(connection)
        if state.pending is not None and not state.words:
            sql = f"SELECT position, title, text FROM {_texts(connection)} WHERE position >= ?"
            connection.execute(f"INSERT INTO lexical (rowid, title, text) {sql}", (state.first,))
            connection.execute("UPDATE state SET words = 1")


def recover(path: Path, generation: int) -> None:
    """Bring a database to the state that its manifest's `generation` names, whatever a killed change left undone.

    Raises:
        DamagedError: it does not belong to this manifest.

    """
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
    try:
        state = read_state(connection) if has_generations(connection) else None
    except sqlite3.DatabaseError as error:
        raise DamagedError(f"{path} is damaged ({error}).", MEND) from None
    finally:
        connection.close()
    if state is None:
        return
    if generation not in (state.settled, state.pending):
        raise DamagedError(f"{path} is in generation {state.settled}, and its manifest in {generation}.", MEND)
    if state.pending == generation:
        settle(path)
    elif state.pending is not None:
        _undo(path)


def settle(path: Path) -> None:
    """Remove what went with the pending generation, which the manifest names by now; its rows need no marks any more.

    From here on BM25 counts the words of the documents that there are, and of no others.
    """
    with changed_database(path) as connection:
        state = read_state(connection)
        if state.pending is None:
            return
        _forget_words(connection, "gone IS NOT NULL")
        if has_passages(connection):
            connection.execute(
                "DELETE FROM passages WHERE document IN (SELECT position FROM documents WHERE gone IS NOT NULL)"
            )
        _forget_fields(connection, "gone IS NOT NULL")
        connection.execute("DELETE FROM documents WHERE gone IS NOT NULL")
        if has_fields(connection):
            settle_revised_fields(connection)
        connection.execute(
            "UPDATE documents SET metadata = revised.metadata, hash = revised.hash FROM revisions AS revised "
            "WHERE revised.position = documents.position"
        )
        _end(connection, state.pending)


def _undo(path: Path) -> None:
    """Take back what is pending."""
    with changed_database(path) as connection:
        state = read_state(connection)
        if state.words:
            _forget_words(connection, f"position >= {state.first}")
        if has_passages(connection):
            connection.execute("DELETE FROM passages WHERE position >= ?", (state.first,))
        _forget_fields(connection, f"position >= {state.first}")
        connection.execute("DELETE FROM documents WHERE position >= ?", (state.first,))
        connection.execute("UPDATE documents SET gone = NULL WHERE gone IS NOT NULL")
        _end(connection, state.settled)


def _forget_words(connection: sqlite3.Connection, condition: str) -> None:
    """Take the words of documents out of the lexical index, which wants the very texts that it was given."""
    sql = (
        f"SELECT 'delete', position, title, text FROM {_texts(connection)} "
        f"WHERE position IN (SELECT position FROM documents WHERE {condition})"
    )
    connection.execute(f"INSERT INTO lexical (lexical, rowid, title, text) {sql}")


def _forget_fields(connection: sqlite3.Connection, condition: str) -> None:
    if has_fields(connection):
        sql = f"SELECT position, metadata FROM documents WHERE {condition}"
        remove_fields(connection, connection.execute(sql).fetchall())


def _texts(connection: sqlite3.Connection) -> str:
    """What the lexical index reads."""
    return "documents" if read_language(connection) is FORMER else "lexical_texts"


def _end(connection: sqlite3.Connection, generation: int) -> None:
    connection.execute("DELETE FROM revisions")
    if has_fields(connection):
        connection.execute("DELETE FROM revised_fields")
    connection.execute("UPDATE state SET settled = ?, pending = NULL, first = NULL, words = 0", (generation,))
