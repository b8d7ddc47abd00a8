"""How a model thinks: what each thinking step would score alone, and how alike the steps are."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from debater_search.evaluation.beir import scored_split
from debater_search.evaluation.evaluate import (
    choose_instruction,
    judged_queries,
    without_identical_ids,
)
from debater_search.evaluation.kept import query_vectors
from debater_search.evaluation.metrics import score_run
from debater_search.evaluation.results import DEPTH
from debater_search.evaluation.tasks import RetrievalTask, load_task
from debater_search.search import SearchEngine
from debater_search.types import Run

if TYPE_CHECKING:
    from debater_search.store.embeddings import EmbeddingStore


Ranked = tuple[np.ndarray, np.ndarray]
"""Scores and positions of documents, both [queries, ≤ k], best first."""


def evaluate_steps(
    task: RetrievalTask | str | Path, engine: SearchEngine, *, split: str | None = None, instruction: str | None = None
) -> list[dict[str, float]]:
    """The metrics of every thinking step alone, first to last, by exact search over an index made with `all_steps`.

    Raises DebaterError if the index holds the last step only.
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
    query_ids: list[str],
    queries: np.ndarray,
    store: "EmbeddingStore",
    k: int = DEPTH,
    *,
    live: np.ndarray | None = None,
) -> list[Run]:
    """The best k documents of every query [q, dim] by each thinking step's cosine: one run for each step.

    Only the `live` positions of the store, int64 in order, where given: the others' documents were deleted.
    """
    ids = np.array(store.ids(), dtype=object)
    best: list[Ranked] = []  # of each step
    start = 0
    for block in store.steps():  # [rows, steps, dim]
        rows = np.arange(start, start + len(block))
        start += len(block)
        if live is not None:
            rows, block = rows[kept := np.isin(rows, live)], block[kept]
        positions = np.broadcast_to(rows, (len(queries), len(block)))
        best = best or [(np.empty((len(queries), 0)), np.empty((len(queries), 0), dtype=int))] * block.shape[1]
        best = [_best(known, queries @ block[:, step].T, positions, k) for step, known in enumerate(best)]
    return [
        {
            query_id: dict(zip(ids[positions[row]], scores[row].tolist(), strict=True))
            for row, query_id in enumerate(query_ids)
        }
        for scores, positions in best
    ]


def _best(known: Ranked, scores: np.ndarray, positions: np.ndarray, k: int) -> Ranked:
    """The best k of what is known and what is new, best first."""
    scores, positions = np.hstack([known[0], scores]), np.hstack([known[1], positions])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(positions, order, axis=1)


def step_cosines(store: "EmbeddingStore") -> np.ndarray:
    """Cosine between the thinking steps of a document, averaged over the documents: float64 [steps, steps].

    Raises DebaterError if the store holds the last step only.
    """
    blocks = 0.0
    for block in store.steps():  # [rows, steps, dim], each vector of length 1
        blocks = blocks + np.einsum("nid,njd->ij", block, block, dtype=np.float64, optimize=True)
    return np.asarray(blocks) / len(store)
