"""Does a database hold what its manifest says? Every row against its hash, all of them against the manifest's sum."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from debater_search.errors import DamagedError
from debater_search.store.connection import SupersededError
from debater_search.store.database import BUSY_SECONDS, ContentSum
from debater_search.store.documents import DocumentStore
from debater_search.store.manifest import IndexManifest
from debater_search.store.values import rows_of
from debater_search.store.words import register

logger = logging.getLogger(__name__)


def documents_are_sound(folder: Path, manifest: IndexManifest) -> bool:
    """Whether the documents, their passages, ids and words are those that the manifest's generation wrote.

    What is wrong is logged. False too if a change was committed meanwhile: then another manifest counts.
    """
    path = folder / manifest.documents
    try:
        documents = DocumentStore(path, manifest.generation)
        try:
            with documents.reading() as connection:
                faults = _rows(documents, manifest)
                faults += _fields(documents)
                with connection.worded():
                    faults += _pages(connection.sqlite)
                settled = connection.visible is None
        finally:
            documents.close()
        if settled and not faults:
            faults = _words(path)
    except SupersededError:
        return False
    except DamagedError as error:
        faults = [error.message]
    for fault in faults:
        logger.warning("%s", fault if fault.startswith(str(path)) else f"{path}: {fault}")
    return not faults


def _rows(documents: DocumentStore, manifest: IndexManifest) -> list[str]:
    content, count = ContentSum(), 0
    faults = []
    for document, hash, right in documents.checked_rows():
        if not right:
            faults.append(f"document {document.id!r} is not as it was written.")
        content.add(hash)
        count += 1
    if count != manifest.corpus.documents:
        faults.append(f"{count:,} documents, and {manifest.corpus.documents:,} in the manifest.")
    elif str(content) != manifest.content:
        faults.append("the documents are not those that the manifest was written for.")
    rows = len(documents.rows())
    if rows != manifest.rows - manifest.deleted:
        faults.append(f"{rows:,} rows to search, and {manifest.rows - manifest.deleted:,} in the manifest.")
    return faults


def _fields(documents: DocumentStore) -> list[str]:
    """Whether the table of fields, if there is one, is what the metadata make it."""
    if not documents.has_field_table:
        return []
    described = documents.described()
    expected = sum(hash((*row, position)) for position, *_, metadata in described for row in rows_of(metadata))
    sql = "SELECT key, type, value, position FROM fields WHERE key = ?"
    found = sum(hash(row) for name in documents.fields() for row in documents.field_rows(sql, name))
    return [] if found == expected else ["its table of fields is damaged."]


def _pages(sqlite: sqlite3.Connection) -> list[str]:
    """Faults in the tables and indexes of the file itself."""
    found = [row[0] for row in sqlite.execute("PRAGMA integrity_check(3)")]
    return [] if found == ["ok"] else found


def _words(path: Path) -> list[str]:
    """Whether the lexical index holds the words of the documents; not known where it cannot be asked for writing."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS)) as sqlite:
        register(sqlite)
        try:
            sqlite.execute("INSERT INTO lexical (lexical, rank) VALUES ('integrity-check', 1)")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
                logger.info("%s: its words were not compared (%s).", path, error)
                return []
            return [f"its lexical index is damaged ({error})."]
        except sqlite3.DatabaseError as error:
            return [f"its lexical index is damaged ({error})."]
        finally:
            sqlite.rollback()
    return []
