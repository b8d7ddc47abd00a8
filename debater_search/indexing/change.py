"""Change an index in place: add, replace and delete documents. Only new texts are encoded.

A change writes a new generation beside the old one: rows of the documents' database that readers do not see yet, shards
of the new texts, and what the vector backend adds and drops. The manifest's rename commits it; until then readers see
the old state.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from debater_search.encoder.again import load_again
from debater_search.encoder.protocol import TextEncoder, require_encoder
from debater_search.errors import DebaterError, InvalidError
from debater_search.identity import require_same
from debater_search.indexing.description import matching
from debater_search.indexing.documents import Corpus, GivenCorpus, StoredRows
from debater_search.indexing.encoding import EncodingSettings, encode
from debater_search.indexing.passages import Splitter
from debater_search.indexing.vectors import drop_vectors, extend_vectors, remove_superseded, unlisted_rows
from debater_search.inputs import as_ids
from debater_search.notebook import table
from debater_search.roles import Columns
from debater_search.store.conversion import convert_documents
from debater_search.store.documents import DocumentStore
from debater_search.store.edits import DocumentEdits, edit_documents, index_words, settle
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.folders import require_undamaged
from debater_search.store.generations import changing, documents_name, embeddings_name
from debater_search.store.manifest import (
    MANIFEST_NAME,
    CorpusInfo,
    EmbeddingsManifest,
    IndexManifest,
    VectorRecord,
    read_manifest,
    write_manifest,
)
from debater_search.store.oddities import odd_values
from debater_search.store.passages import Split

logger = logging.getLogger(__name__)

MOST_COUNTED = 10_000
"""Documents of an index up to which fields are counted also for documents from memory."""


@dataclass
class Change:
    """What a change did, in documents: `documents` are in the index now, `unknown` are the ids that were not found.

    `dropped` are the first ten ids that an update deleted because the corpus does not hold them. `warnings` name odd
    values of its fields, where they were looked for.
    """

    folder: Path
    generation: int = 0
    documents: int = 0
    added: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    encoded: int = 0
    unknown: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        """Folder, number of documents, what changed, and the generation."""
        changes = [f"{count} {name}" for name, count in self._counts().items() if count] or ["nothing changed"]
        changes += [f"{len(self.unknown):,} unknown"] * bool(self.unknown)
        return (
            f"Change({str(self.folder)!r}, {self.documents:,} documents: {', '.join(changes)}, "
            f"generation {self.generation})"
        )

    def _repr_html_(self) -> str:
        counts = {"documents": self.documents, **self._counts(), "generation": self.generation}
        note = f"Unknown ids: {', '.join(self.unknown)}" if self.unknown else ""
        return table(("folder", *counts), [(str(self.folder), *(f"{count:,}" for count in counts.values()))], note=note)

    def _counts(self) -> dict[str, int]:
        return {"added": self.added, "updated": self.updated, "deleted": self.deleted, "encoded": self.encoded}


def add(
    folder: str | Path,
    documents: GivenCorpus,
    *,
    columns: Columns | None = None,
    skip_bad: bool = False,
    encoder: TextEncoder | None = None,
    device: str = "auto",
    wait: float = 0,
    progress: bool = False,
) -> Change:
    """Add documents (a corpus on disk, or in memory) to an index; one whose id is known takes the old one's place.

    Documents come in the forms that `build` takes, with its `columns` and `skip_bad`; by default a table is read by the
    columns that the index was built from, if it has them. Documents that are there already, just so, are not encoded
    again. The model is the index's own, loaded only if there is something to encode, unless `encoder` is that model.
    `wait` is for how many seconds another writer is waited for, `math.inf` for as long as it takes.

    Raises:
        DebaterError: there is no such index; another writer is at work; the corpus is bad or holds an id twice; the
            model is gone or another one. The index is as it was before.

    Examples:
        >>> from debater_search.indexing import add
        >>> change = add("indexes/notes", [("lift", "Lift carries a wing.")], encoder=encoder)
        >>> change.added, change.documents
        (1, 4)
    """
    corpus = Corpus(documents, "documents", columns, skip_bad=skip_bad)
    return _change(Path(folder), lambda edits: edits.put(corpus), corpus, encoder, device, progress, wait=wait)


def update(
    folder: str | Path,
    corpus: GivenCorpus,
    *,
    columns: Columns | None = None,
    skip_bad: bool = False,
    encoder: TextEncoder | None = None,
    device: str = "auto",
    wait: float = 0,
    progress: bool = False,
) -> Change:
    """Make an index hold exactly the documents of a corpus: add what is new or changed, drop what is gone.

    With `skip_bad` the document of a row or text that cannot be read any more is gone. The other arguments are those of
    `add`; `columns` takes the place of what the index was read by.

    Raises:
        DebaterError: as `add`.

    Examples:
        >>> from debater_search.indexing import update
        >>> change = update("indexes/notes", [("heat", "Heat flows.")], encoder=encoder)
        >>> change.updated, change.deleted, change.documents
        (1, 2, 1)
    """
    whole = Corpus(corpus, "corpus", columns, skip_bad=skip_bad)

    def edit(edits: DocumentEdits) -> None:
        edits.put(whole)
        edits.delete_others()

    return _change(Path(folder), edit, whole, encoder, device, progress, replaces=True, wait=wait)


def delete(
    folder: str | Path, ids: str | Iterable[str | int] | None = None, *, where: str | None = None, wait: float = 0
) -> Change:
    """Delete documents by their ids, or those that a filter allows when the change begins.

    Ids that no document has are named in the result: they are gone already. `wait` is that of `add`.

    Raises:
        InvalidError: there are both `ids` and `where`, or neither; the filter is wrong; or no document would be left.
        MissingError: there is no such index, or no document has a field that the filter names.
        DebaterError: another writer is at work.

    Examples:
        >>> from debater_search.indexing import delete
        >>> delete("indexes/notes", ["heat"]).documents
        2
    """
    if (ids is None) is (where is None):
        raise InvalidError("`ids` and `where` exclude each other.", "Give one of them.")
    unknown: list[str] = []
    wanted = [] if ids is None else as_ids(ids)

    def edit(edits: DocumentEdits) -> None:
        unknown.extend(edits.delete(wanted if where is None else matching(folder, where)))

    change = _change(Path(folder), edit, wait=wait)
    change.unknown = unknown
    return change


def _change(
    folder: Path,
    edit: Callable[[DocumentEdits], object],
    corpus: Corpus | None = None,
    encoder: TextEncoder | None = None,
    device: str = "auto",
    show: bool = False,
    *,
    replaces: bool = False,
    wait: float = 0,
) -> Change:
    """One change from the lock to the commit; what `edit` does to the documents decides what is encoded."""
    require_encoder(encoder)
    with changing(folder, wait=wait) as before:
        if encoder is not None:
            require_same(encoder, before.encoder, folder)
        remove_superseded(folder, before)
        after = before.model_copy(deep=True)
        after.superseded = None
        after.generation += 1
        content = _with_generations(folder, before, after)
        if corpus is not None:
            corpus.remember(before.corpus.columns, changes=True)
        database, split = folder / after.documents, _splitter(before, folder, encoder)
        with edit_documents(database, after.generation, before.rows, before.corpus.documents, content, split) as edits:
            edit(edits)
        change = Change(
            folder=folder,
            generation=after.generation,
            documents=before.corpus.documents + edits.added - edits.deleted,
            added=edits.added,
            updated=edits.updated,
            deleted=edits.deleted,
            unchanged=edits.unchanged,
            dropped=edits.others,
        )
        if not edits.changed:
            if after.documents != before.documents:
                database.unlink()
            change.generation = before.generation
            return change
        after.content = str(edits.content)
        after.corpus.documents = change.documents
        after.corpus.fingerprint = edits.fingerprint(before.corpus.fingerprint)
        after.deleted += len(edits.vacated)
        if after.passages is not None:
            after.passages.count += edits.end - edits.first - len(edits.vacated)
        if corpus is not None:
            if replaces:
                after.corpus.source, after.corpus.columns = corpus.source, corpus.columns
            after.warnings = list(dict.fromkeys([*([] if replaces else before.warnings), *corpus.warnings]))
            # documents from memory may come one by one, and each time all fields are counted
            if corpus.is_on_disk or change.documents <= MOST_COUNTED:
                change.warnings = _odd_values(database, after.generation, edits.first)
            if corpus.is_on_disk:
                for warning in change.warnings:
                    logger.warning(warning)
        if before.vectors is not None:
            if edits.end > edits.first:
                change.encoded = _encode(folder, after, range(edits.first, edits.end), encoder, device, show)
            after.vectors = _change_vectors(folder, before, after, edits.vacated)
        after.files = {}
        index_words(database)
        write_manifest(folder / MANIFEST_NAME, after)
        try:
            settle(database)
        except DebaterError as error:
            logger.warning("The change is committed. The next one tidies up what this one could not: %s", error.message)
        return change


def _odd_values(database: Path, generation: int, first: int) -> list[str]:
    """Odd values in the fields of new documents, those at the positions from `first` on."""
    with closing(DocumentStore(database, generation)) as documents:
        return odd_values(documents, first)


def _with_generations(folder: Path, before: IndexManifest, after: IndexManifest) -> str:
    """The sum of the rows' hashes of the database to change; one of the layout before generations is copied first."""
    if before.content is not None:
        return before.content
    old = folder / before.documents
    require_undamaged(old, before)
    after.documents = documents_name(after.generation)
    return convert_documents(old, folder / after.documents, before.generation)


