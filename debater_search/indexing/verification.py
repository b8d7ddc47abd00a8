"""Is every file of an index what its manifests say? What is damaged and can be made again is repaired on request."""

import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from debater_search.encoder.again import load_again
from debater_search.encoder.protocol import TextEncoder
from debater_search.errors import DamagedError, MissingError
from debater_search.files import sha256_file
from debater_search.indexing.tasks import require_finite
from debater_search.indexing.vectors import drop_vectors, extend_vectors, rebuild_vectors
from debater_search.locks import writing
from debater_search.progress import Progress, progress
from debater_search.store.checks import documents_are_sound
from debater_search.store.documents import DocumentStore
from debater_search.store.embedding_writer import EmbeddingWriter
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.manifest import (
    MANIFEST_NAME,
    MEND,
    EmbeddingsManifest,
    IndexManifest,
    VectorRecord,
    read_manifest,
    write_manifest,
)
from debater_search.store.rows import deleted_rows
from debater_search.vectors import Selection, backend

_SAMPLE = 1000  # vectors that are compared with the shards where they lie elsewhere
_EQUAL = 1e-4

logger = logging.getLogger(__name__)


@dataclass
class Verification:
    """What `verify` found: how many files it read, which are damaged, and which of those it made again."""

    files: int = 0
    damaged: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)

    repairable: bool = True
    """Whether a repair can make again what is damaged: manifests and documents come from the corpus alone."""

    @property
    def sound(self) -> bool:
        """Whether nothing is left damaged."""
        return set(self.damaged) == set(self.repaired)


def verify(
    folder: str | Path, *, repair: bool = False, model: str | None = None, device: str = "auto", show: bool = False
) -> Verification:
    """Compare the hash of every file of an index with its manifests.

    With `repair`, damaged shards are encoded again from the stored documents by the model that made the index (`model`
    says where it is now, if it was moved), and the vectors are built again from the shards. `show` shows a progress
    line.

    Raises:
        DebaterError: there is no finished index; a manifest is damaged; or `repair` meets damaged documents, or a
            model other than the one that made the index.

    Examples:
        >>> from debater_search.indexing import verify
        >>> verify("indexes/notes").sound
        True
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingError(f"The index {folder} does not exist.", "Give the folder of an index.")
    with writing(folder) if repair else nullcontext():
        manifest = read_manifest(folder / MANIFEST_NAME, IndexManifest)
        shards = _shard_manifests(folder, manifest)
        expected: dict[str, str] = {name: info.sha256 for name, info in manifest.files.items()}
        expected |= {f"{name}/{shard.file}": shard.sha256 for name, of in shards.items() for shard in of.shards}

        record, in_rows = manifest.vectors, manifest.documents not in expected
        found = Verification(len(expected) + in_rows + (len(record.files) if record else 0))
        with progress("Verifying", found.files, "files", enabled=show) as bar:
            found.damaged = list(_damaged(folder, expected, bar))
            if in_rows:
                found.damaged += [] if documents_are_sound(folder, manifest) else [manifest.documents]
                bar.advance()
            if contradiction := manifest.contradiction() or _missing_shards(manifest, shards):
                logger.warning("%s: %s.", folder / MANIFEST_NAME, contradiction)
                found.damaged.append(MANIFEST_NAME)
            if record is not None:
                keeper = backend(record.backend)
                wrong = keeper.check(folder, record)
                found.damaged += wrong or (_strayed(folder, manifest, record) if keeper.remote else [])
                bar.advance(len(record.files))
        found.repairable = not {MANIFEST_NAME, manifest.documents} & set(found.damaged)
        if repair and found.damaged:
            if MANIFEST_NAME in found.damaged:
                raise DamagedError(f"{folder / MANIFEST_NAME} contradicts what it describes.", MEND)
            if manifest.documents in found.damaged:
                raise DamagedError(
                    f"{folder / manifest.documents} is damaged, and only the corpus can mend that.", MEND
                )
            if blocked := [folder / name for name in found.damaged if (folder / name).is_dir()]:
                raise DamagedError(
                    f"{blocked[0]} is a folder, where a file belongs.", "Move it elsewhere, then call this again."
                )
            assert manifest.encoder is not None  # what is damaged and not the documents is made of embeddings
            made_by = manifest.encoder
            load = partial(load_again, made_by, folder, model=model, device=device)
            _repair(folder, manifest, shards, found, load, show)
    if found.damaged and not repair and read_manifest(folder / MANIFEST_NAME, IndexManifest) != manifest:
        return verify(folder, show=show)  # a writer was at work: what was not found is not part of the index any more
    return found


def _shard_manifests(folder: Path, manifest: IndexManifest) -> dict[str, EmbeddingsManifest]:
    if manifest.encoder is None:
        return {}
    return {name: read_manifest(folder / name / MANIFEST_NAME, EmbeddingsManifest) for name in manifest.embeddings}


def _strayed(folder: Path, manifest: IndexManifest, record: VectorRecord) -> list[str]:
    """The backend's name if a sample of its vectors differs from the shards: no hash of a file covers them."""
    documents = DocumentStore(folder / manifest.documents, manifest.generation)
    live = np.setdiff1d(np.arange(record.rows), deleted_rows(documents, manifest.rows))
    documents.close()
    sample = np.sort(np.random.default_rng(0).choice(live, min(_SAMPLE, len(live)), replace=False))
    store = EmbeddingStore.open(*(folder / name for name in manifest.embeddings))
    parts = []
    for start, rows in store.around(sample):
        low, high = sample.searchsorted([start, start + len(rows)])
        parts.append(rows[sample[low:high] - start])
    wanted = np.concatenate(parts).astype(np.float32)
    index = backend(record.backend).open(folder, record)
    scores, _ = index.search(wanted, 1, Selection(sample), exact=True)
    own = np.einsum("nd,nd->n", wanted, wanted)
    return [record.backend] if (scores[:, 0] < own - _EQUAL).any() else []


