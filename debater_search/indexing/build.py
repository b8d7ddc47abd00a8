"""Build an index: read the corpus, encode it, add the vectors, commit."""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from debater_search.coerce import as_documents
from debater_search.errors import DebaterError
from debater_search.files import atomic
from debater_search.indexing.encode import choose_batch_tokens, encode_shards
from debater_search.indexing.model import load_again
from debater_search.indexing.output import check_output, claim, workplace
from debater_search.indexing.passages import Splitter
from debater_search.indexing.ready import open_ready, require_same_corpus
from debater_search.indexing.shards import SHARD_SIZE, Shards
from debater_search.store.documents import DocumentStore, write_documents
from debater_search.store.embeddings import EmbeddingStore, EmbeddingWriter
from debater_search.store.manifest import (
    DOCUMENTS_NAME,
    EMBEDDINGS_NAME,
    JOB_NAME,
    MANIFEST_NAME,
    VECTORS_FILE,
    CorpusInfo,
    DType,
    EncoderInfo,
    EncodingJob,
    FileInfo,
    IndexManifest,
    Passages,
    PassageSettings,
    VectorSearch,
    write_manifest,
)
from debater_search.store.passages import Split
from debater_search.types import Document

if TYPE_CHECKING:
    from debater_search.encoder import Encoder

logger = logging.getLogger(__name__)


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


def build(
    corpus: str | Path | Iterable[Document],
    encoder: "Encoder | None",
    folder: str | Path,
    *,
    type: str = "auto",
    memory: int | None = None,
    recall: float = 0.95,
    all_steps: bool = False,
    shard_size: int = SHARD_SIZE,
    dtype: DType = "float32",
    passages: int | None = None,
    overlap: int = 32,
    encode_only: bool = False,
    embeddings: str | Path | None = None,
    workers: int = 1,
    force: bool = False,
    progress: bool = False,
) -> BuildResult:
    """Build the index of a corpus in `folder`; killed and called again with the same arguments, it goes on.

    Without an encoder the index is lexical only (BM25), unless `embeddings` names a folder of ready shards to build
    from. `type` is how vectors are searched: `auto`, a name of `vectors.TYPES`, or a FAISS factory string; `auto` keeps
    within `memory`, in bytes, and recall@10 is tuned to reach `recall`. `encode_only` stops when the shards are
    complete. `all_steps` stores every thinking step. `workers` processes encode, on the GPUs in turn if the encoder is
    on one; ids and vectors are the same however many. With `passages` documents are cut into passages that the model
    reads as that many tokens at most, title and its own included, with up to `overlap` tokens in common; a search
    still answers with documents, by the best passage of each. `force` replaces a finished index at the moment when the
    new one is complete.

    Raises:
        DebaterError: the corpus is bad or empty; the folder is taken; a setting has no such value; the embeddings
            are damaged or belong to another corpus or model; the model gives NaN.

    """
    folder = Path(folder).resolve()
    lexical = encoder is None and embeddings is None
    _check_settings(shard_size, workers, dtype, encode_only, lexical=lexical)
    settings = _passage_settings(passages, overlap, all_steps, lexical=lexical)
    check_output(folder, force=force, encode_only=encode_only)
    ready = open_ready(embeddings, encoder, all_steps, settings, encode_only) if embeddings is not None else None
    info = ready.manifest.encoder if ready else EncoderInfo.of(encoder) if encoder is not None else None
    settings = ready.manifest.passages if ready else settings
    split = None
    if settings is not None and info is not None:
        split = Splitter(encoder or load_again(info, Path(embeddings or folder), weights=False), settings)
    if info is not None and not encode_only:
        from debater_search.vectors import check_recall, check_type

        check_type(type, ready.manifest.dim if ready else info.dim)
        check_recall(recall)

    with workplace(folder, force=force, encode_only=encode_only) as place:
        result = BuildResult(folder, 0, info)

        with _timed(result, "read"), atomic(place / DOCUMENTS_NAME) as temporary:
            corpus_info, rows, result.warnings = _store_documents(corpus, temporary, split)
            result.documents = corpus_info.documents
            if ready:
                require_same_corpus(ready, corpus_info, rows)
            job = claim(place, _job(info, corpus_info, ready, dtype, all_steps, shard_size, settings), force=force)

        store = None
        with _timed(result, "encode"):
            if ready:
                store = ready.copy_to(place / EMBEDDINGS_NAME)
                result.reused = len(store)
            elif encoder is not None and info is not None and job is not None:
                steps = encoder.thinking_steps if all_steps else 0
                writer = EmbeddingWriter(place / EMBEDDINGS_NAME, info.dim, dtype=dtype, thinking_steps=steps)
                documents = DocumentStore(place / DOCUMENTS_NAME)
                positions = range(rows)
                if job.batch_tokens is None:
                    job.batch_tokens = choose_batch_tokens(documents, positions, encoder)
                    write_manifest(writer.folder / JOB_NAME, job)
                shards = Shards(documents, positions, writer, shard_size, job.batch_tokens)
                result.reused = encode_shards(shards, encoder, workers=workers, show=progress)
                documents.close()
                store = writer.finish(len(shards), info, corpus_info, settings)

        if not encode_only:
            with _timed(result, "index"):
                chosen, vectors = None, None
                if store is not None:
                    chosen, vectors, warnings = build_vectors(
                        store, place / VECTORS_FILE, type, memory=memory, recall=recall
                    )
                    result.warnings += warnings
                result.manifest = _commit(
                    place, folder.name, corpus_info, info, settings, rows, chosen, vectors, result.warnings
                )
    return result


