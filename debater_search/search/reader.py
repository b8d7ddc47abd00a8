"""How a query is read for a state of the index: as text, as vector, or by the id of a document."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from debater_search.errors import InvalidError, MissingError
from debater_search.inputs import as_texts
from debater_search.search.candidates import Queries
from debater_search.search.model import QueryModel, TextVectors
from debater_search.search.request import GivenQuery, Request, as_vectors, require_no_words, require_texts
from debater_search.search.snapshot import Snapshot
from debater_search.search.timings import Timings
from debater_search.types import Like

Reader = Callable[[Snapshot, Timings], Queries]


def query_reader(model: QueryModel, query: GivenQuery, request: Request, vector: np.ndarray | None) -> Reader:
    """A function that reads a query for a state of the index; InvalidError for one that no state can answer."""
    if isinstance(query, Like):
        return lambda snapshot, timings: _like(snapshot, request, query, timings)
    if isinstance(query, list | tuple):
        raise InvalidError(
            f"query is a {type(query).__name__}, not one query.",
            "Give several queries to `search_many`, and a vector as a numpy array.",
        )
    if not isinstance(query, np.ndarray):
        vectors = None if vector is None else [vector]
        return text_reader(model, as_texts([query], "query"), request, vectors)
    require_no_words(request)
    return lambda snapshot, timings: Queries(None, as_vectors([query], 1, snapshot.require_dense().dim))


def text_reader(model: QueryModel, texts: list[str], request: Request, vectors: ArrayLike | None = None) -> Reader:
    """As `query_reader`, for several texts, which may be encoded already: `vectors`, float32 [texts, dim]."""
    require_texts(texts)
    if not request.uses_vectors:
        return lambda snapshot, timings: Queries(texts, None)
    if vectors is not None:
        return lambda snapshot, timings: Queries(texts, as_vectors(vectors, len(texts), snapshot.require_dense().dim))
    encoded = TextVectors(model, texts, request.instruction)
    return lambda snapshot, timings: Queries(texts, encoded.of(snapshot, timings))


def _like(snapshot: Snapshot, request: Request, like: Like, timings: Timings) -> Queries:
    """A document's title and text, and its stored vector if the mode needs it."""
    position = snapshot.documents.positions([like.id]).get(like.id)
    if position is None:
        raise MissingError(f"There is no document {like.id!r} in {snapshot.folder}.", "Hits show the ids of documents.")
    (document,) = snapshot.documents.read([position])
    if not request.uses_vectors:
        return Queries([document.content], None, position)
    snapshot.require_dense()
    with timings.of("encode"):
        ((start, vectors),) = snapshot.store.around(np.array([position]))
        return Queries([document.content], vectors[[position - start]], position)
