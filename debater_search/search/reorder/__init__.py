"""Steps that put candidates into another order, one after the other."""

from typing import Protocol

from debater_search.search.candidates import Queries, Ranking


class Reorder(Protocol):
    """Reorders the first `depth` candidates of each ranking; those behind them stay where they are."""

    @property
    def depth(self) -> int:
        """Candidates per query that it looks at."""
        ...

    def __call__(self, rankings: list[Ranking], queries: Queries) -> list[Ranking]:
        """The rankings in their new order, with new scores; the inputs are not changed.

        Raises:
            DebaterError: what it scores by cannot be read.

        """
        ...
