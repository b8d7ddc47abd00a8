"""The first call of building: store a corpus as the documents of an index. And what the second call reads of them."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from debater_search.coerce import as_documents
from debater_search.data import CorpusReader
from debater_search.data.files import called
from debater_search.files import atomic
from debater_search.store.corpus import write_documents
from debater_search.store.documents import DocumentStore
from debater_search.store.lexical import ENGLISH, Language
from debater_search.store.manifest import DOCUMENTS_NAME, CorpusInfo
from debater_search.store.passages import Split
from debater_search.types import Document

logger = logging.getLogger(__name__)

READ_AT_ONCE = 1000  # rows


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
    corpus: str | Path | Iterable[Document],
    folder: str | Path,
    *,
    split: Split | None = None,
    language: Language = ENGLISH,
) -> StoredDocuments:
    """Store a corpus, on disk or in memory, in `folder` as the documents of an index, with their lexical index.

    `split` cuts documents into passages; `language` says how words are compared. A database of an earlier call is
    replaced.

    Raises:
        DebaterError: the corpus is bad or empty, or an id comes twice; or the database cannot be written.

    """
    with storing(corpus, Path(folder), split, language) as stored:
        return stored


@contextmanager
def storing(
    corpus: str | Path | Iterable[Document], folder: Path, split: Split | None = None, language: Language = ENGLISH
) -> Iterator[StoredDocuments]:
    """Store a corpus as `store_documents` does; what the block raises keeps the database from getting its name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / DOCUMENTS_NAME
    documents = CorpusReader(corpus) if isinstance(corpus, str | Path) else corpus
    source, warnings = "documents in memory", list[str]()
    if isinstance(documents, CorpusReader):
        source = called(documents.path)
        logger.info("Reading %s.", source)
    with atomic(path) as temporary:
        checked = documents if isinstance(documents, CorpusReader) else as_documents(documents, "corpus")
        written = write_documents(temporary, checked, split, language=language)
        if isinstance(documents, CorpusReader):
            warnings = documents.warnings
        for warning in warnings:
            logger.warning(warning)
        info = CorpusInfo(source=source, fingerprint=written.fingerprint, documents=written.documents)
        yield StoredDocuments(path, info, written.rows, written.content, language.name, tuple(warnings))
