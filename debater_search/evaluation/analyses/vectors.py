"""The same vectors with fewer dimensions, and in other index types."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from debater_search.evaluation.analyses.subject import DEPTH, SCORE, Finding, Subject
from debater_search.evaluation.exact import live_blocks, search_blocks
from debater_search.progress import progress
from debater_search.vectors import VectorIndex, VectorSettings, backend
from debater_search.vectors.faiss import TYPES

_SMALLEST = 32  # dimensions
_RECALL = 0.95  # approximate types are tuned to it, as when an index is built
_HITS = 10
_EQUAL = 1e-5  # scores that differ by less may be equal, summed in another order
_WARM_UP, _TIMED = 20, 200  # queries


def dimensions(subject: Subject) -> Finding:
    """The scores of the first 32, 64, 128, … dimensions, normalised again."""
    engine, queries = subject.engine, subject.vectors
    full = queries.shape[1]
    sizes = [*(2**power for power in range(5, 20) if 2**power < full), full]

    def read(vectors: np.ndarray) -> Iterator[np.ndarray]:
        for size in sizes:
            yield _cut(queries, size) @ _cut(vectors, size).T

    ids = [query.id for query in subject.queries]
    blocks = live_blocks(engine.store, engine.live, show=subject.progress)
    runs = search_blocks(ids, engine.store.ids(), blocks, read, DEPTH)
    rows = [(size, *subject.score(run)) for size, run in zip(sizes, runs, strict=True)]
    whole = rows[-1][1]
    shares = [f"{size} keep {score / whole:.0%}" for size, score, *_ in rows[:-1]] if whole else []
    kept = f"; of that, the first {', '.join(shares)}" if shares else ""
    note = f"All {full} dimensions score {whole:.3f}{kept}."
    return Finding("nDCG@10 by the number of dimensions kept", note, ("dimensions", *SCORE), rows)


def indexes(subject: Subject) -> Finding:
    """Recall, search time and memory of each index type, relative to exact search."""
    engine, queries = subject.engine, subject.vectors
    faiss, count = backend("faiss"), len(engine.documents)
    rows: list[tuple[str, float, float, int, int]] = []
    with (
        tempfile.TemporaryDirectory(prefix="debater-eval-") as folder,
        progress("Index types", len(TYPES), "types", enabled=subject.progress) as bar,
    ):
        exact = np.empty(0)  # each query's lowest score among its exact best
        for type in TYPES:  # flat comes first
            place = Path(folder) / type
            place.mkdir()
            chunks = (vectors for _, vectors in live_blocks(engine.store, engine.live))
            record = faiss.build(place, chunks, queries.shape[1], VectorSettings(type, recall=_RECALL), 0)
            index = faiss.open(place, record)
            scores, _ = index.search(queries, _HITS)
            exact = exact if len(exact) else scores[:, -1]
            recall = float((scores >= exact[:, None] - _EQUAL).mean())
            size = sum(info.bytes for info in record.files.values())
            # vectors behind codes stay on disk, mapped: a search touches only those of its candidates
            memory = size - (4 * count * queries.shape[1] if "k_factor" in record.state["parameters"] else 0)
            rows.append((type, recall, _median_ms(index, queries), memory, size))
            bar.advance(facts=type)
    by_speed = min(rows, key=lambda row: row[2])
    smallest = min(rows, key=lambda row: row[3])
    note = (
        f"Exact search over {count:,} documents takes {rows[0][2]:.3f} ms per query and {rows[0][3] / 1e6:.2f} MB. "
        f"The fastest type is {by_speed[0]} ({by_speed[2]:.3f} ms, recall@10 {by_speed[1]:.3f}), the smallest "
        f"{smallest[0]} ({smallest[3] / 1e6:.2f} MB, recall@10 {smallest[1]:.3f})."
    )
    columns = ("type", "recall@10", "ms_per_query_p50", "memory_bytes", "file_bytes")
    return Finding("Recall, search time and memory of index types", note, columns, rows)


def _cut(vectors: np.ndarray, size: int) -> np.ndarray:
    cut = vectors[:, :size]
    return cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _median_ms(index: VectorIndex, queries: np.ndarray) -> float:
    """Median milliseconds of a single query, after some that warm up the caches."""
    alone = [queries[[number % len(queries)]] for number in range(_WARM_UP + _TIMED)]
    seconds = []
    for query in alone:
        start = time.perf_counter()
        index.search(query, _HITS)
        seconds.append(time.perf_counter() - start)
    return float(1000 * np.median(seconds[_WARM_UP:]))
