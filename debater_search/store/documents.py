"""`documents.sqlite`: position ↔ id, the documents themselves, and their lexical index (FTS5, BM25).

Positions number the documents from 0 in the order they came; they are the row numbers of the embeddings and of the
vectors. A position whose document was deleted, or got a new text and thereby a new position, stays empty.
"""

import hashlib
import json
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from debater_search.errors import DebaterError
from debater_search.store.lexical import fts_expression
from debater_search.store.manifest import MEND
from debater_search.store.passages import SCHEMA as PASSAGES
from debater_search.store.passages import Split, has_passages, insert_passages, spans_of
from debater_search.types import Document, Span

# External content: the lexical index points at the documents table instead of keeping the texts a second time.
_SCHEMA = (
    """
CREATE TABLE documents (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    metadata TEXT NOT NULL
)
""",
    """
CREATE VIRTUAL TABLE lexical USING fts5(
    title, text, content='documents', content_rowid='position', tokenize='porter unicode61 remove_diacritics 2'
)
""",
)


@dataclass(frozen=True)
class Written:
    """What `write_documents` stored: how many documents, in how many positions; the sha256 over their contents."""

    documents: int
    rows: int
    fingerprint: str


@dataclass(frozen=True)
class Condition:
    """An SQL condition on a row of `documents`. The text is ours; whatever a user wrote is among the parameters."""

    sql: str
    parameters: tuple[str | int | float, ...] = ()


EVERY = Condition("TRUE")
_READ_AT_ONCE = 1000  # documents
SPLIT_AT_ONCE = 64  # documents; they may be long


def write_documents(path: Path, documents: Iterable[Document], split: Split | None = None) -> Written:
    """Stream documents into a new database at `path`, with the passages that `split` makes of them, if it is given.

    Memory does not grow with the corpus.

    Raises:
        DebaterError: the corpus is empty, an id comes twice, a text holds characters that no encoding has, or the
            database cannot be written.

    """
    digest = hashlib.sha256()
    written, end, current = 0, 0, ""
    stream = iter(documents)
    with new_database(path, lambda: current) as connection:
        for statement in (*_SCHEMA, *(PASSAGES if split else ())):
            connection.execute(statement)
        while batch := list(islice(stream, SPLIT_AT_ONCE)):
            for document, spans in spans_of(split, batch):
                current = document.id
                row = row_of(document)
                digest.update(_line(row))
                connection.execute("INSERT INTO documents VALUES (?, ?, ?, ?, ?)", (end, *row))
                end += insert_passages(connection, end, spans) if split else 1
                written += 1
        if not written:
            raise DebaterError("The corpus is empty.", "An index needs at least one document.")
        connection.execute("INSERT INTO lexical (lexical) VALUES ('rebuild')")
        connection.execute("INSERT INTO lexical (lexical) VALUES ('optimize')")
    return Written(written, end, digest.hexdigest())


