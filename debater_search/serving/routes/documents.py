"""List, read, write and delete documents of an index."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from debater_search.serving.body import JsonResponse, JsonRoute, require_content_type
from debater_search.serving.callers import Reader, Searcher, Writer
from debater_search.serving.errors import ApiError
from debater_search.serving.reading import list_documents, read_document
from debater_search.serving.routes import errors
from debater_search.serving.routes.service import TheService
from debater_search.serving.schemas import ChangeAnswer, DocumentBody, DocumentsAnswer
from debater_search.serving.writing import delete_document, put_documents

router = APIRouter(prefix="/v1/indexes", tags=["documents"], route_class=JsonRoute)

MOST_CHARACTERS = 1_000_000
MOST_LISTED = 1000
JSON, JSON_LINES = "application/json", ("application/x-ndjson", "application/jsonl")
_DOCUMENT = {"type": "object", "example": {"id": "1", "title": "…", "text": "…", "year": 1958}}
_ABOUT = 'such as {"id": "1", "title": "…", "text": "…", "year": 1958}; what is not id, title and text is metadata.'
_DOCUMENTS_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {
                    "anyOf": [{"type": "array", "items": _DOCUMENT}, _DOCUMENT],
                    "description": f"Documents {_ABOUT}",
                }
            },
            **{
                type: {"schema": {"type": "string", "description": f"One document per line, {_ABOUT}"}}
                for type in JSON_LINES
            },
        },
    }
}


@router.get("/{index}/documents", response_model=DocumentsAnswer, responses=errors(404))
async def browse_documents(
    index: str,
    service: TheService,
    caller: Searcher,
    where: Annotated[str | None, Query(description="A filter, as in a search.")] = None,
    k: Annotated[int, Query(ge=1, le=MOST_LISTED, description="Documents in the answer.")] = 10,
    offset: Annotated[int, Query(ge=0, le=2**31, description="Documents left out before them.")] = 0,
) -> Response:
    """List the documents that a filter allows, or all, in the order in which they were added, without a query."""
    found = service.index(index, caller)
    return JsonResponse(await service.retrieve(list_documents, found, where, k, offset))


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


@router.put(
    "/{index}/documents",
    response_model=ChangeAnswer,
    responses=errors(404, 408, 413, 415),
    openapi_extra=_DOCUMENTS_BODY,
)
async def write_documents(index: str, request: Request, service: TheService, caller: Writer) -> Response:
    """Add documents, a JSON array, one JSON object or JSON lines; one with a known id replaces the old one.

    Either all are added, or none. Objects are read by the columns that the index was built from, if they have them.
    The answer comes when the change is committed: then it outlives the server, and searches find it.
    """
    found = service.index(index, caller)
    lines = require_content_type(request, JSON, *JSON_LINES) != JSON
    body, depth = await request.body(), service.settings.json_depth
    return JsonResponse(await service.write(found, partial(put_documents, found, body, depth, lines=lines)))


@router.delete("/{index}/documents", include_in_schema=False)
async def delete_no_document(index: str, service: TheService, caller: Writer) -> Response:
    """Say how documents are deleted: people look for it here."""
    service.index(index, caller)
    refused = ApiError(
        405,
        "method_not_allowed",
        "Documents are deleted one by one.",
        "Use DELETE /v1/indexes/{index}/documents/{id}, or PUT here to write documents.",
    )
    refused.headers = {"Allow": "PUT"}
    raise refused


@router.delete("/{index}/documents/{id:path}", response_model=ChangeAnswer, responses=errors(404))
async def delete_one_document(index: str, id: str, service: TheService, caller: Writer) -> Response:
    """Delete a document."""
    found = service.index(index, caller)
    return JsonResponse(await service.write(found, partial(delete_document, found, id)))
