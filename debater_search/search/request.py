"""How queries are to be answered, checked before anything is loaded."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any, Literal, TypedDict, get_args

import numpy as np
from numpy.typing import ArrayLike

from debater_search.coerce import require_names, require_whole
from debater_search.encoder.protocol import PairScorer, require_scorer
from debater_search.errors import InvalidError
from debater_search.filters import require_filter
from debater_search.refusals import meant
from debater_search.types import Like, Query

Mode = Literal["dense", "lexical", "hybrid"]
MODES: tuple[Mode, ...] = get_args(Mode)

Rescore = Literal["max", "mean"]
RESCORES: tuple[Rescore, ...] = get_args(Rescore)

Weights = tuple[float, float]
"""Weights of the dense and of the lexical ranking in hybrid search; only their ratio changes the order."""
DEFAULT_WEIGHTS: Weights = (6.0, 1.0)
"""Chosen on development collections (benchmarks/hybrid.md)."""


BM25 = "bm25"
"""What ranking by words is called in results and runs."""


def system_name(model: str | None, mode: Mode, reranker: str | None = None) -> str:
    """What searches in this way are called in results and runs: `debater-small`, `bm25`, `debater-small + bm25`."""
    names = [BM25] if model is None or mode == "lexical" else [model, BM25] if mode == "hybrid" else [model]
    return " + ".join([*names, *([Path(reranker).name] if reranker is not None else [])])


ROUNDING = 1e-3
"""How much float16 may change the length of a vector: at most half of this."""


GivenQuery = str | Query | np.ndarray | Like
"""A text, a vector by the index's model, float32 [dim], or the id of a document to find others like it."""


class BatchOptions(TypedDict, total=False):
    """Options of `SearchEngine.answer` that a batch of queries has too."""

    mode: Mode
    instruction: str | None
    where: str | None
    rescore: Rescore | None
    weights: Weights
    exact: bool
    rerank: PairScorer | None
    rerank_depth: int | None


class ManyOptions(BatchOptions, total=False):
    """Options of `SearchEngine.search_many`."""

    explain: bool


class SearchOptions(ManyOptions, total=False):
    """Options of `SearchEngine.search`: those of `answer` without `facets`, for which a list of hits has no place."""

    vector: np.ndarray | None


@dataclass(frozen=True)
class Request:
    """The options of `SearchEngine.answer`; InvalidError if they make no sense."""

    k: int = 10
    mode: Mode = "dense"
    instruction: str | None = None
    where: str | None = None
    rescore: Rescore | None = None
    weights: Weights = DEFAULT_WEIGHTS
    explain: bool = False
    exact: bool = False
    rerank: PairScorer | None = None
    rerank_depth: int | None = None
    facets: Sequence[str] = ()

    def __post_init__(self) -> None:
        require_mode(self.mode)
        require_whole(self.k, "k")
        object.__setattr__(self, "k", int(self.k))  # SQLite takes no integers of numpy
        if self.k < 1:
            raise InvalidError(f"{self.k} hits cannot be returned.", "`k` is 1 or more.")
        if self.where is not None:
            require_filter(self.where)
        if self.rescore is not None and self.rescore not in RESCORES:
            raise InvalidError(f"Hits cannot be rescored by {self.rescore!r}.", f"By: {', '.join(RESCORES)}.")
        if self.rescore is not None and self.mode == "lexical":
            raise InvalidError(
                "Lexical search has no thinking steps to rescore by.", "Search in mode 'dense' or 'hybrid'."
            )
        if not _are_weights(self.weights):
            raise InvalidError(
                f"{short(self.weights)} are not weights for two rankings.",
                "Give two numbers above 0, the weight of the dense ranking first, such as 2,1.",
            )
        require_scorer(self.rerank)
        require_rerank_depth(self.rerank_depth, reranks=self.rerank is not None)
        require_names(self.facets, "facets")

    @property
    def uses_vectors(self) -> bool:
        """Whether queries are compared by vectors."""
        return self.mode != "lexical"