def corpus_fingerprint(documents: Iterable[Document]) -> str:
    """The fingerprint that these documents would have as a database."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(_line(row_of(document)))
    return digest.hexdigest()


def _line(row: tuple[str, str, str, str]) -> bytes:
    return json.dumps(row).encode() + b"\n"


@contextmanager
def new_database(path: Path, current: Callable[[], str]) -> Iterator[sqlite3.Connection]:
    """One transaction on a database under a temporary name, without a journal, which would guard what nobody reads.

    `current` names the document at work, for what is raised when it cannot be written.
    """
    connection = None
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        for statement in ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "BEGIN"):
            connection.execute(statement)
        yield connection
        connection.execute("COMMIT")
    except sqlite3.IntegrityError:
        raise twice(current()) from None
    except UnicodeEncodeError:
        raise DebaterError(
            f"Document {current()!r} holds half a surrogate pair, which is no character.",
            "Repair the text where the corpus was made.",
        ) from None
    except sqlite3.OperationalError as error:
        raise DebaterError(
            f"{path} cannot be written: {error}.", "Is the disk full, or the folder read-only?"
        ) from None
    finally:
        if connection is not None:
            connection.close()


def row_of(document: Document) -> tuple[str, str, str, str]:
    """Id, title, text and metadata as the database holds them."""
    return document.id, document.title, document.text, _as_json(document.metadata)


def twice(id: str) -> DebaterError:
    """The error for an id that comes again."""
    return DebaterError(f"The corpus holds the id {id!r} twice.", "Give every document its own id.")


def _as_json(metadata: dict[str, Any]) -> str:
    """Metadata as JSON that SQLite reads too: NaN and infinity become null, as they do when a corpus is read."""
    try:
        return json.dumps(metadata, default=str, sort_keys=True, allow_nan=False)
    except ValueError:
        finite = json.loads(json.dumps(metadata, default=str), parse_constant=lambda _: None)
        return json.dumps(finite, sort_keys=True)


class DocumentStore:
    """The documents of an index, opened for reading only; safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        except sqlite3.Error:
            raise self._unreadable("is missing or cannot be opened") from None
        weakref.finalize(self, self._connection.close)  # when the last query that reads an old state is over
        self._rows("SELECT max(position) FROM documents")  # is it a database at all?
        self.split = has_passages(self._connection)
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
        """Every document by position, read piece by piece."""
        end = self.end
        for start in range(0, end, _READ_AT_ONCE):
            yield from self.read_range(start, start + _READ_AT_ONCE)

    def read(self, positions: Sequence[int]) -> list[Document]:
        """The documents at these positions, in the order asked for."""
        found = self._by_position("position, id, title, text, metadata", positions)
        return [_document(found[position][1:]) for position in positions]

    def read_range(self, start: int, stop: int) -> list[Document]:
        """The documents at positions start … stop - 1, but for those that were deleted."""
        sql = "SELECT id, title, text, metadata FROM documents WHERE position >= ? AND position < ? ORDER BY position"
        return [_document(row) for row in self._rows(sql, start, stop)]

    def ids(self, positions: Sequence[int] | None = None) -> list[str]:
        """The ids at these positions, in the order asked for; of all documents without an argument."""
        if positions is None:
            return [row[0] for row in self._rows("SELECT id FROM documents ORDER BY position")]
        found = self._by_position("position, id", positions)
        return [found[position][1] for position in positions]

    def positions(self, ids: Sequence[str]) -> dict[str, int]:
        """Where these ids stand; unknown ids are left out."""
        sql = "SELECT id, position FROM documents WHERE id IN (SELECT value FROM json_each(?))"
        return dict(self._rows(sql, json.dumps(list(ids))))

    def positions_where(self, condition: Condition = EVERY) -> list[int]:
        """The positions of the documents that a condition allows, in order."""
        sql = f"SELECT position FROM documents WHERE {condition.sql} ORDER BY position"
        return [row[0] for row in self._rows(sql, *condition.parameters)]

    def read_rows(self, start: int, stop: int) -> list[Document]:
        """What is encoded at positions start … stop - 1: documents, or passages of them, but for deleted ones."""
        if not self.split:
            return self.read_range(start, stop)
        sql = "SELECT document, title, start, stop FROM passages WHERE position >= ? AND position < ? ORDER BY position"
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
        sql = f"SELECT position, document FROM {self._encoded} WHERE position >= ? AND position < ? ORDER BY position"
        return self._rows(sql, start, self.end if stop is None else stop)

    def spans(self, documents: Sequence[Document]) -> list[list[Span]]:
        """The stored passages of these documents."""
        sql = "SELECT title, start, stop FROM passages WHERE document = ? ORDER BY position"
        places = self.positions([document.id for document in documents])
        return [[Span(*row) for row in self._rows(sql, places[document.id])] for document in documents]

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
        matches = "lexical MATCH ?"
        parameters: list[str | int | float] = [expression]
        if where is not None:
            matches += f" AND EXISTS (SELECT 1 FROM documents WHERE position = lexical.rowid AND {where.sql})"
            parameters += where.parameters
        sql = f"SELECT rowid, -bm25(lexical) AS score FROM lexical WHERE {matches} ORDER BY score DESC, rowid LIMIT ?"
        return [(position, score) for position, score in self._rows(sql, *parameters, k)]

    def close(self) -> None:
        """Close the database file."""
        self._connection.close()

    def _by_position(self, columns: str, positions: Sequence[int]) -> dict[int, Any]:
        sql = f"SELECT {columns} FROM documents WHERE position IN (SELECT value FROM json_each(?))"
        return {row[0]: row for row in self._rows(sql, json.dumps([int(position) for position in positions]))}

    def _rows(self, sql: str, *values: Any) -> list[Any]:
        try:
            with self._lock:
                return self._connection.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._unreadable(f"is damaged ({error})") from None

    def _unreadable(self, what: str) -> DebaterError:
        return DebaterError(f"{self.path} {what}.", MEND)


def _document(row: tuple[str, str, str, str]) -> Document:
    return Document(id=row[0], title=row[1], text=row[2], metadata=json.loads(row[3]))
