"""The score by length of texts, and by the weights of dense and lexical search."""

import numpy as np

from debater_search.evaluation.analyses.subject import METRIC, SCORE, Finding, Subject
from debater_search.evaluation.metrics import bootstrap
from debater_search.search.candidates import FUSION_DEPTH, convex_combination, dense, lexical

_BINS = 5
_LEAST_IN_A_BIN = 10  # queries

Bin = tuple[float, float, int, float, float, float]
"""Shortest and longest in words; number of queries; the columns SCORE."""


def lengths(subject: Subject) -> Finding:
    """The result's score by the length of queries and of their relevant documents."""
    values = {query_id: scores[METRIC] for query_id, scores in subject.result.per_query.items()}
    lengths_of = {
        "queries": {query.id: float(len(query.text.split())) for query in subject.queries},
        "relevant documents": _of_relevant(subject),
    }
    rows: list[tuple[str, *Bin]] = []
    for kind, found in lengths_of.items():
        known = sorted(found.keys() & values.keys())
        bins = _bins(np.array([found[id] for id in known]), np.array([values[id] for id in known]))
        rows += [(kind, *row) for row in bins]
    kinds = dict.fromkeys(row[0] for row in rows)  # only queries if no relevant document is in the corpus
    note = f"nDCG@10: {'; '.join(_ends(kind, [row for row in rows if row[0] == kind]) for kind in kinds)}."
    return Finding("nDCG@10 by length", note, ("of", "shortest", "longest", "queries", *SCORE), rows)


def _ends(kind: str, rows: list[tuple[str, *Bin]]) -> str:
    first, last = rows[0], rows[-1]
    return (
        f"{first[4]:.3f} for {kind} of {first[1]:g} to {first[2]:g} words, "
        f"{last[4]:.3f} for {last[1]:g} to {last[2]:g} words"
    )


def _of_relevant(subject: Subject) -> dict[str, float]:
    """The median length in words of each query's relevant documents that are in the corpus."""
    relevant = {
        query_id: [document_id for document_id, gain in gains.items() if gain > 0]
        for query_id, gains in subject.qrels.items()
    }
    documents = subject.engine.documents
    positions = documents.positions(sorted({id for ids in relevant.values() for id in ids}))
    words = {document.id: len(document.content.split()) for document in documents.read(list(positions.values()))}
    there = {query_id: [words[id] for id in ids if id in words] for query_id, ids in relevant.items()}
    return {query_id: float(np.median(found)) for query_id, found in there.items() if found}


def _bins(lengths: np.ndarray, values: np.ndarray) -> list[Bin]:
    """Groups of about equal size, from short to long; equal lengths are in the same group."""
    if not len(lengths):
        return []
    wanted = min(_BINS, max(1, len(lengths) // _LEAST_IN_A_BIN))
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, wanted + 1)))
    bins = np.searchsorted(edges[1:-1], lengths, side="right")
    rows: list[Bin] = []
    for number in np.unique(bins):
        inside, found = lengths[bins == number], values[bins == number]
        low, high = bootstrap(found[:, None])
        rows.append(
            (float(inside.min()), float(inside.max()), len(found), float(found.mean()), float(low[0]), float(high[0]))
        )
    return rows


def weights(subject: Subject) -> Finding:
    """The score of hybrid search by the weight of dense search; lexical search has the rest."""
    engine = subject.engine
    by_meaning = dense(engine.vectors, subject.vectors, FUSION_DEPTH)
    by_words = lexical(engine.documents, [query.text for query in subject.queries], FUSION_DEPTH)
    positions = sorted({position for rankings in (by_meaning, by_words) for found in rankings for position, _ in found})
    ids = dict(zip(positions, engine.documents.ids(positions), strict=True))
    rows = []
    for tenths in range(11):
        pair = (tenths / 10, 1 - tenths / 10)
        run = {}
        for query, rankings in zip(subject.queries, zip(by_meaning, by_words, strict=True), strict=True):
            alone = [ranking for ranking, weight in zip(rankings, pair, strict=True) if weight == 1]
            fused = alone[0] if alone else convex_combination(*rankings, FUSION_DEPTH, weights=pair)
            run[query.id] = {ids[position]: score for position, score in fused}
        rows.append((pair[0], *subject.score(run)))
    best = max(rows, key=lambda row: row[1])
    note = (
        f"Lexical search scores {rows[0][1]:.3f}, dense search {rows[-1][1]:.3f}; hybrid search is best with a dense "
        f"weight of {best[0]:g}: {best[1]:.3f}, chosen and measured on the same queries."
    )
    return Finding("nDCG@10 of hybrid search by dense weight", note, ("dense_weight", *SCORE), rows)
