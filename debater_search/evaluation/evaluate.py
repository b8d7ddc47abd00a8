"""Evaluate a model or an index on a task: retrieve for every judged query, score, save."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from reprlib import repr as short
from typing import Any

import debater_search
from debater_search.data.runs import DEPTH
from debater_search.encoder.protocol import (
    PairScorer,
    TextEncoder,
    can_encode,
    instruction_of,
    require_scorer,
    trained_with_instructions,
)
from debater_search.errors import InvalidError
from debater_search.evaluation.beir import builtin_instruction, scored_split
from debater_search.evaluation.hub_tasks import MtebTask
from debater_search.evaluation.judged import JudgedIndex
from debater_search.evaluation.kept import query_vectors
from debater_search.evaluation.metrics import recall_at
from debater_search.evaluation.opening import opened
from debater_search.evaluation.provenance import digest, fusion_of
from debater_search.evaluation.reranking import reranker_of, reranking
from debater_search.evaluation.results import Result, scored
from debater_search.evaluation.task_cache import uncached
from debater_search.evaluation.tasks import RetrievalTask, load_task
from debater_search.search import Mode, SearchEngine
from debater_search.search.reorder.rerank import depth_for
from debater_search.search.request import require_mode, require_rerank_depth, system_name
from debater_search.store.corpus import corpus_fingerprint
from debater_search.types import Qrels, Query, Run
from debater_search.vectors import VectorSettings, backend

logger = logging.getLogger(__name__)


def evaluate(
    task: RetrievalTask | str | Path,
    model_or_engine: TextEncoder | SearchEngine | str | Path | None,
    *,
    split: str | None = None,
    mode: Mode = "dense",
    instruction: str | None = None,
    index_type: str = "flat",
    index_folder: str | Path | None = None,
    rerank: PairScorer | None = None,
    rerank_depth: int | None = None,
    output: str | Path | None = None,
    progress: bool = False,
) -> Result:
    """Score a model on a task: index its corpus, retrieve the best 1,000 documents for every judged query, measure.

    `model_or_engine` is an encoder, anything that `Encoder.load` takes, an open index of the task's corpus, or, for
    BM25, None with mode "lexical". `split` is by default test, for MSMARCO dev. The index is written to
    `index_folder`, or is temporary; embeddings are cached for later evaluations. `instruction` precedes the queries
    ("" for none); the default is the task's own, else, for models trained with instructions, the paper's for this
    task, else the model's. With `rerank`, a `Reranker` reorders the first `rerank_depth` documents of each query; its
    scores are cached. With `output` the result is saved there.

    Raises DebaterError for a task, split or model that does not exist, and if no query of the task can be scored.

    Examples:
        >>> from debater_search.evaluation import evaluate
        >>> result = evaluate("task", encoder)
        >>> result.metrics["ndcg@10"]
        1.0
        >>> evaluate("task", None, mode="lexical").model
        'bm25'
    """
    _require_arguments(task, model_or_engine)
    require_mode(mode)
    require_scorer(rerank)
    require_rerank_depth(rerank_depth, reranks=rerank is not None)
    backend("faiss").validate(VectorSettings(index_type), None)
    task = task if not isinstance(task, str | Path) else load_task(task)
    if model_or_engine is None and mode != "lexical" and not isinstance(uncached(task), JudgedIndex):
        raise InvalidError("There is no model to evaluate.", 'Name a model, or evaluate BM25 with `mode="lexical"`.')
    split = split or scored_split(task.name)
    qrels = task.qrels(split)
    queries = judged_queries(task, split, qrels)
    if mode == "lexical" and not isinstance(model_or_engine, SearchEngine):
        model_or_engine = None  # BM25 needs no embeddings
    with opened(
        task,
        model_or_engine,
        split=split,
        index_type=index_type,
        index_folder=index_folder,
        progress=progress,
    ) as (engine, timings):
        missing = _count_missing(qrels, engine)
        encoder = None if mode == "lexical" else engine.encoder
        instruction = choose_instruction(task, encoder, instruction)
        if before := used_instruction(encoder, instruction):
            logger.info("Instruction before the queries of %s: %s", task.name, before)
        start = time.perf_counter()
        vectors = None if encoder is None else query_vectors(queries, encoder, instruction)
        with reranking(rerank, rerank_depth, len(queries), show=progress) as options:
            run = engine.search_batch(queries, DEPTH, mode=mode, vectors=vectors, **options)
        timings["search"] = time.perf_counter() - start
        ceiling: dict[str, float] = {}
        if rerank is not None:  # of what was read, the query's own document included
            depth = depth_for(rerank, rerank_depth)
            ceiling[f"recall@{depth}"] = recall_at(depth, run, qrels)
        if task.ignore_identical_ids:
            run = without_identical_ids(run)
        result = scored(
            task.name,
            model_name(encoder, mode, rerank),
            run,
            qrels,
            timings=timings,
            sizes=_sizes(engine),
            counts={"documents_missing": missing},
            provenance={
                "debater": debater_search.__version__,
                "fingerprint": encoder.fingerprint if encoder is not None else None,
                "corpus": engine.manifest.corpus.fingerprint,
                "queries": _digest_of(queries),
                "documents": engine.manifest.corpus.documents,
                "index_type": engine.manifest.vectors.type if engine.manifest.vectors else None,
                "split": split,
                "source": getattr(task, "source", None),
                "mode": mode,
                "instruction": before,
                "depth": DEPTH,
                **fusion_of(mode),
                **reranker_of(rerank, rerank_depth),
            },
            texts={query.id: query.text for query in queries},
        )
        if ceiling:
            result = replace(result, ceiling=ceiling)
    if output is not None:
        result.save(output)
    return result


def _require_arguments(task: Any, model_or_engine: Any) -> None:
    """Raise InvalidError for what is no task, and for what is no model."""
    if not isinstance(task, str | Path) and not all(hasattr(task, name) for name in ("name", "queries", "qrels")):
        raise InvalidError(
            f"`task` is {short(task)}, not a task.", "Give a folder, a name, or what `load_task` returns."
        )
    known = model_or_engine is None or isinstance(model_or_engine, str | Path | SearchEngine)
    if not known and not can_encode(model_or_engine):
        raise InvalidError(
            f"`model_or_engine` is {short(model_or_engine)}, not a model.",
            "Give an encoder, the name of a model, or an index opened by `SearchEngine.open`.",
        )


def judged_queries(task: RetrievalTask, split: str, qrels: Qrels) -> list[Query]:
    """The task's judged queries; raises DebaterError if there are none.

    Examples:
        >>> from debater_search.evaluation import judged_queries, load_task
        >>> task = load_task("task")
        >>> [query.id for query in judged_queries(task, "test", task.qrels("test"))]
        ['q1', 'q2']
    """
    queries = [query for query in task.queries(split) if query.id in qrels]
    if not queries:
        raise InvalidError(
            f"The judgements of {task.name} ({split}) name none of its queries.", "Do the two belong together?"
        )
    if len(queries) < len(qrels):
        logger.warning(
            "Judged queries of %s without a text: %d. They score 0.",
            task.name,
            len(qrels) - len(queries),
        )
    return queries


def data_of(task: RetrievalTask, split: str) -> dict[str, Any]:
    """The part of a result's provenance that identifies its data: a result made on other data differs in it.

    Examples:
        >>> from debater_search.evaluation import data_of, load_task
        >>> sorted(data_of(load_task("task"), "test"))
        ['corpus', 'judgements', 'queries']
    """
    if isinstance(source := uncached(task), MtebTask):
        return {"source": source.source}  # it names the revision: nothing has to be loaded
    qrels = task.qrels(split)
    return {
        "corpus": corpus_fingerprint(task.corpus(split)),
        "queries": _digest_of(judged_queries(task, split, qrels)),
        "judgements": digest(qrels),
    }


def _digest_of(queries: Sequence[Query]) -> str:
    return digest([[query.id, query.text] for query in queries])


def choose_instruction(task: RetrievalTask, encoder: TextEncoder | None, given: str | None) -> str | None:
    """The instruction before the queries: the given one, else the task's, else the paper's, else the model's.

    None stands for the model's default. The paper's instructions are for the tasks it reports, and only for models
    trained with instructions: a model's own default is made for search in general.

    Examples:
        >>> from debater_search.evaluation import choose_instruction, load_task
        >>> choose_instruction(load_task("task"), encoder, "Find the answer:")
        'Find the answer:'
    """
    if given is not None:
        return given
    return task.instruction if task.instruction is not None else papers_instruction(task.name, encoder)


def used_instruction(encoder: TextEncoder | None, chosen: str | None) -> str | None:
    """The instruction that a choice puts before the queries; None only for BM25, which reads none."""
    return instruction_of(encoder) if chosen is None and encoder is not None else chosen


def papers_instruction(task: str, encoder: TextEncoder | None) -> str | None:
    """The paper's instruction for a task, for models trained with instructions; None for other tasks and models."""
    return builtin_instruction(task) if encoder is not None and trained_with_instructions(encoder) else None


