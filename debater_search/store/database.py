"""The layout of `documents.sqlite`, and in which generation a row is visible.

A row of `documents` carries the generation in which it came (`came`) and, if it was deleted, the one in which it went
(`gone`). A change writes rows of the next generation first, which no reader sees; the rename of the manifest commits
them; then the database is settled: what went is removed, so that BM25's statistics are those of the documents there
are. `state` says how far that is: `settled` is the generation whose rows need no marks, `pending` the one that is being
made or was just committed. `revisions` holds new metadata of documents whose text stays, until they are settled.

Each row has a hash over all that it says. The manifest holds the sum of them, so that a change to one row can neither
hide nor excuse damage to another.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import debater_search.store.memory  # noqa: F401  # before the first connection
from debater_search.errors import BusyError, DamagedError, DebaterError, InvalidError, UnavailableError
from debater_search.files import from_json
from debater_search.store.fields import SCHEMA as FIELDS
from debater_search.store.lexical import FORMER, Language, language_of
from debater_search.store.manifest import MEND
from debater_search.store.words import WORDS_FUNCTION, register
from debater_search.types import Document, Span

# The text stands last: what a filter or a list of ids reads lies before it, on the row's first page.
SCHEMA = (
    """
CREATE TABLE documents (
    position INTEGER PRIMARY KEY,
    came INTEGER NOT NULL,
    gone INTEGER,
    hash BLOB NOT NULL,
    id TEXT NOT NULL,
    title TEXT NOT NULL,
    metadata TEXT NOT NULL,
    text TEXT NOT NULL
)
""",
    "CREATE UNIQUE INDEX document_ids ON documents (id, came)",
    "CREATE INDEX gone_documents ON documents (gone) WHERE gone IS NOT NULL",
    "CREATE TABLE revisions (position INTEGER PRIMARY KEY, hash BLOB NOT NULL, metadata TEXT NOT NULL)",
    *FIELDS,
    """
CREATE TABLE state (
    settled INTEGER NOT NULL,
    pending INTEGER,
    first INTEGER,
    words INTEGER NOT NULL DEFAULT 0,
    language TEXT NOT NULL
)
""",
    # External content: the lexical index makes words of the documents' texts instead of keeping them a second time.
    f"""
CREATE VIEW lexical_texts AS
SELECT position, {WORDS_FUNCTION}(title) AS title, {WORDS_FUNCTION}(text) AS text FROM documents
""",
)
_LEXICAL = """
CREATE VIRTUAL TABLE lexical USING fts5(
    title, text, content='lexical_texts', content_rowid='position', tokenize='{tokenizer}'
)
"""

HASH_BYTES = 16
_MODULUS = 1 << (8 * HASH_BYTES)
BUSY_SECONDS = 20.0
"""How long a writer waits for readers, and a reader for a writer, before either gives up."""

Row = tuple[str, str, str, str]
"""Id, title, text and metadata as the database holds them."""


def row_of(document: Document) -> Row:
    """Id, title, text and metadata as the database holds them."""
    return document.id, document.title, document.text, _as_json(document.metadata)


def document_of(row: Row) -> Document:
    """The document of a row. Raises DamagedError for metadata that is no JSON."""
    try:
        return Document(id=row[0], title=row[1], text=row[2], metadata=from_json(row[3]))
    except (TypeError, ValueError):
        raise DamagedError(f"The metadata of document {row[0]!r} is damaged: it is no JSON.", MEND) from None


def row_hash(position: int, row: Row, spans: Iterable[Span] = ()) -> bytes:
    """The hash of a document at its position, with its passages."""
    content = [position, *row, [[span.title, span.start, span.stop] for span in spans]]
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=HASH_BYTES).digest()


class ContentSum:
    """The sum of rows' hashes, as the manifest keeps it: rows may come and go in any order."""

    def __init__(self, start: str = "0") -> None:
        self._sum = int(start, 16)

    def add(self, hash: bytes) -> None:
        """Count a row in."""
        self._sum = (self._sum + int.from_bytes(hash, "big")) % _MODULUS

    def remove(self, hash: bytes) -> None:
        """Count a row out."""
        self._sum = (self._sum - int.from_bytes(hash, "big")) % _MODULUS

    def __str__(self) -> str:
        return f"{self._sum:0{2 * HASH_BYTES}x}"


