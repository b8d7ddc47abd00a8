"""Long documents as passages: what is encoded, and has a row of the embeddings each, is then a part of a document.

The passages of a document have consecutive positions, of which the first is the document's own. Their table is there
only in an index that was made of passages; elsewhere a document's one row is at its position.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat

from debater_search.types import Document, Span

SCHEMA = (
    """
CREATE TABLE passages (
    position INTEGER PRIMARY KEY,
    document INTEGER NOT NULL,
    title INTEGER NOT NULL,
    start INTEGER NOT NULL,
    stop INTEGER NOT NULL
)
""",
    "CREATE INDEX passages_of_documents ON passages (document)",
)

Split = Callable[[Sequence[Document]], Sequence[Sequence[Span]]]
"""The passages of each document, one or more."""


def spans_of(split: Split | None, documents: Sequence[Document]) -> Iterator[tuple[Document, Sequence[Span]]]:
    """Each document with its passages, none where they are not made."""
    return zip(documents, split(documents) if split else repeat(()), strict=False)


def insert_passages(connection: sqlite3.Connection, position: int, spans: Sequence[Span]) -> int:
    """Store the passages of the document at `position`; returns how many positions the document takes."""
    rows = [(position + n, position, span.title, span.start, span.stop) for n, span in enumerate(spans)]
    connection.executemany("INSERT INTO passages VALUES (?, ?, ?, ?, ?)", rows)
    return max(1, len(rows))


def passages_of(connection: sqlite3.Connection, position: int) -> list[tuple[int, Span]]:
    """The passages of the document at `position`, each with its own position, in order."""
    sql = "SELECT position, title, start, stop FROM passages WHERE document = ? ORDER BY position"
    return [(row, Span(*span)) for row, *span in connection.execute(sql, (position,))]


def has_passages(connection: sqlite3.Connection) -> bool:
    """Whether this database is one of passages."""
    sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'passages'"
    return bool(connection.execute(sql).fetchone()[0])
