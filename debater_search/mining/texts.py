"""Which documents say the same: texts are one if they differ in case and blanks only."""

import hashlib
from collections.abc import Iterator

import numpy as np

from debater_search.progress import progress
from debater_search.store.documents import DocumentStore
from debater_search.types import Document

EMPTY = 0
_CHUNK = 1000


def digest(text: str) -> int:
    """64 bits of a hash of the text, equal for texts that differ in case and blanks only; EMPTY where there is none."""
    words = " ".join(text.split()).casefold()
    if not words:
        return EMPTY
    return int.from_bytes(hashlib.blake2b(words.encode("utf-8", "replace"), digest_size=8).digest())


class CorpusTexts:
    """Digests of the documents' contents, and where the wanted texts are. 8 bytes a document stay in memory.

    `digests` is uint64 [positions], EMPTY where a document was deleted; `holders` gives, for the digest of a wanted
    text, the positions of all documents that hold it as their content, or as their text without the title.
    """

    def __init__(self, documents: DocumentStore, wanted: set[int], *, show: bool = False) -> None:
        self.digests = np.zeros(documents.end, np.uint64)
        self.holders: dict[int, list[int]] = {}
        wanted = wanted - {EMPTY}
        with progress("Reading documents", len(documents), "documents", enabled=show) as bar:
            for chunk in _chunks(documents):
                positions = documents.positions([document.id for document in chunk])
                for document in chunk:
                    position, content = positions[document.id], digest(document.content)
                    self.digests[position] = content
                    texts = {content, digest(document.text)} if document.title else {content}
                    for text in texts & wanted:
                        self.holders.setdefault(text, []).append(position)
                bar.advance(len(chunk))

    def position(self, text: str) -> int | None:
        """Where a wanted text stands: the first document with this content, else the first with this text."""
        key = digest(text)
        found = self.holders.get(key, [])
        return next((place for place in found if self.digests[place] == key), found[0] if found else None)


def all_documents(documents: DocumentStore) -> Iterator[Document]:
    """Every document, in order, a piece of the store at a time."""
    for chunk in _chunks(documents):
        yield from chunk


def _chunks(documents: DocumentStore) -> Iterator[list[Document]]:
    for start in range(0, documents.end, _CHUNK):
        yield documents.read_range(start, start + _CHUNK)