class State(NamedTuple):
    """The one row of `state`."""

    settled: int
    pending: int | None
    first: int | None
    """The first position of what is pending."""
    words: bool
    """Whether the lexical index holds what is pending."""


def has_generations(connection: sqlite3.Connection) -> bool:
    """Whether rows carry generations; those of schema version 1 do not."""
    sql = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'state')"
    return bool(connection.execute(sql).fetchone()[0])


def create_tables(connection: sqlite3.Connection, generation: int, language: Language) -> None:
    """Make the tables of a new database but those of passages; it is settled in `generation`."""
    for statement in (*SCHEMA, _LEXICAL.format(tokenizer=language.tokenizer)):
        connection.execute(statement)
    connection.execute("INSERT INTO state (settled, language) VALUES (?, ?)", (generation, language.name))


def read_language(connection: sqlite3.Connection) -> Language:
    """How the words of this database are compared."""
    if not connection.execute("SELECT 1 FROM pragma_table_info('state') WHERE name = 'language'").fetchone():
        return FORMER
    return language_of(connection.execute("SELECT language FROM state").fetchone()[0])


def read_state(connection: sqlite3.Connection) -> State:
    """How far changes have come. Raises sqlite3.DatabaseError if that is damaged."""
    rows = connection.execute("SELECT settled, pending, first, words FROM state").fetchall()
    if len(rows) != 1 or not isinstance(rows[0][0], int) or not all(isinstance(n, int | None) for n in rows[0]):
        raise sqlite3.DatabaseError("its table of generations is damaged")
    settled, pending, first, words = rows[0]
    return State(settled, pending, first, bool(words))


def insert_row(connection: sqlite3.Connection, position: int, row: Row, hash: bytes, generation: int) -> bytes:
    """Store a document at a position; returns its hash."""
    id, title, text, metadata = row
    connection.execute(
        "INSERT INTO documents (position, came, hash, id, title, metadata, text) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (position, generation, hash, id, title, metadata, text),
    )
    return hash


@contextmanager
def new_database(path: Path, current: Callable[[], str]) -> Iterator[sqlite3.Connection]:
    """One transaction on a database under a temporary name, without a journal, which would guard what nobody reads.

    `current` names the document at work, for what is raised when it cannot be written.
    """
    with _worded(path, current), _closing(path) as connection:
        for statement in ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "BEGIN"):
            connection.execute(statement)
        yield connection
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")  # for changes to come: readers do not hold up a writer


@contextmanager
def changed_database(path: Path, current: Callable[[], str] = str) -> Iterator[sqlite3.Connection]:
    """One transaction on the database of an index, while others read it; it is on the disk when the block ends well.

    The write-ahead log lets readers go on. It is folded into the database at once, if no reader holds it back.
    """
    with _worded(path, current), _closing(path) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
        connection.execute("PRAGMA busy_timeout = 0")  # a reader that takes long leaves the log to the next change
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextmanager
def _closing(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
    register(connection)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _worded(path: Path, current: Callable[[], str]) -> Iterator[None]:
    """What goes wrong while a database is written, as a sentence."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise duplicate_id(current()) from None
    except UnicodeEncodeError:
        raise InvalidError(
            f"Document {current()!r} holds half a surrogate pair, which is no character.",
            "Repair the text where the corpus was made.",
        ) from None
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise BusyError(f"{path} is in use by another process.", "Run this again when it has finished.") from None
        raise UnavailableError(
            f"{path} cannot be written: {error}.", "Is the disk full, or the folder read-only?"
        ) from None
    except sqlite3.DatabaseError as error:
        raise DamagedError(f"{path} is damaged ({error}).", MEND) from None


def duplicate_id(id: str) -> DebaterError:
    """The error for an id that comes again."""
    return InvalidError(f"The corpus holds the id {id!r} twice.", "Give every document its own id.")


def in_json(values: Sequence[Any]) -> str:
    """Values for `IN (SELECT value FROM json_each(?))`: one parameter, however many there are."""
    return json.dumps(list(values))


def _as_json(metadata: dict[str, Any]) -> str:
    """Metadata as JSON that SQLite reads too: NaN and infinity become null, as they do when a corpus is read."""
    try:
        return json.dumps(metadata, default=str, sort_keys=True, allow_nan=False)
    except ValueError:
        finite = json.loads(json.dumps(metadata, default=str), parse_constant=lambda _: None)
        return json.dumps(finite, sort_keys=True)
