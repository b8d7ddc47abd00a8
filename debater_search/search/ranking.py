"""One request on one state of an index: candidates, reordered, and cut to k."""

from dataclasses import dataclass, replace

from debater_search.search import candidates
from debater_search.search.candidates import FUSION_DEPTH, Queries, Ranking, convex_combination
from debater_search.search.reorder import Reorder
from debater_search.search.reorder.rerank import Rerank, depth_for
from debater_search.search.reorder.steps import RESCORE_DEPTH, ThinkingSteps
from debater_search.search.request import Request
from debater_search.search.restrictions import Restriction
from debater_search.search.snapshot import Snapshot
from debater_search.store.facets import require_countable
from debater_search.vectors import Selection

FACET_DEPTH = 1000
"""Documents, the best ones, among which facets are counted."""


@dataclass(frozen=True)
class Rankings:
    """The best (position, score) of a query, and the longer rankings that they come from; None for one not made.

    `counted` are the best documents among which facets are counted.
    """

    best: Ranking
    dense: Ranking | None
    lexical: Ranking | None
    counted: Ranking
    reranked: Ranking | None = None
    """The candidates that a reranker read, in its order."""


class Ranker:
    """Ranks documents of a snapshot as a request says.

    Raises:
        InvalidError: the filter is wrong, or the index has no embeddings to rescore by.
        MissingError: no document has a field that the filter or the facets name.
        DebaterError: the index has no thinking steps to rescore by.

    """

    def __init__(self, snapshot: Snapshot, request: Request) -> None:
        self.snapshot, self.request = snapshot, request
        self.k = min(request.k, snapshot.manifest.corpus.documents)
        if request.facets:
            require_countable(snapshot.documents, request.facets)
        self.restriction: Restriction | None = None if request.where is None else snapshot.restriction(request.where)
        self.reorder: list[Reorder] = []
        if request.rescore is not None:
            snapshot.require_steps()
            self.reorder.append(ThinkingSteps(snapshot.store, request.rescore, max(self.k, RESCORE_DEPTH)))
        self.rerank: Rerank | None = None
        if request.rerank is not None:
            self.rerank = Rerank(request.rerank, snapshot, depth_for(request.rerank, request.rerank_depth))

    @property
    def within(self) -> Selection | None:
        """The documents that the filter allows, None without one."""
        return None if self.restriction is None else self.restriction.selection

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said about the request."""
        return () if self.restriction is None else self.restriction.notes

    def rank(self, queries: Queries) -> list[Rankings]:
        """Rank documents for each query: the k best, or as many as the reranker reads.

        Raises:
            DebaterError: a file of the index cannot be read.

        """
        k = self.k if self.rerank is None else max(self.k, self.rerank.depth)
        counted = max(k, FACET_DEPTH) if self.request.facets else k
        if self.request.mode == "lexical":
            return [Rankings(found[:k], None, found, found) for found in self.lexical(queries, counted)]
        if self.request.mode == "dense":
            return [Rankings(found[:k], found, None, found[:counted]) for found in self.dense(queries, counted)]
        depth = max(counted, FUSION_DEPTH)  # also if few hits are wanted, so that k does not change the order
        pairs = list(zip(self.dense(queries, depth), self.lexical(queries, depth), strict=True))
        fused = [convex_combination(*pair, counted, weights=self.request.weights) for pair in pairs]
        return [Rankings(found[:k], *pair, found) for found, pair in zip(fused, pairs, strict=True)]

    def reranked(self, queries: Queries, rankings: list[Rankings]) -> list[Rankings]:
        """The rankings in the order of the reranker, cut to k.

        Raises:
            DebaterError: a document cannot be read or scored.

        """
        assert self.rerank is not None
        found = self.rerank([ranking.best for ranking in rankings], queries)
        return [
            replace(ranking, best=best[: self.k], reranked=best[: self.rerank.depth])
            for ranking, best in zip(rankings, found, strict=True)
        ]

    def dense(self, queries: Queries, depth: int) -> list[Ranking]:
        """The nearest documents by vectors, reordered; at least `depth` for each query, if there are so many."""
        assert queries.vectors is not None
        depth = max([depth, *(step.depth for step in self.reorder)])
        rankings = candidates.dense(
            self.snapshot.vectors, queries.vectors, queries.depth_for(depth), self.within, exact=self.request.exact
        )
        rankings = queries.without_excluded(rankings, depth)
        for step in self.reorder:
            rankings = step(rankings, queries)
        return rankings

    def lexical(self, queries: Queries, depth: int) -> list[Ranking]:
        """The `depth` best documents by words for each query."""
        assert queries.texts is not None
        rankings = candidates.lexical(self.snapshot.documents, queries.texts, queries.depth_for(depth), self.within)
        return queries.without_excluded(rankings, depth)
