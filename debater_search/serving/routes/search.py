"""Search an index."""

from fastapi import APIRouter, Request, Response

from debater_search.serving.body import JsonResponse, JsonRoute
from debater_search.serving.callers import Searcher
from debater_search.serving.routes import errors
from debater_search.serving.routes.service import TheService
from debater_search.serving.schemas import SearchAnswer, SearchRequest
from debater_search.serving.searching import search

router = APIRouter(prefix="/v1/indexes", tags=["search"], route_class=JsonRoute)


@router.post("/{index}/search", response_model=SearchAnswer, responses=errors(404, 408, 413, 415))
async def search_index(
    index: str, body: SearchRequest, request: Request, service: TheService, caller: Searcher
) -> Response:
    """Find the documents that answer a query, or that are like a document.

    `where` filters by metadata, `facets` counts values among the best 1,000 documents. Marks are offsets into title and
    snippet: first character, and the one behind the last. Where judgements are taken, `relevant` is the
    last one about this query and this document.
    """
    if service.settings.log_queries:
        request.scope["query_text"] = body.query
    answer = await search(service, index, caller, body)
    if service.judgements is not None and body.query is not None and caller.may("judge"):
        said = await service.retrieve(service.judgements.said, answer["index"], body.query)
        for hit in answer["hits"]:
            hit["relevant"] = said.get(hit["id"])
    return JsonResponse(answer)
