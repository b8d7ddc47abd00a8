"""Embeddings that evaluations keep, so that a model encodes no corpus and no queries twice.

They lie in `~/.cache/debater/evaluation` or under `$XDG_CACHE_HOME`. A corpus is a folder of shards, named by the
fingerprints of encoder and corpus and by the number type: what a kill left half done, the next evaluation completes.
With every thinking step it is a folder of its own, which serves evaluations without them too. Queries are one file of
vectors. What keeps the cache small: whenever something is added, what nothing has opened for a month goes.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from debater_search.cache import cache_folder, one_at_a_time
from debater_search.errors import DebaterError
from debater_search.files import atomic, sha256_file
from debater_search.indexing import build
from debater_search.store.documents import corpus_fingerprint
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.manifest import DOCUMENTS_NAME, EMBEDDINGS_NAME, MANIFEST_NAME
from debater_search.types import Document, Query

if TYPE_CHECKING:
    from debater_search.encoder import Encoder

logger = logging.getLogger(__name__)

UNUSED_SECONDS = 30 * 24 * 3600
ABANDONED_SECONDS = 24 * 3600  # temporary files


def kept_documents(
    documents: Callable[[], Iterable[Document]],
    encoder: "Encoder",
    *,
    all_steps: bool = False,
    progress: bool = False,
) -> tuple[Path, dict[str, float]]:
    """A folder with the embeddings of a corpus, for `build(embeddings=…)`, and the seconds that making it took.

    `documents` gives the corpus, as often as it is called. Raises DebaterError as `build` does.
    """
    start = time.perf_counter()
    cache = cache_folder("evaluation")
    name = _key(encoder, corpus_fingerprint(documents()))
    seconds = {"read": time.perf_counter() - start}
    with_steps, last_only = cache / f"{name}-steps", cache / name
    entry = with_steps if all_steps else last_only
    with one_at_a_time(cache / f"{name}.lock"):
        found = next((path for path in dict.fromkeys((with_steps, entry)) if _is_whole(path)), None)
        if found is None:
            _remove_stale(cache)
            unfinished = (entry / DOCUMENTS_NAME).exists() and not (entry / EMBEDDINGS_NAME / MANIFEST_NAME).exists()
            if entry.exists() and not unfinished:
                shutil.rmtree(entry)  # it was whole once
            made = build(documents(), encoder, entry, all_steps=all_steps, encode_only=True, progress=progress)
            seconds = {stage: seconds.get(stage, 0.0) + value for stage, value in made.seconds.items()}
            (entry / DOCUMENTS_NAME).unlink()  # an index has its own
            if all_steps:
                shutil.rmtree(last_only, ignore_errors=True)
            found = entry
        os.utime(found)  # it is in use
    return found, seconds


def query_vectors(queries: Sequence[Query], encoder: "Encoder", instruction: str | None) -> np.ndarray:
    """The vectors of queries, float32 [n, dim]; encoded if these were not, by this encoder, before."""
    texts = [query.text for query in queries]
    if not is_kept(encoder):
        return encoder.encode_queries(texts, instruction=instruction)
    cache = cache_folder("evaluation")
    file = cache / f"{_key(encoder, json.dumps([instruction, *texts]))}.npy"
    cached = _read_vectors(file, (len(texts), encoder.dim))
    if cached is not None:
        return cached
    vectors = encoder.encode_queries(texts, instruction=instruction)
    _remove_stale(cache)
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


def is_kept(encoder: "Encoder") -> bool:
    """Whether embeddings of an encoder are kept: not while it is trained, when it is another one at every step."""
    return not getattr(encoder, "in_training", False)


def kept_size() -> tuple[Path, int]:
    """Where embeddings are kept, and how many bytes they take."""
    cache = cache_folder("evaluation")
    size = 0
    for folder, _, files in os.walk(cache):
        for file in files:
            with suppress(OSError):  # another process was first
                size += Path(folder, file).stat().st_size
    return cache, size


def _key(encoder: "Encoder", content: str) -> str:
    """A name by model, number type and content: what 16 or 8 bits encoded does not pass for exact."""
    return f"{encoder.fingerprint[:16]}-{encoder.dtype}-{hashlib.sha256(content.encode()).hexdigest()[:32]}"


def _is_whole(entry: Path) -> bool:
    try:
        store = EmbeddingStore.open(entry / EMBEDDINGS_NAME)
        return all(sha256_file(store.folder / shard.file) == shard.sha256 for shard in store.manifest.shards)
    except (DebaterError, OSError):
        return False


def _remove_stale(cache: Path) -> None:
    for path in list(cache.iterdir()):
        with suppress(OSError):  # another process was first
            touched = max(file.stat().st_mtime for file in (path, *path.glob("*")))
            temporary = path.suffix in (".lock", ".tmp")
            if time.time() - touched > (ABANDONED_SECONDS if temporary else UNUSED_SECONDS):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
