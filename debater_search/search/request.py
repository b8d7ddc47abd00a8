"""How queries are to be answered, checked before anything is loaded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from debater_search.errors import DebaterError

Mode = Literal["dense", "lexical", "hybrid"]
MODES: tuple[Mode, ...] = get_args(Mode)

Rescore = Literal["max", "mean"]
RESCORES: tuple[Rescore, ...] = get_args(Rescore)

Weights = tuple[float, float]
"""Of the dense and the lexical ranking where the two are fused; only their proportion matters to the order."""
EQUAL: Weights = (1.0, 1.0)


@dataclass(frozen=True)
class Request:
    """What `SearchEngine.search` was asked for, but for the queries; DebaterError if it makes no sense."""

    k: int
    mode: Mode = "dense"
    where: str | None = None
    rescore: Rescore | None = None
    weights: Weights = EQUAL

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise DebaterError(f"There is no search mode {self.mode!r}.", f"Modes: {', '.join(MODES)}.")
        if self.k < 1:
            raise DebaterError(f"{self.k} hits cannot be returned.", "Ask for 1 or more with -k.")
        if self.rescore is not None and self.rescore not in RESCORES:
            raise DebaterError(f"Hits cannot be rescored by {self.rescore!r}.", f"By: {', '.join(RESCORES)}.")
        if self.rescore is not None and self.mode == "lexical":
            raise DebaterError(
                "Lexical search has no thinking steps to rescore by.", "Use --mode dense or --mode hybrid."
            )
        if len(self.weights) != 2 or not all(weight > 0 and math.isfinite(weight) for weight in self.weights):
            raise DebaterError(
                f"{self.weights} are no weights to fuse two rankings by.",
                "Give two numbers above 0, that of the dense ranking first, such as 2,1.",
            )


def require_texts(queries: Sequence[str]) -> None:
    """Raise DebaterError for a query without text."""
    for number, query in enumerate(queries, start=1):
        if not query.strip():
            which = "The query" if len(queries) == 1 else f"Query {number} of {len(queries)}"
            raise DebaterError(f"{which} is empty.", "Ask something.")


def require_vectors(vectors: np.ndarray, queries: int, dim: int) -> np.ndarray:
    """The vectors of so many queries; DebaterError unless they are [queries, dim] and finite."""
    if vectors.shape != (queries, dim):
        raise DebaterError(
            f"The vectors of the queries have the shape {vectors.shape}, not {(queries, dim)}.",
            "Give one vector for each query, by the model that made the index.",
        )
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise DebaterError(
            f"The vector of query {broken[0] + 1} of {queries} holds numbers that are not finite.",
            "Look for the fault in the model: no document can be compared with it.",
        )
    return vectors
