"""One thread's connection to `documents.sqlite`: reads one state of it, as one generation sees it."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from debater_search.errors import BusyError, DamagedError, DebaterError, InvalidError
from debater_search.store.database import BUSY_SECONDS, State, has_generations, read_language, read_state
from debater_search.store.fields import has_fields
from debater_search.store.lexical import FORMER, Language
from debater_search.store.manifest import MEND
from debater_search.store.words import register


class SupersededError(BusyError):
    """The database has been settled in a later generation than the reader's: what it held is gone."""


class Connection:
    """One thread's connection, and what of the database its generation sees.

    Nothing but SQLite may open the file in this process: closing it would end SQLite's locks on it.
    """

    def __init__(self, path: Path, generation: int | None) -> None:
        self._path, self._generation = path, generation
        self._depth = 0
        self._closed = False
        self._seen: object = None  # of a file that is opened as one that nobody changes
        self._has_generations: bool | None = None
        self.state: State | None = None
        self.has_fields = False
        """Whether there is a table of metadata fields."""
        self.language: Language = FORMER
        """How words are compared."""
        self.visible: str | None = None
        """A WITH clause that narrows `documents` and `fields` to this generation's rows; None if all of them are."""
        self.sqlite = self._open()

    @property
    def outdated(self) -> bool:
        """Whether the file was opened as one that nobody changes, and somebody has changed it."""
        return self._seen is not None and self._depth == 0 and self._seen != self._stat()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Read one state until the outermost block ends."""
        if not self._depth:
            with self.worded():
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
        with self.worded():
            return self.sqlite.execute(f"{self.visible}{sql}" if self.visible else sql, values).fetchall()

    def membership(self, positions: np.ndarray) -> str:
        """The name of an SQL function that says whether a position is one of these, until the next call."""
        end = self.sqlite.execute("SELECT coalesce(max(position) + 1, 0) FROM main.documents").fetchone()[0]
        member = np.zeros(end, bool)
        member[positions[positions < end]] = True
        self.sqlite.create_function("debater_member", 1, member.tobytes().__getitem__)
        return "debater_member"

    def close(self) -> None:
        """Close the file; a query that reads it fails."""
        self._closed = True
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
            if not os.access(self._path, os.R_OK):
                raise InvalidError(
                    f"{self._path} may not be read by this user.", "Check the path and its permissions."
                ) from None
            sqlite, self._seen = self._connect("mode=ro&immutable=1"), self._stat()
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from None
        try:
            self._require_whole(sqlite)
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from None
        return sqlite

    def _require_whole(self, sqlite: sqlite3.Connection) -> None:
        """Raise DamagedError for a file that is shorter than its pages, unless its log holds the rest."""
        pages = sqlite.execute("PRAGMA page_count").fetchone()[0] * sqlite.execute("PRAGMA page_size").fetchone()[0]
        log = self._path.with_name(f"{self._path.name}-wal")
        with suppress(FileNotFoundError):
            size = self._path.stat().st_size
            if size < pages and not (log.exists() and log.stat().st_size):
                raise DamagedError(f"{self._path} is damaged: it has {size:,} bytes instead of {pages:,}.", MEND)

    def _connect(self, options: str) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?{options}"
        # The isolation level leaves transactions to this class.
        sqlite = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None, timeout=BUSY_SECONDS)
        register(sqlite)
        return sqlite

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
            self.language = read_language(self.sqlite)
            self.has_fields = has_fields(self.sqlite)
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
            self.visible = _visible(generation, revised=generation == pending, fields=self.has_fields)

    @contextmanager
    def worded(self) -> Iterator[None]:
        """Turn what SQLite raises in the block into BusyError, DamagedError or, after `close`, InvalidError."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise BusyError(f"{self._path} is being written to.", "Try again in a moment.") from None
            raise self._damaged(error) from None
        except sqlite3.DatabaseError as error:
            if self._closed:
                raise InvalidError(f"{self._path} is closed.", "Open the index again.") from None
            raise self._damaged(error) from None

    def _damaged(self, error: sqlite3.Error) -> DebaterError:
        return DamagedError(f"{self._path} is damaged ({error}).", MEND)


def _visible(generation: int, *, revised: bool, fields: bool) -> str:
    """A WITH clause in which `documents` are the rows of one generation, in the metadata that they have there.

    So are `fields`, if there is that table.
    """

    def column(name: str) -> str:
        if not revised:
            return name
        return f"coalesce((SELECT {name} FROM revisions WHERE position = stored.position), {name}) AS {name}"

    documents = (
        f"WITH documents AS NOT MATERIALIZED (SELECT position, {column('hash')}, id, title, {column('metadata')}, text "
        f"FROM main.documents AS stored WHERE came <= {generation} AND (gone IS NULL OR gone > {generation}))"
    )
    if not fields:
        return f"{documents} "
    seen = "position IN (SELECT position FROM documents)"
    own = f"SELECT * FROM main.fields WHERE {seen}"
    if revised:
        own += " AND position NOT IN (SELECT position FROM main.revisions) "
        own += f"UNION ALL SELECT * FROM main.revised_fields WHERE {seen}"
    return f"{documents}, fields AS NOT MATERIALIZED ({own}) "
