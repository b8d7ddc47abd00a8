"""Scores of single thinking steps, alone and combined, and cosines between them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from debater_search.data.runs import DEPTH
from debater_search.evaluation.beir import scored_split
from debater_search.evaluation.evaluate import choose_instruction, judged_queries, without_identical_ids
from debater_search.evaluation.exact import Read, live_blocks, search_blocks
from debater_search.evaluation.kept import query_vectors
from debater_search.evaluation.metrics import score_run
from debater_search.evaluation.tasks import RetrievalTask, load_task
from debater_search.search import SearchEngine
from debater_search.types import Run

if TYPE_CHECKING:
    from debater_search.store.embeddings import EmbeddingStore


def evaluate_steps(
    task: RetrievalTask | str | Path, engine: SearchEngine, *, split: str | None = None, instruction: str | None = None
) -> list[dict[str, float]]:
    """The metrics of each thinking step alone, first to last, by exact search over an index built with `all_steps`.

    Raises DebaterError if the index holds only the last step.

    Examples:
        >>> from debater_search.evaluation import evaluate_steps, load_task, opened
        >>> with opened(load_task("task"), encoder, all_steps=True) as (engine, _):
        ...     len(evaluate_steps("task", engine))
        8
    """
    task = task if not isinstance(task, str | Path) else load_task(task)
    split = split or scored_split(task.name)
    qrels = task.qrels(split)
    queries = judged_queries(task, split, qrels)
    encoder = engine.encoder
    vectors = query_vectors(queries, encoder, choose_instruction(task, encoder, instruction))
    runs = search_steps([query.id for query in queries], vectors, engine.store, live=engine.live)
    if task.ignore_identical_ids:
        runs = [without_identical_ids(run) for run in runs]
    return [score_run(run, qrels).metrics for run in runs]


def search_steps(
    query_ids: Sequence[str],
    queries: np.ndarray,
    store: "EmbeddingStore",
    k: int = DEPTH,
    *,
    live: np.ndarray | None = None,
    together: bool = False,
    show: bool = False,
) -> list[Run]:
    """The best k documents per query [q, dim] by each thinking step's cosine: one run per step.

    `together` adds two runs: by a document's best step, and by the mean over its steps. `live` are the positions,
    int64 in ascending order, whose documents are not deleted; None for all. `show` shows a progress line.

    Examples:
        >>> from debater_search.evaluation import load_task, opened, search_steps
        >>> with opened(load_task("task"), encoder, all_steps=True) as (engine, _):
        ...     runs = search_steps(["q1"], encoder.encode_queries("what carries an aircraft?"), engine.store)
        >>> [next(iter(run["q1"])) for run in runs][-1]
        'wings'
    """
    blocks = live_blocks(store, live, steps=True, show=show)
    return search_blocks(query_ids, store.ids(), blocks, step_scores(queries, together=together), k)


def step_scores(queries: np.ndarray, *, together: bool = False) -> Read:
    """How `search_blocks` scores documents by each thinking step; `together` is that of `search_steps`."""

    def read(steps: np.ndarray) -> Iterator[np.ndarray]:  # [rows, steps, dim]
        best = total = queries @ steps[:, 0].T
        yield best
        for step in range(1, steps.shape[1]):
            scores = queries @ steps[:, step].T
            yield scores
            best, total = np.maximum(best, scores), total + scores
        if together:
            yield best
            yield total / steps.shape[1]

    return read


def step_cosines(store: "EmbeddingStore", *, live: np.ndarray | None = None) -> np.ndarray:
    """Cosines between the thinking steps of a document, averaged over the `live` documents: float64 [steps, steps].

    Raises DebaterError if the store holds only the last step.

    Examples:
        >>> from debater_search.evaluation import load_task, opened, step_cosines
        >>> with opened(load_task("task"), encoder, all_steps=True) as (engine, _):
        ...     step_cosines(engine.store).shape
        (8, 8)
    """
    total, documents = np.float64(0), 0
    for rows, block in live_blocks(store, live, steps=True):  # [rows, steps, dim], each vector of length 1
        total = total + np.einsum("nid,njd->ij", block, block, dtype=np.float64, optimize=True)
        documents += len(rows)
    return np.asarray(total) / documents


def cosines_to_last(store: "EmbeddingStore", *, live: np.ndarray | None = None) -> np.ndarray:
    """Cosine of each thinking step to the last one, per `live` document: float32 [documents, steps].

    Raises DebaterError if the store holds only the last step.
    """
    blocks = live_blocks(store, live, steps=True)
    return np.concatenate([np.einsum("nsd,nd->ns", block, block[:, -1]) for _, block in blocks])
