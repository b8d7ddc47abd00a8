"""Change an index in place: add, replace and delete documents. Only new texts are encoded.

A change writes a new generation beside the old one: a changed copy of the documents, shards of the new texts, and a
flat index of everything added since the base was built. The manifest's rename commits it; until then readers see the
old state.
"""

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from debater_search.coerce import as_documents
from debater_search.indexing.build import build_vectors
from debater_search.indexing.encode import encode_shards
from debater_search.indexing.model import load_again, require_same
from debater_search.indexing.passages import Splitter
from debater_search.indexing.shards import SHARD_SIZE, Shards
from debater_search.store.documents import DocumentStore
from debater_search.store.edits import DocumentEdits, edit_documents
from debater_search.store.embeddings import EmbeddingStore, EmbeddingWriter
from debater_search.store.generations import changing, documents_name, embeddings_name, vectors_name
from debater_search.store.manifest import (
    JOB_NAME,
    MANIFEST_NAME,
    CorpusInfo,
    Delta,
    EmbeddingsManifest,
    EncodingJob,
    FileInfo,
    IndexManifest,
    read_manifest,
    write_manifest,
)
from debater_search.store.passages import Split
from debater_search.types import Document

if TYPE_CHECKING:
    from debater_search.encoder import Encoder

logger = logging.getLogger(__name__)


@dataclass
class Change:
    """What a change did, in documents: `documents` are in the index now, `unknown` are the ids that were not found."""

    folder: Path
    generation: int = 0
    documents: int = 0
    added: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    encoded: int = 0
    unknown: list[str] = field(default_factory=list)


def add(
    folder: str | Path,
    documents: str | Path | Iterable[Document],
    *,
    encoder: "Encoder | None" = None,
    device: str = "auto",
    progress: bool = False,
) -> Change:
    """Add documents (a corpus on disk, or in memory) to an index; one whose id is known takes the old one's place.

    Documents that are there already, just so, are not encoded again. The model is the index's own, loaded only if there
    is something to encode, unless `encoder` is that model.

    Raises:
        DebaterError: there is no such index; another writer is at work; the corpus is bad or holds an id twice; the
            model is gone or another one. The index is as it was before.

    """
    corpus = _Corpus(documents)
    return _change(Path(folder), lambda edits: edits.put(corpus), corpus, encoder, device, progress)


def update(
    folder: str | Path,
    corpus: str | Path | Iterable[Document],
    *,
    encoder: "Encoder | None" = None,
    device: str = "auto",
    progress: bool = False,
) -> Change:
    """Make an index hold exactly the documents of a corpus: add what is new or changed, drop what is gone.

    Raises:
        DebaterError: as `add`.

    """
    whole = _Corpus(corpus)

    def edit(edits: DocumentEdits) -> None:
        edits.put(whole)
        edits.delete_others()

    return _change(Path(folder), edit, whole, encoder, device, progress, replaces=True)


def delete(folder: str | Path, ids: Sequence[str]) -> Change:
    """Delete documents by their ids. Ids that no document has are named in the result: they are gone already.

    Raises:
        DebaterError: there is no such index; another writer is at work; or no document would be left.

    """
    unknown: list[str] = []
    change = _change(Path(folder), lambda edits: unknown.extend(edits.delete(ids)))
    change.unknown = unknown
    return change


class _Corpus:
    """The documents of a change, what they are called, and the reader's warnings once they are read."""

    def __init__(self, documents: str | Path | Iterable[Document]) -> None:
        self.source, self.warnings = "documents in memory", list[str]()
        self._documents = documents

    def __iter__(self) -> Iterator[Document]:
        if not isinstance(self._documents, str | Path):
            yield from as_documents(self._documents)
            return
        from debater_search.data import read_corpus
        from debater_search.data.files import called

        self.source = called(self._documents)
        reader = read_corpus(self._documents)
        yield from reader
        self.warnings = reader.warnings
        for warning in self.warnings:
            logger.warning(warning)


