"""Changes to a copy of `documents.sqlite`: put documents in, take documents out; the lexical index follows exactly.

Readers never see the copy before a manifest names it, so that it needs no journal and no locks.
"""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from debater_search.errors import DebaterError
from debater_search.files import atomic
from debater_search.store.documents import new_database, row_of, twice
from debater_search.store.passages import Split, delete_passages, has_passages, insert_passages
from debater_search.types import Document

_AT_ONCE = 1000  # documents


class DocumentEdits:
    """What one change does to the documents, with counts. New texts stand at positions `first` … `end` - 1."""

    def __init__(self, connection: sqlite3.Connection, first: int, split: Split | None) -> None:
        self.first = self.end = first
        self.vacated: list[int] = []
        """The rows whose document was deleted, or put again with another text."""
        self.added = self.updated = self.deleted = self.unchanged = 0
        self.current = ""
        self._connection, self._split = connection, split
        self._of_passages = has_passages(connection)
        self._seen = bytearray(first)  # of each old position, whether its document was put
        self._digest = hashlib.sha256()

    @property
    def changed(self) -> bool:
        """Whether anything is different from before."""
        return bool(self.added or self.updated or self.deleted)

    def fingerprint(self, before: str) -> str:
        """The corpus's fingerprint after this change, made from the one before and from what has changed."""
        return hashlib.sha256(f"{before} {self._digest.hexdigest()}".encode()).hexdigest()

    def put(self, documents: Iterable[Document]) -> None:
        """Add documents; one whose id is known takes the place of the old one, unless it is the same.

        Raises:
            DebaterError: an id comes twice.

        """
        stream = iter(documents)
        while batch := list(islice(stream, _AT_ONCE)):
            known = self._known([document.id for document in batch])
            for document in batch:
                self.current = document.id
                self._put(document, known.get(document.id))

    def delete(self, ids: Sequence[str]) -> list[str]:
        """Take out the documents with these ids; returns the ids that no document has."""
        sql = "SELECT id, position FROM documents WHERE id IN (SELECT value FROM json_each(?))"
        known = dict(self._connection.execute(sql, (json.dumps(list(ids)),)))
        self._remove(sorted(known.values()))
        self.deleted += len(known)
        return [id for id in dict.fromkeys(ids) if id not in known]

    def delete_others(self) -> None:
        """Take out every old document that was not put."""
        rows = self._connection.execute("SELECT position FROM documents WHERE position < ?", (self.first,))
        others = [position for (position,) in rows if not self._seen[position]]
        self._remove(others)
        self.deleted += len(others)

    def count(self) -> int:
        """How many documents there are now."""
        return int(self._connection.execute("SELECT count(*) FROM documents").fetchone()[0])

    def _put(self, document: Document, known: tuple[int, str, str, str] | None) -> None:
        id, title, text, metadata = row = row_of(document)
        if known is None:
            self.added += 1
            self._insert(row)
            return
        position, *before = known
        if position >= self.first or self._seen[position]:
            raise twice(id)
        self._seen[position] = True
        if before == [title, text, metadata]:
            self.unchanged += 1
            return
        self.updated += 1
        if before == [title, text, before[2]]:  # its vector and its words stay
            self._note(row)
            self._connection.execute("UPDATE documents SET metadata = ? WHERE position = ?", (metadata, position))
        else:
            self._remove([position])
            self._insert(row)

    def _insert(self, row: tuple[str, str, str, str]) -> None:
        self._note(row)
        self._connection.execute("INSERT INTO documents VALUES (?, ?, ?, ?, ?)", (self.end, *row))
        self._connection.execute("INSERT INTO lexical (rowid, title, text) VALUES (?, ?, ?)", (self.end, *row[1:3]))
        if not self._of_passages:
            self.end += 1
        else:
            assert self._split is not None
            (spans,) = self._split([Document(id=row[0], title=row[1], text=row[2])])
            self.end += insert_passages(self._connection, self.end, spans)

    def _remove(self, positions: Sequence[int]) -> None:
        for position in positions:
            self._note(position)
            # The index forgets the words of a document only if it is told them.
            self._connection.execute(
                "INSERT INTO lexical (lexical, rowid, title, text) "
                "SELECT 'delete', position, title, text FROM documents WHERE position = ?",
                (position,),
            )
            self._connection.execute("DELETE FROM documents WHERE position = ?", (position,))
            rows = delete_passages(self._connection, position) if self._of_passages else 1
            self.vacated += range(position, position + rows)

    def _known(self, ids: Sequence[str]) -> dict[str, tuple[int, str, str, str]]:
        sql = "SELECT id, position, title, text, metadata FROM documents WHERE id IN (SELECT value FROM json_each(?))"
        return {id: (*row,) for id, *row in self._connection.execute(sql, (json.dumps(list(ids)),))}

    def _note(self, what: int | tuple[str, ...]) -> None:
        self._digest.update(json.dumps(what).encode() + b"\n")


@contextmanager
def edit_documents(source: Path, target: Path, first: int, split: Split | None = None) -> Iterator[DocumentEdits]:
    """Change a copy of a database; `target` is there when the block ends well. New texts get positions from `first` on.

    `split` makes the passages of new texts, in a database of passages.

    Raises:
        DebaterError: `target` cannot be written; the block put an id twice or a text that is none; or no document is
            left.

    """
    edits: DocumentEdits | None = None
    with atomic(target) as temporary:
        shutil.copyfile(source, temporary)
        with new_database(temporary, lambda: edits.current if edits else "") as connection:
            edits = DocumentEdits(connection, first, split)
            yield edits
            if not edits.count():
                raise DebaterError(
                    "That would leave the index without documents.", "To be rid of the index, delete its folder."
                )
