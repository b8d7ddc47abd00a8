"""The indexes that a key may see, and the facts of one."""

from fastapi import APIRouter, Response

from debater_search.serving.body import JsonResponse, JsonRoute
from debater_search.serving.callers import AnyCaller, Searcher
from debater_search.serving.routes import errors
from debater_search.serving.routes.service import TheService
from debater_search.serving.schemas import IndexesAnswer, IndexFacts

router = APIRouter(prefix="/v1/indexes", tags=["indexes"], route_class=JsonRoute)


@router.get("", response_model=IndexesAnswer, responses=errors())
async def list_indexes(service: TheService, caller: AnyCaller) -> Response:
    """List the indexes that the key may see."""
    return JsonResponse({"indexes": [index.summary() for index in service.visible(caller) if index.is_open]})


@router.get("/{index}", response_model=IndexFacts, responses=errors(404))
async def describe_index(index: str, service: TheService, caller: Searcher) -> Response:
    """Say what is in an index: documents and their fields, model, generation."""
    found = service.index(index, caller)
    return JsonResponse(await service.retrieve(found.facts))
