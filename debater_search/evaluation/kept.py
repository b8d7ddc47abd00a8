"""The cache of evaluations' embeddings: no model encodes a corpus or queries twice.

It is in `~/.cache/debater/evaluation` or under `$XDG_CACHE_HOME`. A corpus is a folder of shards, named by the
fingerprints of encoder and corpus and by the number type: the next evaluation completes what a kill left unfinished.
With every thinking step it is a folder of its own, which serves evaluations without them too. Queries are one file of
vectors. Whenever something is added, entries unused for a month are removed.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from debater_search.cache import cache_folder, remove_stale
from debater_search.encoder.protocol import TextEncoder, instruction_of, is_cacheable
from debater_search.errors import DebaterError
from debater_search.files import atomic, sha256_file
from debater_search.indexing import EncodingSettings, StoredDocuments, encode
from debater_search.locks import one_at_a_time
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.manifest import EMBEDDINGS_NAME, MANIFEST_NAME
from debater_search.store.places import Folder
from debater_search.types import Query

logger = logging.getLogger(__name__)


def kept_embeddings(
    stored: StoredDocuments, encoder: TextEncoder, *, all_steps: bool = False, progress: bool = False
) -> EmbeddingStore:
    """The embeddings of stored documents, from the cache; what is missing there is encoded and added.

    Raises DebaterError as `encode` does.
    """
    cache = cache_folder("evaluation")
    name = _key(encoder, stored.corpus.fingerprint)
    with_steps, last_only = cache / f"{name}-steps", cache / name
    entry = with_steps if all_steps else last_only
    with one_at_a_time(cache / f"{name}.lock"):
        entries = dict.fromkeys((with_steps, entry))
        found = next((store for path in entries if (store := _undamaged(path)) is not None), None)
        if found is None:
            remove_stale(cache, _is_entry)
            if (entry / EMBEDDINGS_NAME / MANIFEST_NAME).exists():
                shutil.rmtree(entry)  # it was finished once, and is damaged
            settings = EncodingSettings(all_steps=all_steps)
            if progress:  # an evaluation may compare several models
                logger.info("%s encodes %s documents.", encoder.name, f"{stored.corpus.documents:,}")
            with stored.opened() as rows:
                found = encode(
                    rows, encoder, entry / EMBEDDINGS_NAME, stored.corpus, settings, force=True, progress=progress
                ).store
            if all_steps:
                shutil.rmtree(last_only, ignore_errors=True)
        os.utime(_folder_of(found))  # it is in use
    return found


def query_vectors(queries: Sequence[Query], encoder: TextEncoder, instruction: str | None) -> np.ndarray:
    """The vectors of queries, float32 [n, dim]; encoded if these were not, by this encoder, before."""
    texts = [query.text for query in queries]
    if not is_cacheable(encoder):
        return encoder.encode_queries(texts, instruction=instruction)
    cache = cache_folder("evaluation")
    named = None if instruction == instruction_of(encoder) else instruction  # the default is one entry, named or not
    file = cache / f"{_key(encoder, json.dumps([named, *texts]))}.npy"
    cached = _read_vectors(file, (len(texts), encoder.dim))
    if cached is not None:
        return cached
    vectors = encoder.encode_queries(texts, instruction=instruction)
    remove_stale(cache, _is_entry)
    try:
        with atomic(file) as temporary, temporary.open("wb") as stream:
            np.save(stream, vectors, allow_pickle=False)
            stream.write(_digest(vectors))  # NumPy reads what it needs and ignores the rest
    except OSError as error:
        logger.warning("The queries' vectors are not kept in %s: %s.", cache, error.strerror or error)
    return vectors


def _read_vectors(file: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """The vectors that `query_vectors` wrote, float32 of this shape; None if the file is missing or damaged."""
    try:
        with file.open("rb") as stream:
            vectors: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
            sound = vectors.dtype == np.float32 and vectors.shape == shape and stream.read() == _digest(vectors)
        os.utime(file)
    except Exception:  # a damaged header may raise anything
        return None
    return vectors if sound else None


def _digest(vectors: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(vectors).tobytes()).digest()


def kept_size() -> tuple[Path, int]:
    """Where embeddings are kept, and how many bytes they take."""
    cache = cache_folder("evaluation")
    size = 0
    for folder, _, files in os.walk(cache):
        for file in files:
            with suppress(OSError):  # another process was first
                size += Path(folder, file).stat().st_size
    return cache, size


def _folder_of(store: EmbeddingStore) -> Path:
    assert isinstance(store.place, Folder)
    return store.place.path.parent


def _key(encoder: TextEncoder, content: str) -> str:
    """A name by model, number type and content: what 16 or 8 bits encoded does not pass for exact."""
    return f"{encoder.fingerprint[:16]}-{encoder.dtype}-{hashlib.sha256(content.encode()).hexdigest()[:32]}"


def _undamaged(entry: Path) -> EmbeddingStore | None:
    """The finished embeddings of an entry; None if they are unfinished or damaged."""
    try:
        store = EmbeddingStore.open(entry / EMBEDDINGS_NAME)
        sound = all(
            sha256_file(entry / EMBEDDINGS_NAME / shard.file) == shard.sha256 for shard in store.manifest.shards
        )
    except (DebaterError, OSError):
        return None
    return store if sound else None


def _is_entry(name: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{16}-\w+-[0-9a-f]{32}(-steps)?", name) is not None
