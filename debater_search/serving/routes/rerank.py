"""Order texts by a query as Cohere's and Jina's clients ask for it."""

from fastapi import APIRouter, Response

from debater_search.serving.body import JsonResponse, JsonRoute
from debater_search.serving.callers import RerankCaller
from debater_search.serving.model_schemas import RerankAnswer, RerankRequest
from debater_search.serving.reranking import rerank
from debater_search.serving.routes import errors
from debater_search.serving.routes.service import TheService

router = APIRouter(prefix="/v1", tags=["models"], route_class=JsonRoute)


@router.post("/rerank", response_model=RerankAnswer, responses=errors(404, 408, 413, 415))
async def rerank_texts(body: RerankRequest, service: TheService, _: RerankCaller) -> Response:
    """Score texts for a query by the server's reranker, the best first. Tokens are an estimate."""
    return JsonResponse(await rerank(service, body))
