"""The table of metadata fields in `documents.sqlite`: what filters, facets and descriptions of fields read.

It is one tree, ordered by key, type and value, and names positions: a condition on a field is a range of it. A row of
`fields` belongs to a row of `documents` and is visible where that is; `revised_fields` belongs to `revisions`. The rows
of a document are made anew from its metadata to be removed, so a later release must make the same ones, or change the
schema version.
"""

import sqlite3
from collections.abc import Iterable

from debater_search.store.values import rows_of

_COLUMNS = "(key TEXT NOT NULL, type TEXT NOT NULL, value NOT NULL, position INTEGER NOT NULL"
_PRIMARY_KEY = ", PRIMARY KEY (key, type, value, position)) WITHOUT ROWID"

SCHEMA = (f"CREATE TABLE fields {_COLUMNS}{_PRIMARY_KEY}", f"CREATE TABLE revised_fields {_COLUMNS}{_PRIMARY_KEY}")


class NewFields:
    """The fields of a new database: gathered while its documents are written, and sorted into the table at the end."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(f"CREATE TABLE gathered_fields {_COLUMNS})")

    def add(self, position: int, metadata: str) -> None:
        """Note the fields of a document."""
        _insert(self._connection, "gathered_fields", position, metadata)

    def finish(self) -> None:
        """Fill the table; what the gathered rows took is used again by the tables that are made next."""
        sql = "INSERT INTO fields SELECT key, type, value, position FROM gathered_fields ORDER BY 1, 2, 3, 4"
        self._connection.execute(sql)
        self._connection.execute("DROP TABLE gathered_fields")


def insert_fields(connection: sqlite3.Connection, position: int, metadata: str) -> None:
    """Store the fields of a document that was inserted."""
    _insert(connection, "fields", position, metadata)


def revise_fields(connection: sqlite3.Connection, position: int, metadata: str) -> None:
    """Store the fields of a document whose metadata is revised."""
    _insert(connection, "revised_fields", position, metadata)


def remove_fields(connection: sqlite3.Connection, documents: Iterable[tuple[int, str]]) -> None:
    """Remove the fields of documents, given as position and metadata."""
    sql = "DELETE FROM fields WHERE key = ? AND type = ? AND value = ? AND position = ?"
    for position, metadata in documents:
        connection.executemany(sql, [(*row, position) for row in rows_of(metadata)])


def settle_revised_fields(connection: sqlite3.Connection) -> None:
    """Put revised fields in the place of those they revise; `documents` still holds the metadata of before."""
    sql = "SELECT position, metadata FROM documents WHERE position IN (SELECT position FROM revisions)"
    remove_fields(connection, connection.execute(sql).fetchall())
    connection.execute("INSERT INTO fields SELECT * FROM revised_fields")


def has_fields(connection: sqlite3.Connection) -> bool:
    """Whether this database has the table; those of before have not."""
    sql = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'fields')"
    return bool(connection.execute(sql).fetchone()[0])


def _insert(connection: sqlite3.Connection, table: str, position: int, metadata: str) -> None:
    rows = rows_of(metadata)
    if rows:
        connection.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", [(*row, position) for row in rows])
