"""Encode a corpus straight to object storage: shards there, nothing else; an index is built from them later."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from debater_search.encoder.protocol import TextEncoder, require_encoder
from debater_search.errors import InvalidError
from debater_search.indexing.building import passage_settings, timed
from debater_search.indexing.documents import Corpus, GivenCorpus, storing
from debater_search.indexing.encoding import EncodingSettings, encode
from debater_search.indexing.engines import LOCAL
from debater_search.indexing.passages import Splitter
from debater_search.roles import Columns
from debater_search.store.lease import leasing
from debater_search.store.manifest import EMBEDDINGS_NAME, MANIFEST_NAME, DType
from debater_search.store.places import ObjectStore, place_at

SHARD_SIZE = 50_000
"""Texts in a shard on object storage, where each object costs a request."""


@dataclass
class EncodedPlace:
    """What `encode_to` did; `reused` counts documents encoded by an earlier run."""

    address: str
    documents: int = 0
    reused: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def check_encode_to(
    address: str, *, workers: int = 1, engine: str = LOCAL, ray_address: str | None = None, force: bool = False
) -> ObjectStore:
    """Raise DebaterError for what `encode_to` refuses whatever the corpus and the model: before a model is loaded.

    Returns the place of the shards, where files can be written.

    Examples:
        >>> from debater_search.indexing import check_encode_to
        >>> check_encode_to("s3://bucket/notes")  # doctest: +SKIP
        ObjectStore(uri='s3://bucket/notes/embeddings')
    """
    EncodingSettings(workers=workers, engine=engine, ray_address=ray_address).check()
    place = place_at(address)
    if not isinstance(place, ObjectStore):
        raise InvalidError(f"{address} is not a place on object storage.", "Use `build` with `encode_only`.")
    place = place / EMBEDDINGS_NAME
    place.make()
    if not force:
        _require_unfinished(place)
    return place


def _require_unfinished(place: ObjectStore) -> None:
    if MANIFEST_NAME in place.names():
        raise InvalidError(f"{place} holds finished embeddings.", "Choose another place, or replace them with `force`.")


def encode_to(
    corpus: GivenCorpus,
    encoder: TextEncoder,
    address: str,
    *,
    all_steps: bool = False,
    shard_size: int = SHARD_SIZE,
    dtype: DType = "float32",
    passages: int | None = None,
    overlap: int = 32,
    columns: Columns | None = None,
    skip_bad: bool = False,
    workers: int = 1,
    engine: str = LOCAL,
    ray_address: str | None = None,
    force: bool = False,
    progress: bool = False,
) -> EncodedPlace:
    """Encode a corpus into `address`/embeddings, such as `s3://bucket/papers`; the arguments are those of `build`.

    Killed and called again, it resumes with the shards that are there. `build(…, embeddings="s3://…")` makes the index.
    The documents are numbered in a temporary database of this machine, so that they are read in the order of `build`.

    Raises:
        DebaterError: the corpus is bad or empty; the place cannot be used, is being written to, or holds other
            embeddings (without `force`); the model gives NaN.

    Examples:
        >>> from debater_search.indexing import encode_to
        >>> encode_to("notes.jsonl", encoder, "s3://bucket/notes")  # doctest: +SKIP
        EncodedPlace(address='s3://bucket/notes/embeddings', documents=3, reused=0, ...)
    """
    require_encoder(encoder)
    place = check_encode_to(address, workers=workers, engine=engine, ray_address=ray_address, force=force)
    cut = passage_settings(passages, overlap, all_steps, lexical=False)
    settings = EncodingSettings(dtype, all_steps, shard_size, cut, workers, engine, ray_address)
    split = Splitter(encoder, cut) if cut is not None else None
    given = Corpus(corpus, "corpus", columns, skip_bad=skip_bad)
    result = EncodedPlace(str(place))
    with leasing(place, force=force), tempfile.TemporaryDirectory() as scratch:
        if not force:
            _require_unfinished(place)  # again: another writer may have finished just now
        with timed(result.seconds, "read"), storing(given, Path(scratch), split) as stored:
            result.documents, result.warnings = stored.corpus.documents, list(stored.warnings)
        with timed(result.seconds, "encode"), stored.opened() as rows:
            encoded = encode(rows, encoder, place, stored.corpus, settings, force=force, progress=progress)
        result.reused = encoded.reused
        encoded.tell()
    return result
