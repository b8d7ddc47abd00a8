"""Shards that were encoded before, to build an index from."""

from contextlib import suppress
from pathlib import Path

from debater_search.encoder.protocol import TextEncoder
from debater_search.errors import DebaterError, InvalidError, MissingError
from debater_search.identity import EncoderInfo, fingerprints_of
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.manifest import (
    EMBEDDINGS_NAME,
    MANIFEST_NAME,
    CorpusInfo,
    IndexManifest,
    PassageSettings,
    read_manifest,
)
from debater_search.store.places import ObjectStore, place_at


def open_ready(
    embeddings: str | Path,
    encoder: TextEncoder | None,
    all_steps: bool,
    passages: PassageSettings | None,
    encode_only: bool,
) -> EmbeddingStore:
    """Open ready shards: an embeddings folder, or the output of an `encode_only` build that holds one.

    Raises:
        MissingError: there is no such folder.
        InvalidError: the shards are of another model, have no thinking steps, or are cut otherwise than asked.
        DamagedError: the manifest or a shard is damaged.

    """
    if encode_only:
        raise InvalidError("`embeddings` and `encode_only` exclude each other.", "The embeddings are there already.")
    store = _opened(embeddings)
    folder = store.place
    made_by = store.manifest.encoder
    if encoder is not None and made_by.fingerprint not in fingerprints_of(encoder):
        raise InvalidError(
            f"The embeddings in {folder} were made by {made_by}, not by {EncoderInfo.of(encoder)}.",
            "Leave `encoder` out, or encode the corpus with it.",
        )
    if passages is not None and passages != store.manifest.passages:
        raise InvalidError(
            f"{folder} does not hold passages of {passages.tokens} tokens with {passages.overlap} in common.",
            "Leave `passages` out: the embeddings say how documents were cut. Or encode the corpus again.",
        )
    if all_steps and not store.manifest.thinking_steps:
        raise InvalidError(f"{folder} holds only the last thinking step.", "Encode the corpus with `all_steps`.")
    return store


def _opened(where: str | Path) -> EmbeddingStore:
    """The shards in a folder or at an address, or in `embeddings` there."""
    place = place_at(where)
    if isinstance(place, ObjectStore):
        return EmbeddingStore.open(place if MANIFEST_NAME in place.names() else place / EMBEDDINGS_NAME)
    folder = Path(where)
    if not folder.is_dir():
        raise MissingError(f"The embeddings folder {folder} does not exist.", "Make it with `encode_only`.")
    return EmbeddingStore.open(_shards_in(folder))


def _shards_in(folder: Path) -> Path:
    """Where the shards of an `encode_only` output lie, or of an index's base; or the folder itself."""
    with suppress(DebaterError):
        return folder / read_manifest(folder / MANIFEST_NAME, IndexManifest).embeddings[0]
    return folder / EMBEDDINGS_NAME if (folder / EMBEDDINGS_NAME).is_dir() else folder


def require_same_corpus(ready: EmbeddingStore, corpus: CorpusInfo, rows: int) -> None:
    """Raise InvalidError unless the shards are of this corpus, which has so many `rows`."""
    if ready.manifest.corpus.fingerprint != corpus.fingerprint or len(ready) != rows:
        raise InvalidError(
            f"The embeddings in {ready.place} were made of another corpus ({ready.manifest.corpus.source}).",
            "Give the corpus they were made of, or encode this one.",
        )
