"""Encode texts as OpenAI's clients ask for it."""

from fastapi import APIRouter, Response

from debater_search.serving.body import JsonRoute
from debater_search.serving.callers import Embedder
from debater_search.serving.embedding import embeddings
from debater_search.serving.model_schemas import EmbeddingsAnswer, EmbeddingsRequest
from debater_search.serving.routes import errors
from debater_search.serving.routes.service import TheService

router = APIRouter(prefix="/v1", tags=["models"], route_class=JsonRoute)


@router.post("/embeddings", response_model=EmbeddingsAnswer, responses=errors(404, 408, 413, 415))
async def embed_texts(body: EmbeddingsRequest, service: TheService, caller: Embedder) -> Response:
    """Encode texts by the model of an index. Texts that are longer than the model reads are cut; `truncated` says so.

    Texts are documents unless `input_type` is query. A model's name that ends in `-query` says the same, for clients
    that cannot send `input_type`.
    """
    return Response(await embeddings(service, caller, body), media_type="application/json")
