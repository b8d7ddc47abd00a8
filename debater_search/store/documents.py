"""`documents.sqlite`: position ↔ id, the documents themselves, and their lexical index (FTS5, BM25).

Positions number the documents from 0 in the order they came; they are the row numbers of the embeddings and of the
vectors. A position whose document was deleted, or got a new text and thereby a new position, stays empty.
"""

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debater_search.errors import DamagedError
from debater_search.store.connection import Connection
from debater_search.store.database import State, document_of, in_json, row_hash
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


class DocumentStore:
    """The documents of one generation of an index, opened for reading only; safe to share between threads.

    Each thread has a connection of its own. Each call reads one state of the database, and so do all calls within
    `reading()`. Without a generation it is the one in which the database was settled.
    """

    def __init__(self, path: Path, generation: int | None = None) -> None:
        self.path, self.generation = path, generation
        self._threads = threading.local()
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
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
    def reading(self) -> Iterator[Connection]:
        """Let all calls of this thread read one state of the database while the block runs.

        Raises:
            SupersededError: the database has moved on to a later generation.
            DamagedError: it is missing, damaged, or older than the manifest that names it.

        """
        connection: Connection | None = getattr(self._threads, "connection", None)
        if connection is None or connection.outdated:
            connection = self._threads.connection = Connection(self.path, self.generation)
            self._connections.add(connection)
        with connection.transaction():
            yield connection

    def read(self, positions: Sequence[int]) -> list[Document]:
        """The documents at these positions, in the order asked for; DamagedError if one is not as it was written."""
        with self.reading() as connection:
            hash = "hash" if connection.state is not None else "NULL"
            found = self._by_position(f"position, {hash}, id, title, text, metadata", positions)
            return [self._checked(position, *found[position][1:]) for position in positions]

    def _checked(self, position: int, hash: bytes | None, *row: str) -> Document:
        """The document of a row; `hash` None, in the layout before generations, is not compared."""
        spans = self._spans(position) if self.split else ()
        if hash is not None and row_hash(position, (*row,), spans) != hash:  # type: ignore[arg-type]
            raise DamagedError(f"Document {row[0]!r} in {self.path} is damaged: its hash differs.", MEND)
        return document_of((*row,))  # type: ignore[arg-type]

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
        with self.reading() as connection, connection.worded():
            return [span for _, span in passages_of(connection.sqlite, position)]

    def _by_position(self, columns: str, positions: Sequence[int]) -> dict[int, Any]:
        sql = f"SELECT {columns} FROM documents WHERE position IN (SELECT value FROM json_each(?))"
        return {row[0]: row for row in self._rows(sql, in_json([int(position) for position in positions]))}

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        with self.reading() as connection:
            return connection.rows(sql, *values)
