"""Read, write and delete documents of an index."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from debater_search.serving.body import JsonResponse, JsonRoute
from debater_search.serving.callers import Reader
from debater_search.serving.reading import read_document
from debater_search.serving.routes import errors
from debater_search.serving.routes.service import TheService
from debater_search.serving.schemas import DocumentBody

router = APIRouter(prefix="/v1/indexes", tags=["documents"], route_class=JsonRoute)

MOST_CHARACTERS = 1_000_000


@router.get("/{index}/documents/{id:path}", response_model=DocumentBody, responses=errors(404))
async def get_document(
    index: str,
    id: str,
    service: TheService,
    caller: Reader,
    offset: Annotated[int, Query(ge=0, le=2**31, description="First character of the text.")] = 0,
    characters: Annotated[int, Query(ge=0, le=MOST_CHARACTERS, description="Characters of the text.")] = 8000,
) -> Response:
    """Read a document, or a part of a long one."""
    found = service.index(index, caller)
    return JsonResponse(await service.retrieve(read_document, found, id, offset, characters))
