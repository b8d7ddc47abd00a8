"""`documents.sqlite`: position ↔ id, the documents themselves, and their lexical index (FTS5, BM25).

Positions number the documents from 0 in the order they came; they are the row numbers of the embeddings and of the
vectors. A position whose document was deleted, or got a new text and thereby a new position, stays empty.
"""

import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debater_search.errors import BusyError, DamagedError, DebaterError
from debater_search.store.database import (
    BUSY_SECONDS,
    State,
    document_of,
    has_generations,
    in_json,
    read_state,
    row_hash,
)
from debater_search.store.lexical import fts_expression
from debater_search.store.manifest import MEND
from debater_search.store.passages import has_passages, passages_of
from debater_search.types import Document, Span


@dataclass(frozen=True)
class Condition:
    """An SQL condition on a row of `documents`. The text is ours; whatever a user wrote is among the parameters."""

    sql: str
    parameters: tuple[str | int | float, ...] = ()


EVERY = Condition("TRUE")
_READ_AT_ONCE = 1000  # documents


class SupersededError(BusyError):
    """The database has been settled in a later generation than the reader's: what it held is gone."""


class DocumentStore:
    """The documents of one generation of an index, opened for reading only; safe to share between threads.

    Each thread has a connection of its own. Each call reads one state of the database, and so do all calls within
    `reading()`. Without a generation it is the one in which the database was settled.
    """

    def __init__(self, path: Path, generation: int | None = None) -> None:
        self.path, self.generation = path, generation
        self._threads = threading.local()
        self._connections: weakref.WeakSet[_Connection] = weakref.WeakSet()
        with self.reading() as connection:
            connection.rows("SELECT max(position) FROM documents")  # is it a database at all?
            self.split = has_passages(connection.sqlite)
            """Whether what is encoded are passages of documents."""
        self._encoded = "passages" if self.split else "(SELECT position, position AS document FROM documents)"

    def __len__(self) -> int:
        return int(self._rows("SELECT count(*) FROM documents")[0][0])

    @property
    def end(self) -> int:
        """One more than the highest position; some below it may have no document."""
        table = "passages" if self.split else "documents"
        return int(self._rows(f"SELECT coalesce(max(position) + 1, 0) FROM {table}")[0][0])

    def __iter__(self) -> Iterator[Document]:
        """Every document by position, read piece by piece from one state of the database."""
        yield from (document for _, document in self.items())

    def items(self) -> Iterator[tuple[int, Document]]:
        """Every document with its position, as iterating over the store gives them."""
        sql = (
            "SELECT position, id, title, text, metadata FROM documents WHERE position >= ? AND position < ? "
            "ORDER BY position"
        )
        with self.reading():
            for start in range(0, self.end, _READ_AT_ONCE):
                for position, *row in self._rows(sql, start, start + _READ_AT_ONCE):
                    yield position, document_of((*row,))

    @contextmanager
    def reading(self) -> Iterator["_Connection"]:
        """Let all calls of this thread read one state of the database while the block runs.

        Raises:
            SupersededError: the database has moved on to a later generation.
            DamagedError: it is missing, damaged, or older than the manifest that names it.

        """
        connection: _Connection | None = getattr(self._threads, "connection", None)
        if connection is None or connection.outdated:
            connection = self._threads.connection = _Connection(self.path, self.generation)
            self._connections.add(connection)
        with connection.transaction():
            yield connection

    def read(self, positions: Sequence[int]) -> list[Document]:
        """The documents at these positions, in the order asked for."""
        found = self._by_position("position, id, title, text, metadata", positions)
        return [document_of(found[position][1:]) for position in positions]

    def read_range(self, start: int, stop: int) -> list[Document]:
        """The documents at positions start … stop - 1, but for those that were deleted."""
        sql = "SELECT id, title, text, metadata FROM documents WHERE position >= ? AND position < ? ORDER BY position"
        return [document_of(row) for row in self._rows(sql, start, stop)]

    def ids(self, positions: Sequence[int] | None = None) -> list[str]:
        """The ids at these positions, in the order asked for; of all documents without an argument."""
        if positions is None:
            return [row[0] for row in self._rows("SELECT id FROM documents ORDER BY position")]
        found = self._by_position("position, id", positions)
        return [found[position][1] for position in positions]

    def positions(self, ids: Sequence[str]) -> dict[str, int]:
        """The positions of these ids; unknown ids are left out."""
        sql = "SELECT id, position FROM documents WHERE id IN (SELECT value FROM json_each(?))"
        return dict(self._rows(sql, in_json(ids)))

    def positions_where(self, condition: Condition = EVERY) -> list[int]:
        """The positions of the documents that a condition allows, in order."""
        sql = f"SELECT position FROM documents WHERE {condition.sql} ORDER BY position"
        return [row[0] for row in self._rows(sql, *condition.parameters)]

    def read_rows(self, start: int, stop: int) -> list[Document]:
        """What is encoded at positions start … stop - 1: documents, or passages of them, but for deleted ones."""
        if not self.split:
            return self.read_range(start, stop)
        sql = (
            "SELECT document, passages.title, start, stop FROM passages JOIN documents ON documents.position = document"
            " WHERE passages.position >= ? AND passages.position < ? ORDER BY passages.position"
        )
        with self.reading():
            rows = self._rows(sql, start, stop)
            whole = {position: self.read([position])[0] for position in dict.fromkeys(row[0] for row in rows)}
        return [Span(*span).of(whole[position]) for position, *span in rows]

    def row_ids(self, start: int, stop: int) -> list[str]:
        """The ids of the documents that are encoded at positions start … stop - 1; those of passages come again."""
        sql = (
            f"SELECT id FROM {self._encoded} AS encoded JOIN documents ON documents.position = encoded.document "
            "WHERE encoded.position >= ? AND encoded.position < ? ORDER BY encoded.position"
        )
        return [row[0] for row in self._rows(sql, start, stop)]

    def rows(self, start: int = 0, stop: int | None = None) -> list[tuple[int, int]]:
        """Every position that is encoded, from `start` on and before `stop`, with the position of its document."""
        sql = f"SELECT position, document FROM {self._encoded} WHERE position >= ? AND position < ?"
        if self.split:
            sql += " AND document IN (SELECT position FROM documents)"
        with self.reading():
            return self._rows(f"{sql} ORDER BY position", start, self.end if stop is None else stop)

    def spans(self, documents: Sequence[Document]) -> list[list[Span]]:
        """The stored passages of these documents."""
        with self.reading():
            positions = self.positions([document.id for document in documents])
            return [self._spans(positions[document.id]) for document in documents]

    def checked_rows(self) -> Iterator[tuple[Document, bytes, bool]]:
        """Every document, with the hash that is stored of it and whether it is the right one; in order of position."""
        sql = (
            "SELECT position, hash, id, title, text, metadata FROM documents WHERE position >= ? AND position < ? "
            "ORDER BY position"
        )
        with self.reading():
            end = self.end
            for start in range(0, end, _READ_AT_ONCE):
                for position, hash, *row in self._rows(sql, start, start + _READ_AT_ONCE):
                    right = row_hash(position, (*row,), self._spans(position) if self.split else ()) == hash
                    yield document_of((*row,)), hash, right

    def sound_documents(self) -> Iterator[Document]:
        """Every document by position; raises DamagedError, naming the document, where one is not as it was written."""
        if self.state is None:
            yield from self
            return
        for document, _, right in self.checked_rows():
            if not right:
                raise DamagedError(f"Document {document.id!r} in {self.path} is damaged: its hash differs.", MEND)
            yield document

    @property
    def state(self) -> State | None:
        """How far changes have come; None for a database of the layout before generations."""
        with self.reading() as connection:
            return connection.state

    def has_field(self, name: str) -> bool:
        """Whether any document has this metadata field."""
        sql = "SELECT EXISTS (SELECT 1 FROM documents, json_each(metadata) AS field WHERE field.key = ?)"
        return bool(self._rows(sql, name)[0][0])

    def fields(self) -> list[str]:
        """The names of all metadata fields, in order; reads every document's metadata."""
        return [row[0] for row in self._rows("SELECT DISTINCT key FROM documents, json_each(metadata) ORDER BY key")]

    def search(self, query: str, k: int, *, where: Condition | None = None) -> list[tuple[int, float]]:
        """BM25: the k best (position, score) among documents that hold any word of the query; ties by position.

        `where` chooses among them; the scores stay those of the whole corpus.
        """
        expression = fts_expression(query)
        if not expression:
            return []
        with self.reading() as connection:
            matches = "lexical MATCH ?"
            parameters: list[str | int | float] = [expression]
            if where is not None or connection.visible is not None:
                condition = where or EVERY
                matches += f" AND EXISTS (SELECT 1 FROM documents WHERE position = lexical.rowid AND {condition.sql})"
                parameters += condition.parameters
            sql = f"SELECT rowid, -bm25(lexical) AS score FROM lexical WHERE {matches}"
            found = self._rows(f"{sql} ORDER BY score DESC, rowid LIMIT ?", *parameters, k)
        return [(position, score) for position, score in found]

    def close(self) -> None:
        """Close the database file in every thread."""
        for connection in list(self._connections):
            connection.close()

    def _spans(self, position: int) -> list[Span]:
        with self.reading() as connection:
            return [span for _, span in passages_of(connection.sqlite, position)]

    def _by_position(self, columns: str, positions: Sequence[int]) -> dict[int, Any]:
        sql = f"SELECT {columns} FROM documents WHERE position IN (SELECT value FROM json_each(?))"
        return {row[0]: row for row in self._rows(sql, in_json([int(position) for position in positions]))}

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        with self.reading() as connection:
            return connection.rows(sql, *values)


