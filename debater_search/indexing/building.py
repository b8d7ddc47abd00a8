"""Build an index in three calls: store the documents, encode them, index the embeddings. The manifest comes last."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from debater_search.data.files import called
from debater_search.encoder.again import load_again
from debater_search.encoder.protocol import TextEncoder, require_encoder
from debater_search.errors import InvalidError
from debater_search.identity import EncoderInfo
from debater_search.indexing.documents import Corpus, GivenCorpus, StoredDocuments, storing
from debater_search.indexing.encoding import SHARD_SIZE, EncodingSettings, encode
from debater_search.indexing.engines import LOCAL
from debater_search.indexing.output import check_output, claim, workplace
from debater_search.indexing.passages import Splitter
from debater_search.indexing.ready import open_ready, require_same_corpus
from debater_search.indexing.vectors import build_vectors
from debater_search.notebook import table
from debater_search.roles import Columns
from debater_search.store.embeddings import EmbeddingStore
from debater_search.store.lexical import ENGLISH, language_of
from debater_search.store.manifest import (
    EMBEDDINGS_NAME,
    MANIFEST_NAME,
    DType,
    IndexManifest,
    Passages,
    PassageSettings,
    write_manifest,
)
from debater_search.store.places import Folder, is_remote
from debater_search.vectors import VectorSettings
from debater_search.vectors import backend as find_backend


@dataclass
class BuildResult:
    """What `build` did. `manifest` is None after `encode_only`; `reused` counts documents encoded by an earlier run."""

    folder: Path
    documents: int
    encoder: EncoderInfo | None
    manifest: IndexManifest | None = None
    reused: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        """Folder, number of documents, model and type of vector index; the rest are attributes."""
        folder, documents, model, type = self._shown()
        return f"{self.__class__.__name__}({folder!r}, {documents} documents, {model}, {type})"

    def _repr_html_(self) -> str:
        took = [f"{stage} {seconds:.1f} s" for stage, seconds in self.seconds.items()]
        return table(
            ("folder", "documents", "model", "type"), [self._shown()], note=" · ".join([*self.warnings, *took])
        )

    def _shown(self) -> tuple[str, str, str, str]:
        vectors = self.manifest.vectors if self.manifest is not None else None
        type = (
            vectors.type if vectors is not None else "embeddings only" if self.encoder is not None else "lexical only"
        )
        return str(self.folder), f"{self.documents:,}", self.encoder.name if self.encoder else "no model", type


def build(
    corpus: GivenCorpus,
    encoder: TextEncoder | None,
    folder: str | Path,
    *,
    type: str = "auto",
    memory: int | None = None,
    recall: float = 0.95,
    backend: str = "faiss",
    uri: str | None = None,
    all_steps: bool = False,
    shard_size: int = SHARD_SIZE,
    dtype: DType = "float32",
    passages: int | None = None,
    overlap: int = 32,
    language: str = ENGLISH.name,
    columns: Columns | None = None,
    skip_bad: bool = False,
    encode_only: bool = False,
    embeddings: str | Path | None = None,
    workers: int = 1,
    engine: str = LOCAL,
    ray_address: str | None = None,
    force: bool = False,
    progress: bool = False,
) -> BuildResult:
    """Build the index of a corpus in `folder`; killed and called again with the same arguments, it resumes.

    The corpus is a path, or documents in memory, one at a time or in a table of pandas, Polars or Arrow: texts,
    (id, text), (id, title, text), objects with `id`, `text`, perhaps `title`, and metadata, or `Document`s. A text
    without an id gets one that is made from the text, so that the same text is one document, now and in later changes.
    `columns` says which fields of a row are its id, title and text, such as {"id": "sku", "text": ["name", "notes"]};
    by default well-known names do. Texts of the fields of `list` (`red|blue`, `red;blue`) and of `comma-list` become
    lists, those of `number` numbers. Later changes of the index read alike. `skip_bad` leaves out rows and files that
    cannot be read; the manifest's warnings name them.

    Without an encoder the index is lexical only (BM25), unless `embeddings` names a folder of ready shards to build
    from. `backend` keeps the vectors: `faiss` in the folder, `milvus` at the address `uri` (a server, or a file NAME.db
    of milvus-lite). `type` is how it searches them: `auto`, or a type that the backend knows; for FAISS a name of
    `vectors.faiss.TYPES` or a factory string. `auto` keeps within `memory`, in bytes, and recall@10 is
    tuned to reach `recall`. `encode_only` stops when the shards are complete. `all_steps` stores every thinking step.

    `engine` says where encoding tasks run: `local`, in this process or in as many as `workers` says (on the GPUs in
    turn if the encoder is on one), or `ray`, on the cluster at `ray_address` or on one that it starts here. Shards hold
    the same bytes everywhere, if a worker has as many threads as one process here has. `embeddings` may be an address
    of object storage (`encode_to`).
    With `passages` documents are cut into passages of at most that many tokens, title and the model's own tokens
    included, with up to `overlap` tokens in common; a search still answers with documents, by the best passage of each.
    `language` says how words are compared: `english`, with English stems and stop words, or `any`, as they stand,
    which is better for all other languages. Scripts without spaces are cut into pairs of characters in both.
    `force` replaces a finished index at the moment when the new one is complete.

    Raises:
        DebaterError: the corpus is bad or empty; the folder is taken; a setting has no such value; the embeddings
            are damaged or belong to another corpus or model; the model gives NaN.

    Examples:
        >>> from debater_search.indexing import build
        >>> texts = ["A wing carries an aircraft.", "Heat flows to cold air."]
        >>> build(texts, encoder, "indexes/texts").documents
        2
        >>> rows = [{"id": 1, "title": "Wings", "text": "A wing carries an aircraft.", "year": 1955}]
        >>> build(rows, None, "indexes/words").documents  # no model: words only
        1
        >>> build("notes.jsonl", encoder, "indexes/from-a-file", all_steps=True).documents
        3
    """
    require_encoder(encoder)
    if is_remote(folder):
        raise InvalidError("An index lies in a folder of this machine.", "Encode there with `encode_to`.")
    folder = Path(folder).resolve()
    spoken = language_of(language)
    lexical = encoder is None and embeddings is None
    if encode_only and lexical:
        raise InvalidError("There is no model to encode with.", "Give an `encoder`.")
    cut = passage_settings(passages, overlap, all_steps, lexical=lexical)
    settings = EncodingSettings(dtype, all_steps, shard_size, cut, workers, engine, ray_address)
    settings.check()
    vector_settings = VectorSettings(type, memory, recall, uri)
    check_output(folder, force=force, encode_only=encode_only)
    given = Corpus(corpus, "corpus", columns, skip_bad=skip_bad)
    ready = open_ready(embeddings, encoder, all_steps, cut, encode_only) if embeddings is not None else None
    if ready:
        given.remember(ready.manifest.corpus.columns)
    if ready:  # the shards are what they are
        settings = _settings_of(ready)
    info = ready.manifest.encoder if ready else EncoderInfo.of(encoder) if encoder is not None else None
    split = None
    if settings.passages is not None and info is not None:
        split = Splitter(encoder or load_again(info, Path(str(embeddings or folder)), weights=False), settings.passages)
    if info is not None and not encode_only:
        find_backend(backend).validate(vector_settings, ready.manifest.dim if ready else info.dim)

    with workplace(folder, force=force, encode_only=encode_only) as place:
        result = BuildResult(folder, 0, info)
        with timed(result.seconds, "read"), storing(given, place, split, spoken) as stored:
            if ready:
                require_same_corpus(ready, stored.corpus, stored.rows)
            job = settings.job(info, stored.corpus) if info is not None else None
            claim(place / EMBEDDINGS_NAME, job, force=force)
        result.documents, result.warnings = stored.corpus.documents, list(stored.warnings)

        store = None
        with timed(result.seconds, "encode"):
            if ready:
                store = ready.copy_to(place / EMBEDDINGS_NAME)
                result.reused = len(store)
            elif encoder is not None:
                with stored.opened() as rows:
                    encoded = encode(rows, encoder, place / EMBEDDINGS_NAME, stored.corpus, settings, progress=progress)
                store, result.reused = encoded.store, encoded.reused
                encoded.tell()

        if not encode_only:
            with timed(result.seconds, "index"):
                result.manifest = index(stored, store, vector_settings, name=folder.name, backend=backend)
                result.warnings = result.manifest.warnings
    return result


def check_build(
    folder: str | Path,
    *,
    type: str = "auto",
    memory: int | None = None,
    recall: float = 0.95,
    backend: str = "faiss",
    uri: str | None = None,
    all_steps: bool = False,
    passages: int | None = None,
    overlap: int = 32,
    encode_only: bool = False,
    embeddings: str | Path | None = None,
    workers: int = 1,
    engine: str = LOCAL,
    ray_address: str | None = None,
    force: bool = False,
) -> None:
    """Raise DebaterError for what `build` refuses whatever the corpus and the model: before a model is loaded.

    Examples:
        >>> from debater_search.indexing import check_build
        >>> check_build("indexes/new", type="hnsw")  # nothing to refuse
    """
    cut = passage_settings(passages, overlap, all_steps, lexical=False)
    EncodingSettings(all_steps=all_steps, passages=cut, workers=workers, engine=engine, ray_address=ray_address).check()
    settings = VectorSettings(type, memory, recall, uri)
    check_output(folder, force=force, encode_only=encode_only)
    if embeddings is not None:
        open_ready(embeddings, None, all_steps, cut, encode_only)
    if not encode_only:
        find_backend(backend).validate(settings, None)


def index(
    stored: StoredDocuments,
    embeddings: EmbeddingStore | None,
    settings: VectorSettings | None = None,
    *,
    name: str | None = None,
    backend: str = "faiss",
) -> IndexManifest:
    """The third call of building: index the vectors of the documents' embeddings, and write the manifest.

    The index is the folder of the documents, and takes its name unless `name` is given. Embeddings that lie elsewhere
    are copied into it; without any the index is lexical only.

    Raises:
        InvalidError: the backend has no such type, or the embeddings are of another corpus.
        DamagedError: a shard is damaged.

    Examples:
        >>> from debater_search.indexing import EncodingSettings, encode, index, store_documents
        >>> stored = store_documents("notes.jsonl", "indexes/three-calls")
        >>> with stored.opened() as documents:
        ...     encoded = encode(documents, encoder, "indexes/three-calls/embeddings", stored.corpus)
        >>> index(stored, encoded.store).corpus.documents
        3
    """
    folder = stored.path.parent
    record = None
    if embeddings is not None:
        require_same_corpus(embeddings, stored.corpus, stored.rows)
        if not _is_at(embeddings, folder / EMBEDDINGS_NAME):
            embeddings = embeddings.copy_to(folder / EMBEDDINGS_NAME)
        record = build_vectors(folder, embeddings, settings or VectorSettings(), backend_name=backend)
    passages = embeddings.manifest.passages if embeddings is not None else None
    manifest = IndexManifest(
        name=called(name if name is not None else folder.name),
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        encoder=embeddings.manifest.encoder if embeddings is not None else None,
        corpus=stored.corpus,
        content=stored.content,
        language=stored.language,
        vectors=record,
        passages=None if passages is None else Passages(**passages.model_dump(), count=stored.rows),
        warnings=[*stored.warnings, *(record.warnings if record is not None else ())],
        files={},
    )
    write_manifest(folder / MANIFEST_NAME, manifest)
    return manifest


def _is_at(store: EmbeddingStore, folder: Path) -> bool:
    return isinstance(store.place, Folder) and store.place.path.resolve() == folder.resolve()


def passage_settings(tokens: int | None, overlap: int, all_steps: bool, *, lexical: bool) -> PassageSettings | None:
    """How documents are cut; None if they are not. Raises InvalidError for what cannot be."""
    if tokens is None:
        return None
    if tokens < 1 or overlap < 0:
        raise InvalidError(
            f"There are no passages of {tokens} tokens with {overlap} in common.",
            "Use `passages` of 1 or more and an `overlap` of 0 or more, such as 256 and 32.",
        )
    if lexical:
        raise InvalidError("Passages are counted in a model's tokens, and there is no model.", "Give an `encoder`.")
    if all_steps:
        raise InvalidError("Passages are stored by their last thinking step only.", "Leave `all_steps` out.")
    return PassageSettings(tokens=tokens, overlap=overlap)


def _settings_of(ready: EmbeddingStore) -> EncodingSettings:
    """The settings that ready shards were made with."""
    made = ready.manifest
    return EncodingSettings(made.dtype, bool(made.thinking_steps), made.shards[0].rows, made.passages)


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the seconds that the block takes to those of a stage."""
    start = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
