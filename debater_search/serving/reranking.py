"""From the body of `/v1/rerank` to its answer, in Cohere's and Jina's shape."""

from typing import Any

import numpy as np

from debater_search.serving.errors import ApiError
from debater_search.serving.model_schemas import RerankRequest
from debater_search.serving.model_thread import tokens_of
from debater_search.serving.models import public_name
from debater_search.serving.service import Service


async def rerank(service: Service, request: RerankRequest) -> dict[str, Any]:
    """Order texts by a query: a `RerankAnswer` as plain JSON types; tokens are estimated.

    Raises:
        ApiError: the server has no reranker, or another one; the query is too long; the server is busy.

    """
    reranker = service.require_reranker()
    name = public_name(reranker.name)
    if request.model not in (None, name):
        raise ApiError(404, "unknown_model", "This server has another reranker.", f"Model: {name}.")
    service.require_query(request.query)
    with service.admission():
        scores = await service.rerank(reranker.score, request.query, request.documents)
    order = np.argsort(-scores, kind="stable")[: request.top_n]
    results: list[dict[str, Any]] = [{"index": int(n), "relevance_score": float(scores[n])} for n in order]
    if request.return_documents:
        for result in results:
            result["document"] = {"text": request.documents[result["index"]]}
    tokens = sum(tokens_of(request.query) + tokens_of(text) for text in request.documents)
    return {"results": results, "model": name, "usage": {"total_tokens": tokens}}
