"""Write a corpus into a new `documents.sqlite`; tell corpora apart by their fingerprints."""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from debater_search.errors import InvalidError
from debater_search.store.database import ContentSum, Row, create_tables, insert_row, new_database, row_hash, row_of
from debater_search.store.fields import NewFields
from debater_search.store.lexical import ENGLISH, Language
from debater_search.store.passages import SCHEMA as PASSAGES
from debater_search.store.passages import Split, insert_passages, spans_of
from debater_search.types import Document

SPLIT_AT_ONCE = 64  # documents; they may be long


@dataclass(frozen=True)
class Written:
    """What `write_documents` stored: how many documents, in how many positions.

    `fingerprint` is the sha256 over their contents in order, `content` the sum of the rows' hashes.
    """

    documents: int
    rows: int
    fingerprint: str
    content: str


def write_documents(
    path: Path,
    documents: Iterable[Document],
    split: Split | None = None,
    *,
    generation: int = 0,
    language: Language = ENGLISH,
) -> Written:
    """Stream documents into a new database at `path`, with the passages that `split` makes of them, if it is given.

    Memory does not grow with the corpus.

    Raises:
        InvalidError: the corpus is empty, an id comes twice, or a text holds characters that no encoding has.
        UnavailableError: the database cannot be written.

    """
    digest, content = hashlib.sha256(), ContentSum()
    written, end, current = 0, 0, ""
    stream = iter(documents)
    with new_documents(path, generation, language, lambda: current, passages=split is not None) as (connection, fields):
        while batch := list(islice(stream, SPLIT_AT_ONCE)):
            for document, spans in spans_of(split, batch):
                current = document.id
                row = row_of(document)
                digest.update(_line(row))
                content.add(insert_row(connection, end, row, row_hash(end, row, spans), generation))
                fields.add(end, row[3])
                end += insert_passages(connection, end, spans) if split else 1
                written += 1
        if not written:
            raise InvalidError("The corpus is empty.", "An index needs at least one document.")
    return Written(written, end, digest.hexdigest(), str(content))


@contextmanager
def new_documents(
    path: Path, generation: int, language: Language, current: Callable[[], str], *, passages: bool
) -> Iterator[tuple[sqlite3.Connection, NewFields]]:
    """A new database to insert documents and their fields into, settled in `generation`.

    The table of fields and the lexical index are made when the block ends. `current` names the document at work, for
    what is raised if it cannot be written.
    """
    with new_database(path, current) as connection:
        create_tables(connection, generation, language)
        for statement in PASSAGES if passages else ():
            connection.execute(statement)
        fields = NewFields(connection)
        yield connection, fields
        fields.finish()
        connection.execute("INSERT INTO lexical (lexical) VALUES ('rebuild')")
        connection.execute("INSERT INTO lexical (lexical) VALUES ('optimize')")


def corpus_fingerprint(documents: Iterable[Document]) -> str:
    """The fingerprint that these documents would have as a database."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(_line(row_of(document)))
    return digest.hexdigest()


def _line(row: Row) -> bytes:
    return json.dumps(row).encode() + b"\n"
