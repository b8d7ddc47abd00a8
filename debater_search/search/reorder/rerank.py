"""Scores by a model that reads query and text together: the best candidates in its order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from debater_search.encoder.protocol import PairScorer, device_of
from debater_search.search.candidates import Queries, Ranking
from debater_search.search.marks import QueryMarks
from debater_search.search.passages import BestPassages, nearest_passages
from debater_search.search.snapshot import Snapshot

DEPTH_ON_CPU, DEPTH = 20, 100
"""Candidates per query that are read by default, on a CPU and on a GPU: a CPU core takes about 0.1 s for each."""


@dataclass(frozen=True)
class Rerank:
    """Reorders the first `depth` candidates by the scores of a model; ties stay in their order.

    Candidates behind them keep their order, with scores 1 apart below the last of these: whoever sorts by score, as
    trec_eval does in float32, sees the same ranking.
    """

    scorer: PairScorer
    snapshot: Snapshot
    depth: int

    def __call__(self, rankings: list[Ranking], queries: Queries) -> list[Ranking]:
        """As `Reorder`."""
        return [self._reordered(ranking, queries, row) for row, ranking in enumerate(rankings)]

    def _reordered(self, ranking: Ranking, queries: Queries, row: int) -> Ranking:
        assert queries.texts is not None  # `Request` refuses vectors without texts
        positions = [position for position, _ in ranking[: self.depth]]
        if not positions:
            return []
        vector = None if queries.vectors is None else queries.vectors[row]
        texts = read_by(self.snapshot, queries.texts[row], vector, positions)
        scores = self.scorer.score(queries.texts[row], texts).tolist()
        head = sorted(zip(positions, scores, strict=True), key=lambda hit: -hit[1])
        behind = enumerate(ranking[self.depth :], start=1)
        return head + [(position, head[-1][1] - place) for place, (position, _) in behind]


def depth_for(scorer: PairScorer, depth: int | None) -> int:
    """Candidates per query that are read: `depth`, or the default of the scorer's device."""
    if depth is not None:
        return int(depth)
    return DEPTH_ON_CPU if device_of(scorer).startswith("cpu") else DEPTH


def read_by(snapshot: Snapshot, query: str, vector: np.ndarray | None, positions: Sequence[int]) -> list[str]:
    """What a model reads of the documents at these positions: all of them or, if they are cut, their best passages.

    The best passage is the nearest to the query's vector; without one, the passage with most of the query's terms.
    """
    documents = snapshot.documents
    if not documents.split:
        return [document.content for document in documents.read(positions)]
    if vector is not None and isinstance(snapshot.vectors, BestPassages):
        return [passage.content for passage in nearest_passages(snapshot.vectors, documents, vector, positions)]
    whole, marks = documents.read(positions), QueryMarks(query, documents.language)
    passages = [
        [span.of(document).content for span in spans]
        for document, spans in zip(whole, documents.spans(whole), strict=True)
    ]
    return [max(of_document, key=marks.different) for of_document in passages]
