"""The first call of building: store a corpus as the documents of an index. And what the second call reads of them."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from debater_search.data import read_corpus
from debater_search.data.files import STDIN, called
from debater_search.errors import InvalidError, MissingError
from debater_search.files import atomic
from debater_search.inputs import GivenDocuments, as_documents
from debater_search.roles import ColumnChoice, Columns, as_columns
from debater_search.store.corpus import write_documents
from debater_search.store.documents import DocumentStore
from debater_search.store.folders import open_manifest
from debater_search.store.lexical import ENGLISH, Language
from debater_search.store.manifest import DOCUMENTS_NAME, CorpusInfo
from debater_search.store.oddities import odd_values
from debater_search.store.passages import Split
from debater_search.types import Document

logger = logging.getLogger(__name__)

READ_AT_ONCE = 1000  # rows
_SHOWN = 80  # characters of a text in a message


GivenCorpus = str | Path | GivenDocuments
"""The path of a corpus, or documents in memory in any form that `given.as_documents` takes."""


class Corpus:
    """A corpus as a caller gives it, as an iterable of documents; `argument` is what messages call it.

    `source` is what the corpus is called. Once all documents were read, `warnings` are the reader's, and `columns` say
    which columns were read as id, title and text if they have other names.
    """

    def __init__(
        self, given: GivenCorpus, argument: str, columns: Columns | None = None, *, skip_bad: bool = False
    ) -> None:
        """Raises DebaterError for a path at which no corpus is, and for settings that cannot be."""
        self.source, self.warnings = "documents in memory", list[str]()
        self._given, self._argument, self._skip_bad = given, argument, skip_bad
        self._said = as_columns({} if columns is None else columns)
        self._path = given if isinstance(given, str | Path) else None
        if self._path is not None:
            _require_path(self._path)
            self.source = called(self._path)
        elif skip_bad:
            raise InvalidError("`skip_bad` leaves out rows and files on disk.", "Leave out bad documents yourself.")
        self.remember({})

    def remember(self, columns: Columns, *, changes: bool = False) -> None:
        """Read by these columns, of which an index says that it was read by them, where nothing else was said.

        `changes` is whether that index is to be changed.
        """
        self._choice = ColumnChoice(self._said, columns)
        self._reader = None
        if self._path is not None:
            self._reader = read_corpus(self._path, self._choice, skip_bad=self._skip_bad, changes=changes)

    @property
    def is_on_disk(self) -> bool:
        """Whether the corpus is a file or a folder."""
        return self._path is not None

    @property
    def columns(self) -> dict[str, list[str]]:
        """The columns of id, title and text, as far as they do not have the usual names."""
        return self._choice.columns

    def check_start(self) -> None:
        """Raise DebaterError if the corpus on disk has no document, or its first one is bad."""
        if self._reader is not None:
            self._reader.check_start()

    def __iter__(self) -> Iterator[Document]:
        """Every document; raises DebaterError at the first bad one."""
        if self._reader is None:
            yield from as_documents(self._given, self._argument, self._choice)
            return
        yield from self._reader
        self.warnings = self._reader.warnings
        for warning in self.warnings:
            logger.warning(warning)


def check_corpus(
    corpus: str | Path, *, columns: Columns | None = None, skip_bad: bool = False, index: str | Path | None = None
) -> None:
    """Raise DebaterError for a corpus on disk that is empty or begins with a bad row: before a model is loaded.

    With `index` the corpus is to change that index, and is read as `add` and `update` read it.

    Examples:
        >>> from debater_search.indexing import check_corpus
        >>> check_corpus("notes.jsonl")  # nothing is wrong
    """
    given = Corpus(corpus, "corpus", columns, skip_bad=skip_bad)
    if index is not None:
        given.remember(open_manifest(Path(index)).corpus.columns, changes=True)
    given.check_start()


def _require_path(given: str | Path) -> None:
    """Raise MissingError for a string that looks like a text, where the path of a corpus belongs."""
    if isinstance(given, str) and given != STDIN and any(map(str.isspace, given)) and not os.path.exists(given):
        shown = given if len(given) <= _SHOWN else given[:_SHOWN] + "…"
        raise MissingError(
            f"There is no file {shown!r}.", "A string is the path of a corpus; a text goes into a list: [text]."
        )


@dataclass(frozen=True)
class StoredDocuments:
    """Documents in the database at `path`.

    `rows` is how many texts are encoded: one for each document, or one for each passage. `content` is the sum of the
    rows' hashes, `language` how words are compared. `warnings` are the reader's.
    """

    path: Path
    corpus: CorpusInfo
    rows: int
    content: str
    language: str
    warnings: tuple[str, ...] = ()

    @contextmanager
    def opened(self) -> "Iterator[StoredRows]":
        """The texts to encode, while the block runs."""
        documents = DocumentStore(self.path)
        try:
            yield StoredRows(documents, range(self.rows))
        finally:
            documents.close()


class StoredRows(Sequence[Document]):
    """What is encoded at consecutive positions of a database: documents, or passages of them."""

    def __init__(self, documents: DocumentStore, positions: range) -> None:
        """All of the positions have a document."""
        self._documents, self._positions = documents, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[Document]:
        """Every row, read piece by piece."""
        for start in range(0, len(self), READ_AT_ONCE):
            yield from self._read(self._positions[start : start + READ_AT_ONCE])

    @overload
    def __getitem__(self, row: int) -> Document: ...
    @overload
    def __getitem__(self, row: slice) -> list[Document]: ...
    def __getitem__(self, row: int | slice) -> Document | list[Document]:
        if isinstance(row, slice):
            return [self[at] for at in range(len(self))[row]]
        position = self._positions[row]
        return self._read(range(position, position + 1))[0]

    def _read(self, positions: range) -> list[Document]:
        return self._documents.read_rows(positions.start, positions.stop)


def store_documents(
    corpus: GivenCorpus,
    folder: str | Path,
    *,
    split: Split | None = None,
    language: Language = ENGLISH,
    columns: Columns | None = None,
    skip_bad: bool = False,
) -> StoredDocuments:
    """Store a corpus, on disk or in memory, in `folder` as the documents of an index, with their lexical index.

    `split` cuts documents into passages; `language` says how words are compared. `columns` and `skip_bad` are those of
    `build`. A database of an earlier call is replaced.

    Raises:
        DebaterError: the corpus is bad or empty, or an id comes twice; or the database cannot be written.

    Examples:
        >>> from debater_search.indexing import store_documents
        >>> store_documents([("a", "A wing."), ("b", "Heat.")], "indexes/first-call").rows
        2
    """
    given = Corpus(corpus, "corpus", columns, skip_bad=skip_bad)
    with storing(given, Path(folder), split, language) as stored:
        return stored


@contextmanager
def storing(
    documents: Corpus, folder: Path, split: Split | None = None, language: Language = ENGLISH
) -> Iterator[StoredDocuments]:
    """Store a corpus as `store_documents` does; what the block raises keeps the database from getting its name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / DOCUMENTS_NAME
    if documents.is_on_disk:
        logger.info("Reading %s.", documents.source)
    with atomic(path) as temporary:
        written = write_documents(temporary, documents, split, language=language)
        info = CorpusInfo(
            source=documents.source,
            fingerprint=written.fingerprint,
            documents=written.documents,
            columns=documents.columns,
        )
        with closing(DocumentStore(temporary, 0)) as store:
            for sentence in odd_values(store):
                logger.warning(sentence)
        yield StoredDocuments(path, info, written.rows, written.content, language.name, tuple(documents.warnings))