class _Connection:
    """One thread's connection, and what of the database its generation sees."""

    def __init__(self, path: Path, generation: int | None) -> None:
        self._path, self._generation = path, generation
        self._depth = 0
        self._seen: object = None  # of a file that is opened as one that nobody changes
        self._has_generations: bool | None = None
        self.state: State | None = None
        self.visible: str | None = None
        """A table expression that stands for `documents`, where not all of its rows are this generation's."""
        self.sqlite = self._open()

    @property
    def outdated(self) -> bool:
        """Whether the file was opened as one that nobody changes, and somebody has changed it."""
        return self._seen is not None and self._depth == 0 and self._seen != self._stat()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Read one state until the outermost block ends."""
        if not self._depth:
            with self._worded():
                self.sqlite.execute("BEGIN")
                try:
                    self._look()
                except BaseException:
                    self.sqlite.execute("ROLLBACK")
                    raise
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                with suppress(sqlite3.Error):  # it was closed meanwhile
                    self.sqlite.execute("ROLLBACK")

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """The rows of a statement, in which `documents` are those of this generation."""
        with self._worded():
            return self.sqlite.execute(f"{self.visible}{sql}" if self.visible else sql, values).fetchall()

    def close(self) -> None:
        """Close the file; a query that reads it fails."""
        self.sqlite.close()

    def _open(self) -> sqlite3.Connection:
        try:
            sqlite = self._connect("mode=rw")  # the last to close a database that may be written to removes its log
            sqlite.execute("PRAGMA query_only = 1")
            sqlite.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            # A log cannot be made in a folder that may not be written to; where there is none, nobody writes.
            no_log = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
            if not no_log or not self._path.is_file():
                raise DamagedError(f"{self._path} is missing or cannot be opened.", MEND) from None
            sqlite, self._seen = self._connect("mode=ro&immutable=1"), self._stat()
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from None
        return sqlite

    def _connect(self, options: str) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?{options}"
        # The isolation level leaves transactions to this class.
        return sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None, timeout=BUSY_SECONDS)

    def _stat(self) -> object:
        with suppress(OSError):
            now = self._path.stat()
            return now.st_ino, now.st_mtime_ns, now.st_size, self._path.with_name(f"{self._path.name}-wal").exists()
        return None

    def _look(self) -> None:
        """Begin to read: what this generation sees of the rows."""
        self.visible = None
        if self._has_generations is None:
            self._has_generations = has_generations(self.sqlite)
        if not self._has_generations:
            return
        self.state = read_state(self.sqlite)
        settled, pending, *_ = self.state
        generation = settled if self._generation is None else self._generation
        if generation < settled:
            raise SupersededError(
                f"{self._path} has moved on to generation {settled}.", "Open the index again and repeat the call."
            )
        if generation not in (settled, pending):
            raise DamagedError(f"{self._path} lacks the changes of generation {generation}.", MEND)
        if pending is not None:
            self.visible = _visible(generation, revised=generation == pending)

    @contextmanager
    def _worded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise BusyError(f"{self._path} is being written to.", "Try again in a moment.") from None
            raise self._damaged(error) from None
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from None

    def _damaged(self, error: sqlite3.Error) -> DebaterError:
        return DamagedError(f"{self._path} is damaged ({error}).", MEND)


def _visible(generation: int, *, revised: bool) -> str:
    """A WITH clause in which `documents` are the rows of one generation, in the metadata that they have there."""

    def column(name: str) -> str:
        if not revised:
            return name
        return f"coalesce((SELECT {name} FROM revisions WHERE position = stored.position), {name}) AS {name}"

    return (
        f"WITH documents AS NOT MATERIALIZED (SELECT position, {column('hash')}, id, title, {column('metadata')}, text "
        f"FROM main.documents AS stored WHERE came <= {generation} AND (gone IS NULL OR gone > {generation})) "
    )