def _check_settings(shard_size: int, workers: int, dtype: str, encode_only: bool, *, lexical: bool) -> None:
    if shard_size < 1:
        raise DebaterError(f"A shard cannot hold {shard_size} documents.", "Give a shard size of 1 or more.")
    if workers < 1:
        raise DebaterError(f"{workers} workers cannot encode.", "Take 1 or more.")
    if dtype not in get_args(DType):
        raise DebaterError(f"Embeddings cannot be stored as {dtype!r}.", f"Types: {', '.join(get_args(DType))}.")
    if encode_only and lexical:
        raise DebaterError("There is no model to encode with.", "Name one with --model.")


def _passage_settings(tokens: int | None, overlap: int, all_steps: bool, *, lexical: bool) -> PassageSettings | None:
    if tokens is None:
        return None
    if tokens < 1 or overlap < 0:
        raise DebaterError(
            f"There are no passages of {tokens} tokens with {overlap} in common.", "Try --passages 256 --overlap 32."
        )
    if lexical:
        raise DebaterError("Passages are counted in a model's tokens, and there is no model.", "Name one with --model.")
    if all_steps:
        raise DebaterError("Passages are stored by their last thinking step only.", "Leave --all-steps out.")
    return PassageSettings(tokens=tokens, overlap=overlap)


def _job(
    encoder: EncoderInfo | None,
    corpus: CorpusInfo,
    ready: EmbeddingStore | None,
    dtype: DType,
    all_steps: bool,
    shard_size: int,
    passages: PassageSettings | None,
) -> EncodingJob | None:
    if encoder is None:
        return None
    if ready:  # the shards are what they are
        dtype, all_steps = ready.manifest.dtype, bool(ready.manifest.thinking_steps)
        shard_size = ready.manifest.shards[0].rows
    return EncodingJob(
        encoder=encoder.fingerprint,
        corpus=corpus.fingerprint,
        dtype=dtype,
        all_steps=all_steps,
        shard_size=shard_size,
        passages=passages,
        int8=encoder.int8,
    )


def _store_documents(
    corpus: str | Path | Iterable[Document], path: Path, split: Split | None
) -> tuple[CorpusInfo, int, list[str]]:
    """Stream the corpus into SQLite; returns what it is, how many rows it has, and the reader's warnings by kind."""
    warnings: list[str] = []
    if isinstance(corpus, str | Path):
        from debater_search.data import read_corpus
        from debater_search.data.files import called

        source = called(corpus)
        logger.info("Reading %s.", source)
        reader = read_corpus(corpus)
        written = write_documents(path, reader, split)
        warnings = reader.warnings
        for warning in warnings:
            logger.warning(warning)
    else:
        source = "documents in memory"
        written = write_documents(path, as_documents(corpus, "corpus"), split)
    info = CorpusInfo(source=source, fingerprint=written.fingerprint, documents=written.documents)
    return info, written.rows, warnings


def build_vectors(
    store: EmbeddingStore, path: Path, type: str, *, memory: int | None = None, recall: float = 0.95
) -> tuple[str, VectorSearch, list[str]]:
    """Build the vector index of a store's embeddings, in a folder of its own.

    Returns its type, what the manifest keeps of it, and warnings.
    """
    from debater_search.vectors import build_index, gpu_count, make_plan

    dim = store.manifest.dim
    plan = make_plan(type, len(store), dim, memory=memory, recall=recall, gpus=gpu_count())
    if plan.type != type:
        logger.info("Vectors: %s.", plan.reason)
    path.parent.mkdir(exist_ok=True)
    with atomic(path) as temporary:
        built = build_index((shard.vectors for shard in store.shards()), dim, plan, temporary, recall=recall)
    warnings = []
    if not built.reached:
        warnings.append(
            f"A recall@10 of {recall:g} cannot be reached with {plan.factory}: it is {built.recall[10]:.3f} at most. "
            "Choose a more exact --type (sq8, ivf, hnsw, flat)."
        )
        logger.warning(warnings[0])
    info = VectorSearch(
        factory=plan.factory, reason=plan.reason, parameters=built.parameters, target=recall, recall=built.recall
    )
    return plan.type, info, warnings


def _commit(
    place: Path,
    name: str,
    corpus: CorpusInfo,
    encoder: EncoderInfo | None,
    passages: PassageSettings | None,
    rows: int,
    type: str | None,
    vectors: VectorSearch | None,
    warnings: list[str],
) -> IndexManifest:
    files = [DOCUMENTS_NAME] if encoder is None else [DOCUMENTS_NAME, VECTORS_FILE]
    manifest = IndexManifest(
        name=name,
        created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        encoder=encoder,
        corpus=corpus,
        type=type,
        vector_search=vectors,
        passages=None if passages is None else Passages(**passages.model_dump(), count=rows),
        warnings=warnings,
        files={file: FileInfo.of(place / file) for file in files},
    )
    write_manifest(place / MANIFEST_NAME, manifest)
    return manifest


@contextmanager
def _timed(result: BuildResult, stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    result.seconds[stage] = time.perf_counter() - start
