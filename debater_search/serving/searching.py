"""From the body of a search to its answer."""

from time import perf_counter
from typing import Any

import numpy as np

from debater_search.errors import InvalidError, MissingError
from debater_search.search import Mode, QueryMarks
from debater_search.search.request import DEFAULT_WEIGHTS
from debater_search.serving.errors import ApiError
from debater_search.serving.indexes import ServedIndex
from debater_search.serving.keys import Caller
from debater_search.serving.schemas import SearchRequest
from debater_search.serving.service import Service
from debater_search.store.filters import UnknownFieldError
from debater_search.types import Explanation, Facets, Hit, Like, RankedScore


async def search(service: Service, name: str, caller: Caller, request: SearchRequest) -> dict[str, Any]:
    """Answer a search on the index `name`: a `SearchAnswer` as plain JSON types.

    Raises:
        ApiError: the index, the caller's scope or the request is not what it must be, or the server is busy.
        DebaterError: the request is wrong, or the index cannot be read.

    """
    index = service.index(name, caller)
    _check(service, request)
    with service.admission():
        return await _answered(service, index, request)


def _check(service: Service, request: SearchRequest) -> None:
    if request.query is None and request.like is None:
        raise ApiError(400, "invalid_request", "There is neither query nor like.", "Send one of the two.")
    if request.query is not None and request.like is not None:
        raise ApiError(400, "invalid_request", "query and like exclude each other.", "Send one of the two.")
    service.require_query(request.query or "")
    if request.k + request.offset > (limit := service.settings.max_k):
        raise ApiError(400, "too_many_hits", f"k + offset is above {limit}.", "Ask for fewer hits, or filter by where.")
    if request.rerank is not None:
        service.require_reranker()


async def _answered(service: Service, index: ServedIndex, request: SearchRequest) -> dict[str, Any]:
    engine, model = index.opened
    mode: Mode = request.mode or ("dense" if model else "lexical")
    vector, queued, encoding = None, 0.0, 0.0
    if request.query is not None and request.query.strip() and mode != "lexical" and model is not None:
        encoded = await model.query(request.query, request.instruction)
        vector, queued, encoding = encoded.vector, encoded.queued, encoded.seconds
    waiting = perf_counter()

    def answer() -> dict[str, Any]:
        nonlocal queued
        queued += perf_counter() - waiting
        try:
            found = engine.answer(
                _query(request), request.k + request.offset, **_options(service, request, mode, vector)
            )
        except UnknownFieldError as error:
            raise ApiError(400, "unknown_field", error.message, error.hint) from error
        except MissingError as error:
            if request.like is None:
                raise
            message = "There is no document with the id of like."
            raise ApiError(404, "unknown_document", message, "Hits show ids.") from error
        except InvalidError as error:
            if index.is_by_model_of(engine):
                raise
            raise ApiError(503, "loading", "The index gets another model.", "Try again.", retry_after=2) from error
        marks = engine.marks(request.query or "")
        hits = [_hit(hit, marks, explained=request.explain) for hit in found.hits[request.offset :]]
        taken = {"queue": queued, "rerank": 0.0, **found.timings}
        taken["encode"] += encoding  # what the engine itself took for it is the lookup of a ready vector
        return {
            "index": index.name,
            "generation": found.generation,
            "hits": hits,
            "facets": _facets(found.facets),
            "truncated": vector is not None and model is not None and model.cuts(request.query or "", "query"),
            "notes": list(found.notes),
            "ms": {
                stage: round(1000 * taken[stage], 2) for stage in ("queue", "encode", "retrieve", "rerank", "fetch")
            },
        }

    answered = await (service.retrieve if request.rerank is None else service.rerank)(answer)
    service.metrics.stages("/v1/indexes/{index}/search", answered["ms"])
    return answered


def _query(request: SearchRequest) -> str | Like:
    return Like(request.like) if request.like is not None else request.query or ""


def _options(service: Service, request: SearchRequest, mode: Mode, vector: np.ndarray | None) -> dict[str, Any]:
    """The options of `SearchEngine.answer`."""
    first, second = request.weights or DEFAULT_WEIGHTS
    reranking = {} if request.rerank is None else {"rerank": service.reranker, "rerank_depth": request.rerank}
    return {
        "mode": mode,
        "instruction": request.instruction,
        "where": request.where,
        "rescore": request.rescore,
        "weights": (first, second),
        "explain": request.explain,
        "facets": request.facets,
        "vector": vector,
        **reranking,
    }


def _hit(hit: Hit, marks: QueryMarks, *, explained: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "rank": hit.rank,
        "id": hit.id,
        "score": hit.score,
        "title": hit.title,
        "snippet": hit.snippet,
        "marks": {"title": marks.spans(hit.title), "snippet": marks.spans(hit.snippet)},
        "metadata": hit.metadata,
    }
    if explained and hit.explanation is not None:
        found["explanation"] = _explanation(hit.explanation)
    return found


def _explanation(explanation: Explanation) -> dict[str, Any]:
    return {
        "dense": _place(explanation.dense),
        "lexical": _place(explanation.lexical),
        "rerank": _place(getattr(explanation, "rerank", None)),
        "steps": explanation.steps,
    }


def _place(found: RankedScore | None) -> dict[str, Any] | None:
    return None if found is None else {"rank": found.rank, "score": found.score}


def _facets(facets: Facets | None) -> dict[str, Any]:
    if facets is None:
        return {}
    return {
        name: {"of": facets.documents, "documents": facet.of, "values": facet.values, "ranges": facet.ranges}
        for name, facet in facets.fields.items()
    }