def without_identical_ids(run: Run) -> Run:
    """The run without documents that have their query's id."""
    return {
        query_id: {document_id: score for document_id, score in documents.items() if document_id != query_id}
        for query_id, documents in run.items()
    }


def _count_missing(qrels: Qrels, engine: SearchEngine) -> int:
    """The number of judged documents that are not in the corpus; logs a warning if there are any."""
    judged = {document_id for gains in qrels.values() for document_id in gains}
    unknown = len(judged) - len(engine.documents.positions(sorted(judged)))
    if unknown:
        logger.warning("Judged documents missing in the corpus: %s of %s.", f"{unknown:,}", f"{len(judged):,}")
    return unknown


def _sizes(engine: SearchEngine) -> dict[str, int]:
    """Bytes on disk per part of an index."""
    manifest = engine.manifest
    sizes = {"documents": (engine.folder / manifest.documents).stat().st_size}
    if manifest.vectors is not None:
        sizes["embeddings"] = sum(
            file.stat().st_size for name in manifest.embeddings for file in (engine.folder / name).glob("*.parquet")
        )
        sizes["index"] = sum(info.bytes for info in manifest.vectors.files.values())
    return sizes


def model_name(encoder: TextEncoder | None, mode: Mode, rerank: PairScorer | None = None) -> str:
    """The name of a model in results, with its search mode and its reranker.

    Examples:
        >>> from debater_search.evaluation import model_name
        >>> model_name(encoder, "hybrid")
        'debater-small + bm25'
    """
    model, reranker = encoder.name if encoder is not None else None, rerank.name if rerank is not None else None
    return system_name(model, mode, reranker)