def _missing_shards(manifest: IndexManifest, shards: dict[str, EmbeddingsManifest]) -> str | None:
    """How the rows of the embeddings differ from the manifest's; None if they do not."""
    rows = sum(shard.rows for of in shards.values() for shard in of.shards)
    return f"{rows:,} embeddings for {manifest.rows:,} rows" if shards and rows != manifest.rows else None


def _damaged(folder: Path, expected: dict[str, str], bar: Progress) -> Iterator[str]:
    for name, sha256 in expected.items():
        path = folder / name
        if not path.is_file() or sha256_file(path) != sha256:
            yield name
        bar.advance()


def _repair(
    folder: Path,
    manifest: IndexManifest,
    shards: dict[str, EmbeddingsManifest],
    found: Verification,
    load: Callable[[], TextEncoder],
    show: bool,
) -> None:
    """Shards first, then their manifest, then the vectors, then the index's manifest: killed, it can be run again."""
    assert manifest.vectors is not None
    in_shards = {f"{name}/{shard.file}" for name, of in shards.items() for shard in of.shards}
    broken = [name for name in found.damaged if name in in_shards]
    if broken:
        _encode_again(folder, manifest, shards, broken, load(), show)
    first, *later = (folder / name for name in manifest.embeddings)
    documents = DocumentStore(folder / manifest.documents, manifest.generation)
    holes = deleted_rows(documents, manifest.rows)
    documents.close()
    record = rebuild_vectors(folder, EmbeddingStore.open(first), manifest.vectors, manifest.generation)
    if later:
        record = extend_vectors(folder, record, EmbeddingStore.open(*later), manifest.generation)
    manifest.vectors = drop_vectors(folder, record, holes, manifest.generation)
    write_manifest(folder / MANIFEST_NAME, manifest)
    found.repaired = list(found.damaged)


def _encode_again(
    folder: Path,
    manifest: IndexManifest,
    shards: dict[str, EmbeddingsManifest],
    broken: list[str],
    encoder: TextEncoder,
    show: bool,
) -> None:
    documents = DocumentStore(folder / manifest.documents, manifest.generation)
    rows = {f"{name}/{shard.file}": shard.rows for name, of in shards.items() for shard in of.shards}
    start = 0
    with progress("Encoding", sum(rows[name] for name in broken), "documents", enabled=show) as bar:
        for name, of in shards.items():
            steps = of.thinking_steps
            writer = EmbeddingWriter(folder / name, of.dim, dtype=of.dtype, thinking_steps=steps)
            for number, shard in enumerate(of.shards):
                if f"{name}/{shard.file}" in broken:
                    made = writer.write(number, *_rows(documents, range(start, start + shard.rows), encoder, of, bar))
                    shard.sha256 = made.sha256
                start += shard.rows
            write_manifest(folder / name / MANIFEST_NAME, of)
    documents.close()


def _rows(
    documents: DocumentStore, positions: range, encoder: TextEncoder, shards: EmbeddingsManifest, bar: Progress
) -> tuple[list[str], np.ndarray]:
    """Ids and embeddings at these positions; where a document was deleted, whose vector nobody asks for, zeros."""
    live = [position for position, _ in documents.rows(positions.start, positions.stop)]
    batch = documents.read_rows(positions.start, positions.stop)
    shape = (shards.thinking_steps, shards.dim) if shards.thinking_steps else (shards.dim,)
    ids, vectors = [""] * len(positions), np.zeros((len(positions), *shape), np.float32)
    if batch:
        encoded = (encoder.deliberate if shards.thinking_steps else encoder.encode_documents)(batch, progress=bar)
        require_finite(encoded, [document.id for document in batch])
        vectors[[position - positions.start for position in live]] = encoded
    for position, document in zip(live, batch, strict=True):
        ids[position - positions.start] = document.id
    return ids, vectors