def require_options(method: str, given: Collection[str], options: type) -> None:
    """Raise InvalidError for an option that a method of `SearchEngine` does not take, with the one that was meant."""
    known = options.__annotations__
    for name in given:
        if name == "facets" and name not in known:
            raise InvalidError(
                f"`{method}` returns no facets.", "Use `engine.answer(query, facets=[…])`: it returns both."
            )
        if name not in known:
            near = meant(name, ["k", *known])
            cure = f"Did you mean `{near}`?" if near else f"Options: {', '.join(['k', *known])}."
            raise InvalidError(f"`{method}` has no option `{name}`.", cure)


def _are_weights(weights: Any) -> bool:
    try:
        return len(weights) == 2 and all(weight > 0 and math.isfinite(weight) for weight in weights)
    except TypeError:
        return False


def require_mode(mode: Any) -> None:
    """Raise InvalidError for a mode that does not exist."""
    if mode not in MODES:
        raise InvalidError(f"There is no search mode {mode!r}.", f"Modes: {', '.join(MODES)}.")


def require_texts(queries: Sequence[str]) -> None:
    """Raise InvalidError for a query without text."""
    for number, query in enumerate(queries, start=1):
        if not query.strip():
            which = "The query" if len(queries) == 1 else f"Query {number} of {len(queries)}"
            raise InvalidError(f"{which} is empty.", "Give a query.")


def require_rerank_depth(depth: int | None, *, reranks: bool) -> None:
    """Raise InvalidError for a depth that is no whole number above 0, or one without a reranker."""
    if depth is not None and not reranks:
        raise InvalidError("`rerank_depth` has no effect without `rerank`.", "Give a reranker, or leave it out.")
    if depth is None:
        return
    require_whole(depth, "rerank_depth")
    if depth < 1:
        raise InvalidError(f"{depth} candidates cannot be reranked.", "`rerank_depth` is 1 or more.")


def require_no_words(request: Request) -> None:
    """Raise InvalidError for a request that needs a query's words, which a vector does not have."""
    if request.mode != "dense":
        raise InvalidError(
            f"A vector has no words, and mode {request.mode!r} searches by words.",
            "Give the query's text, or search in mode 'dense'.",
        )
    if request.rerank is not None:
        raise InvalidError("A vector has no words, and a reranker reads them.", "Give the query's text.")


def as_vectors(vectors: ArrayLike, queries: int, dim: int) -> np.ndarray:
    """The vectors of so many queries as float32 of length 1; InvalidError unless [queries, dim], finite and not 0."""
    try:
        with np.errstate(over="ignore"):  # numbers beyond float32 become infinite and are refused below
            found = np.asarray(vectors, np.float32)
    except (TypeError, ValueError):
        raise InvalidError("The vectors of the queries are not arrays of numbers.", "Give float32.") from None
    if found.shape != (queries, dim):
        raise InvalidError(
            f"The vectors of the queries have the shape {found.shape}, not {(queries, dim)}.",
            "Give one vector for each query, by the model that made the index.",
        )
    broken = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(broken):
        raise InvalidError(
            f"The vector of query {broken[0] + 1} of {queries} holds numbers that are not finite.",
            "Look for the fault in the model: no document can be compared with it.",
        )
    return _normalised(found)


def _normalised(vectors: np.ndarray) -> np.ndarray:
    """The vectors of queries at length 1; those that only rounding makes longer or shorter stay as they are."""
    with np.errstate(over="ignore"):
        lengths = np.sqrt(np.einsum("qd,qd->q", vectors, vectors))
    others = np.flatnonzero(~(np.abs(lengths - 1) <= ROUNDING))
    if not len(others):
        return vectors
    wide = vectors[others].astype(np.float64)  # squares of float32 neither overflow nor vanish in it
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    if not lengths.all():
        zero = others[np.flatnonzero(lengths == 0)[0]]
        raise InvalidError(
            f"The vector of query {zero + 1} of {len(vectors)} is zero.",
            "Give a vector by the model that made the index: zero is equally near to all documents.",
        )
    vectors = vectors.copy()
    vectors[others] = wide / lengths
    return vectors