def _change(
    folder: Path,
    edit: Callable[[DocumentEdits], object],
    corpus: _Corpus | None = None,
    encoder: "Encoder | None" = None,
    device: str = "auto",
    show: bool = False,
    *,
    replaces: bool = False,
) -> Change:
    """One change from the lock to the commit; what `edit` does to the documents decides what is encoded."""
    with changing(folder) as before:
        if encoder is not None:
            require_same(encoder, before.encoder, folder)
        after = before.model_copy(deep=True)
        after.generation += 1
        after.documents = documents_name(after.generation)
        split = _splitter(before, folder, encoder)
        with edit_documents(folder / before.documents, folder / after.documents, before.rows, split) as edits:
            edit(edits)
        change = Change(
            folder=folder,
            generation=after.generation,
            documents=before.corpus.documents + edits.added - edits.deleted,
            added=edits.added,
            updated=edits.updated,
            deleted=edits.deleted,
            unchanged=edits.unchanged,
        )
        if not edits.changed:
            (folder / after.documents).unlink()
            change.generation = before.generation
            return change
        after.corpus.documents = change.documents
        after.corpus.fingerprint = edits.fingerprint(before.corpus.fingerprint)
        after.deleted += edits.vacated
        if after.passages is not None:
            after.passages.count += edits.end - edits.first - edits.vacated
        if corpus is not None:
            after.corpus.source = corpus.source if replaces else before.corpus.source
            after.warnings = list(dict.fromkeys([*([] if replaces else before.warnings), *corpus.warnings]))
        new = [after.documents]
        if before.encoder is not None and edits.end > edits.first:
            change.encoded = _encode(folder, after, range(edits.first, edits.end), encoder, device, show)
            new.append(_extend_delta(folder, after))
        kept = {after.vectors, *([after.delta.vectors] if after.delta else [])}
        after.files = {name: info for name, info in before.files.items() if name in kept}
        after.files |= {name: FileInfo.of(folder / name) for name in new}
        write_manifest(folder / MANIFEST_NAME, after)
        return change


def _splitter(before: IndexManifest, folder: Path, encoder: "Encoder | None") -> Split | None:
    """What cuts new documents as those of the index were cut; its tokenizer is loaded when the first of them comes."""
    made_by, settings = before.encoder, before.passages
    if settings is None or made_by is None:
        return None

    @cache
    def splitter() -> Splitter:
        return Splitter(encoder or load_again(made_by, folder, weights=False), settings)

    return lambda documents: splitter()(documents)


def _encode(
    folder: Path, after: IndexManifest, positions: range, encoder: "Encoder | None", device: str, show: bool
) -> int:
    """Write the shards of the new texts, in a folder of their own; returns how many were encoded now."""
    assert after.encoder is not None
    base = read_manifest(folder / after.embeddings[0] / MANIFEST_NAME, EmbeddingsManifest)
    after.embeddings.append(embeddings_name(after.generation))
    place = folder / after.embeddings[-1]
    _claim(
        place,
        EncodingJob(
            encoder=after.encoder.fingerprint,
            corpus=after.corpus.fingerprint,
            dtype=base.dtype,
            all_steps=bool(base.thinking_steps),
            shard_size=SHARD_SIZE,
            passages=base.passages,
        ),
    )
    encoder = encoder or load_again(after.encoder, folder, device=device)
    writer = EmbeddingWriter(place, base.dim, dtype=base.dtype, thinking_steps=base.thinking_steps)
    documents = DocumentStore(folder / after.documents)
    shards = Shards(documents, positions, writer)
    reused = encode_shards(shards, encoder, show=show)
    documents.close()
    what = CorpusInfo(source=after.corpus.source, fingerprint=after.corpus.fingerprint, documents=len(positions))
    writer.finish(len(shards), after.encoder, what, base.passages)
    return len(positions) - reused


def _claim(place: Path, job: EncodingJob) -> None:
    """Make the folder of a change's shards; those that a killed run of the same change finished stay."""
    path = place / JOB_NAME
    if place.exists() and not (path.exists() and read_manifest(path, EncodingJob) == job):
        shutil.rmtree(place)
    place.mkdir(exist_ok=True)
    write_manifest(path, job)


def _extend_delta(folder: Path, after: IndexManifest) -> str:
    """Index the vectors of everything added since the base was built; returns the new file's name."""
    added = EmbeddingStore.open(*(folder / name for name in after.embeddings[1:]))
    after.delta = Delta(rows=len(added), vectors=vectors_name(after.generation, delta=True))
    build_vectors(added, folder / after.delta.vectors, "flat")
    return after.delta.vectors
