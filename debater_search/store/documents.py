"""`documents.sqlite`: position ↔ id, the documents themselves, and their lexical index (FTS5, BM25).

Positions number the documents from 0 in the order they came; they are the row numbers of the embeddings and of the
vectors. A position whose document was deleted, or got a new text and thereby a new position, stays empty.
"""

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from debater_search.errors import DamagedError
from debater_search.store.connection import Connection
from debater_search.store.database import State, document_of, in_json, row_hash
from debater_search.store.manifest import MEND
from debater_search.store.passages import has_passages, passages_of
from debater_search.store.values import TYPES, all_rows_of, holders_of, rows_of
from debater_search.types import Document, Span

_READ_AT_ONCE = 1000  # documents
_FEW = 2000  # documents whose metadata is read sooner than all rows of a field
# Each name is found by one look into the table, however many rows it has.
_NAMES = """
SELECT key FROM (
    WITH RECURSIVE names (key) AS (
        SELECT min(key) FROM fields
        UNION ALL SELECT (SELECT min(key) FROM fields WHERE key > names.key) FROM names WHERE key IS NOT NULL
    )
    SELECT key FROM names WHERE key IS NOT NULL
)
"""


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
            self.language = connection.language
            """How words are compared."""
            self.has_field_table = connection.has_fields
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

    def find(self, id: str) -> Document | None:
        """The document of this id; None if there is none. DamagedError if it is not as it was written."""
        with self.reading():
            position = self.positions([id]).get(id)
            return None if position is None else self.read([position])[0]

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

    def live_positions(self) -> np.ndarray:
        """The positions of all documents, int64, ascending."""
        return np.sort(self.position_array("SELECT position FROM documents"))

    def position_array(self, sql: str, *values: str | int | float) -> np.ndarray:
        """The positions, int64, that a statement gives; what a user wrote belongs among `values`."""
        rows = self._rows(sql, *values)
        return np.fromiter(chain.from_iterable(rows), np.int64, len(rows))

    def field_rows(self, sql: str, *values: str | int | float) -> list[Any]:
        """The rows of a statement about `fields`; what a user wrote belongs among `values`."""
        return self._rows(sql, *values)

    def field_rows_of(self, name: str, positions: np.ndarray) -> list[Any]:
        """Key, type, value and position of a field's rows, of the documents at these positions."""
        if len(positions) <= _FEW:
            found = self.described(positions)
            return [(*row, position) for position, *_, metadata in found for row in rows_of(metadata) if row[0] == name]
        among = "position IN (SELECT value FROM json_each(?))"
        sql = f"SELECT key, type, value, position FROM fields WHERE key = ? AND {among}"
        return self._rows(sql, name, in_json(positions.tolist()))

    def described(self, positions: np.ndarray | None = None) -> Iterator[tuple[int, str, str, str]]:
        """Position, id, title and metadata, as JSON, of the documents at these positions, or of all; by position."""
        sql = "SELECT position, id, title, metadata FROM documents WHERE "
        if positions is None:
            for start in range(0, self.end, _READ_AT_ONCE):
                yield from self._rows(f"{sql}position >= ? AND position < ?", start, start + _READ_AT_ONCE)
        else:
            yield from self._rows(f"{sql}position IN (SELECT value FROM json_each(?))", in_json(positions.tolist()))

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
        """Whether any document has this metadata field, or may have it in one that is long."""
        if not self.has_field_table:
            return name in self.fields()
        sql = (
            "SELECT 1 FROM fields WHERE key = ? OR (type = 'long' AND key IN (SELECT value FROM json_each(?))) LIMIT 1"
        )
        return bool(self._rows(sql, name, in_json(holders_of([name]))))

    def types_of(self, name: str) -> set[str]:
        """The types of value, but for missing ones, that a field has, what it lies in being `long` included.

        There must be the table of fields.
        """
        sql = "SELECT EXISTS (SELECT 1 FROM fields WHERE key = ? AND type = ?)"
        asked = [*((name, type) for type in TYPES), *((holder, "long") for holder in holders_of([name]))]
        return {type for key, type in asked if type not in ("missing", "several") and self._rows(sql, key, type)[0][0]}

    def fields(self) -> list[str]:
        """The names of all metadata fields, in order. Without the table of fields this reads every document."""
        if self.has_field_table:
            return [row[0] for row in self._rows(_NAMES)]
        found = {key for _, _, _, metadata in self.described() for key, _, _ in all_rows_of(metadata)}
        return sorted(found)

    def search(self, query: str, k: int, *, within: np.ndarray | None = None) -> list[tuple[int, float]]:
        """BM25: the k best (position, score) among documents that hold any word of the query; ties by position.

        Only documents at the positions `within`, if they are given; the scores stay those of the whole corpus.
        """
        expression = self.language.expression(query)
        if not expression:
            return []
        with self.reading() as connection:
            matches = "lexical MATCH ?"
            if connection.visible is not None:
                matches += " AND EXISTS (SELECT 1 FROM documents WHERE position = lexical.rowid)"
            if within is not None:
                matches += f" AND {connection.membership(within)}(lexical.rowid)"
            sql = f"SELECT rowid, -bm25(lexical) AS score FROM lexical WHERE {matches}"
            found = self._rows(f"{sql} ORDER BY score DESC, rowid LIMIT ?", expression, k)
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
