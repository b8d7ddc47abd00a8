"""One request on one state of an index: candidates, reordered, and cut to k."""

from dataclasses import dataclass

from debater_search.search import candidates
from debater_search.search.candidates import FUSION_DEPTH, Queries, Ranking, convex_combination
from debater_search.search.reorder import Reorder
from debater_search.search.reorder.steps import RESCORE_DEPTH, ThinkingSteps
from debater_search.search.request import Request
from debater_search.search.restrictions import Restriction
from debater_search.search.snapshot import Snapshot
from debater_search.vectors import Selection


@dataclass(frozen=True)
class Rankings:
    """The k best (position, score) of a query, and the longer rankings that they come from; None for one not made."""

    best: Ranking
    dense: Ranking | None
    lexical: Ranking | None


class Ranker:
    """Ranks documents of a snapshot as a request says.

    Raises:
        InvalidError: the filter is wrong, or the index has no embeddings to rescore by.
        MissingError: no document has a field that the filter names.
        DebaterError: the index has no thinking steps to rescore by.

    """

    def __init__(self, snapshot: Snapshot, request: Request) -> None:
        self.snapshot, self.request = snapshot, request
        self.k = min(request.k, snapshot.manifest.corpus.documents)
        self.restriction: Restriction | None = None if request.where is None else snapshot.restriction(request.where)
        self.reorder: list[Reorder] = []
        if request.rescore is not None:
            snapshot.require_steps()
            self.reorder.append(ThinkingSteps(snapshot.store, request.rescore, max(self.k, RESCORE_DEPTH)))

    @property
    def within(self) -> Selection | None:
        """The documents that the filter allows, None without one."""
        return None if self.restriction is None else self.restriction.selection

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said about the request."""
        return () if self.restriction is None else self.restriction.notes

    def rank(self, queries: Queries) -> list[Rankings]:
        """Rank documents for each query.

        Raises:
            DebaterError: a file of the index cannot be read.

        """
        k = self.k
        if self.request.mode == "lexical":
            return [Rankings(ranking, None, ranking) for ranking in self.lexical(queries, k)]
        if self.request.mode == "dense":
            return [Rankings(ranking[:k], ranking, None) for ranking in self.dense(queries, k)]
        depth = max(k, FUSION_DEPTH)  # also if few hits are wanted, so that k does not change the order
        return [
            Rankings(convex_combination(*pair, k, weights=self.request.weights), *pair)
            for pair in zip(self.dense(queries, depth), self.lexical(queries, depth), strict=True)
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
