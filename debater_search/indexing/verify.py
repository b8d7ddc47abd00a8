"""Is every file of an index what its manifests say? What is damaged and can be made again is repaired on request."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from debater_search.errors import DebaterError
from debater_search.files import sha256_file
from debater_search.indexing.build import build_vectors
from debater_search.indexing.encode import require_finite
from debater_search.progress import Progress, progress
from debater_search.store.documents import DOCUMENTS_NAME, DocumentStore
from debater_search.store.embeddings import EMBEDDINGS_NAME, EmbeddingStore, EmbeddingWriter
from debater_search.store.manifest import (
    MANIFEST_NAME,
    MEND,
    VECTORS_FILE,
    EmbeddingsManifest,
    FileInfo,
    IndexManifest,
    ShardInfo,
    read_manifest,
    write_manifest,
)

if TYPE_CHECKING:
    from debater_search.encoder import Encoder

logger = logging.getLogger(__name__)


@dataclass
class Verification:
    """What `verify` found: how many files it read, which are damaged, and which of those it made again."""

    files: int = 0
    damaged: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)

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

    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DebaterError(f"The index {folder} does not exist.", "Give the folder of an index.")
    manifest = read_manifest(folder / MANIFEST_NAME, IndexManifest)
    embeddings = folder / EMBEDDINGS_NAME
    shards = read_manifest(embeddings / MANIFEST_NAME, EmbeddingsManifest) if manifest.encoder else None
    expected = {name: info.sha256 for name, info in manifest.files.items()}
    expected |= {f"{EMBEDDINGS_NAME}/{shard.file}": shard.sha256 for shard in (shards.shards if shards else [])}

    found = Verification(len(expected))
    with progress("Verifying", len(expected), "files", enabled=show) as bar:
        found.damaged = list(_damaged(folder, expected, bar))
    if repair and found.damaged:
        if DOCUMENTS_NAME in found.damaged:
            raise DebaterError(f"{folder / DOCUMENTS_NAME} is damaged, and only the corpus can mend that.", MEND)
        assert shards is not None  # what is damaged and not the documents is made of embeddings
        _repair(folder, manifest, shards, found, lambda: _load(manifest, model, device), show)
    return found


def _damaged(folder: Path, expected: dict[str, str], bar: Progress) -> Iterator[str]:
    for name, sha256 in expected.items():
        path = folder / name
        if not path.is_file() or sha256_file(path) != sha256:
            yield name
        bar.advance()


def _repair(
    folder: Path,
    manifest: IndexManifest,
    shards: EmbeddingsManifest,
    found: Verification,
    load: Callable[[], "Encoder"],
    show: bool,
) -> None:
    """Shards first, then their manifest, then the vectors, then the index's manifest: killed, it can be run again."""
    broken = [shard for shard in shards.shards if f"{EMBEDDINGS_NAME}/{shard.file}" in found.damaged]
    if broken:
        encoder = load()
        if encoder.fingerprint != shards.encoder.fingerprint:
            raise DebaterError(
                f"The index {folder} was made by {shards.encoder}, not by {encoder.name}.",
                "Repair it with the model that made it.",
            )
        _encode_again(folder, shards, broken, encoder, show)
    store = EmbeddingStore.open(folder / EMBEDDINGS_NAME)
    build_vectors(store, folder, manifest.type or "flat")
    manifest.files[VECTORS_FILE] = FileInfo.of(folder / VECTORS_FILE)
    write_manifest(folder / MANIFEST_NAME, manifest)
    found.repaired = list(found.damaged)


def _load(manifest: IndexManifest, model: str | None, device: str) -> "Encoder":
    from debater_search.encoder import Encoder

    assert manifest.encoder is not None
    recipe: dict[str, Any] = {**manifest.encoder.recipe, **({"model": model} if model else {})}
    return Encoder.load(**recipe, device=device)


def _encode_again(
    folder: Path, shards: EmbeddingsManifest, broken: list[ShardInfo], encoder: "Encoder", show: bool
) -> None:
    steps = shards.thinking_steps
    writer = EmbeddingWriter(folder / EMBEDDINGS_NAME, shards.dim, dtype=shards.dtype, thinking_steps=steps)
    documents = DocumentStore(folder / DOCUMENTS_NAME)
    start = 0
    with progress("Encoding", sum(shard.rows for shard in broken), "documents", enabled=show) as bar:
        for number, shard in enumerate(shards.shards):
            if shard in broken:
                batch = documents.read_range(start, start + shard.rows)
                encode = encoder.deliberate if steps else encoder.encode_documents
                vectors = encode(batch, progress=bar)
                require_finite(vectors, batch)
                writer.write(number, [document.id for document in batch], vectors)
                shard.sha256 = sha256_file(folder / EMBEDDINGS_NAME / shard.file)
            start += shard.rows
    documents.close()
    write_manifest(folder / EMBEDDINGS_NAME / MANIFEST_NAME, shards)
