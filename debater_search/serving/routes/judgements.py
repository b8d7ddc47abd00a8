"""Say whether a hit is relevant, where the server keeps judgements."""

from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Response
from pydantic import BaseModel, Field

from debater_search.data.judgements import query_text
from debater_search.serving.body import JsonResponse, JsonRoute
from debater_search.serving.callers import Judge
from debater_search.serving.errors import ApiError
from debater_search.serving.judgements import JudgementLog
from debater_search.serving.routes import errors
from debater_search.serving.routes.service import TheService
from debater_search.serving.schemas import Strict
from debater_search.serving.service import Service

router = APIRouter(prefix="/v1/indexes", tags=["judgements"], route_class=JsonRoute)


class JudgementBody(Strict):
    """What somebody says of a hit."""

    query: Annotated[str, Field(min_length=1, description="The query, as it was searched for.")]
    id: Annotated[str, Field(min_length=1, max_length=10_000, description="The id of the hit.")]
    relevant: Annotated[bool | None, Field(description="Whether it answers the query; null takes a judgement back.")]


class JudgementAnswer(BaseModel):
    """The line that was appended."""

    time: str
    index: str
    query: str
    id: str
    relevant: bool | None
    key: str | None


def add(app: FastAPI, service: Service) -> None:
    """Take judgements; raises DebaterError if their file cannot be used."""
    assert service.settings.judgements is not None
    service.judgements = JudgementLog(service.settings.judgements)
    app.include_router(router)


@router.post("/{index}/judgements", response_model=JudgementAnswer, responses=errors(404, 408, 413, 415))
async def judge(index: str, body: JudgementBody, service: TheService, caller: Judge) -> Response:
    """Say whether a hit is relevant to a query. The last judgement of a hit counts.

    It is on the disk when this answers.
    """
    found = service.index(index, caller)
    judgements = service.judgements
    assert judgements is not None
    if not query_text(body.query):
        raise ApiError(400, "invalid_request", "The query is empty.", "Send the query of the search.")
    service.require_query(body.query)
    key = caller.name if service.settings.keys is not None else None

    def save() -> dict[str, Any]:
        if body.relevant is not None and not found.engine.documents.positions([body.id]):
            raise ApiError(404, "unknown_document", "There is no document with this id.", "Hits show ids.")
        return judgements.add(found.name, body.query, body.id, body.relevant, key)

    with service.admission():
        return JsonResponse(await service.retrieve(save))