def _splitter(before: IndexManifest, folder: Path, encoder: TextEncoder | None) -> Split | None:
    """What cuts new documents as those of the index were cut; its tokenizer is loaded when the first of them comes."""
    made_by, settings = before.encoder, before.passages
    if settings is None or made_by is None:
        return None

    @cache
    def splitter() -> Splitter:
        return Splitter(encoder or load_again(made_by, folder, weights=False), settings)

    return lambda documents: splitter()(documents)


def _encode(
    folder: Path, after: IndexManifest, positions: range, encoder: TextEncoder | None, device: str, show: bool
) -> int:
    """Write the shards of the new texts, in a folder of their own; returns how many were encoded now."""
    assert after.encoder is not None
    base = read_manifest(folder / after.embeddings[0] / MANIFEST_NAME, EmbeddingsManifest)
    after.embeddings.append(embeddings_name(after.generation))
    encoder = encoder or load_again(after.encoder, folder, device=device)
    corpus = CorpusInfo(source=after.corpus.source, fingerprint=after.corpus.fingerprint, documents=len(positions))
    settings = EncodingSettings(base.dtype, bool(base.thinking_steps), passages=base.passages)
    documents = DocumentStore(folder / after.documents, after.generation)
    rows = StoredRows(documents, positions)
    # Shards that a killed run of the same change finished stay; those of another change are removed.
    encoded = encode(rows, encoder, folder / after.embeddings[-1], corpus, settings, force=True, progress=show)
    documents.close()
    encoded.tell()
    return len(positions) - encoded.reused


def _change_vectors(
    folder: Path, before: IndexManifest, after: IndexManifest, vacated: Sequence[int]
) -> VectorRecord | None:
    """Add the vectors of the new shards, if there are any, and drop those of rows that lost their document."""
    record = before.vectors
    if record is None:
        return None
    for name in after.embeddings[len(before.embeddings) :]:
        record = extend_vectors(folder, record, EmbeddingStore.open(folder / name), after.generation)
    rows = np.union1d(unlisted_rows(folder, before), np.array(vacated, np.int64))
    return drop_vectors(folder, record, rows, after.generation)
