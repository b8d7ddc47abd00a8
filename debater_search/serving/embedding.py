"""From the body of `/v1/embeddings` to its answer, in OpenAI's shape."""

import base64
import json
from typing import Any

import numpy as np

from debater_search.serving.errors import ApiError
from debater_search.serving.keys import Caller
from debater_search.serving.model_schemas import EmbeddingsRequest
from debater_search.serving.models import Embedded, Kind, ServedModel
from debater_search.serving.service import Service

MAX_INPUTS = 2048
_QUERY_SUFFIX = "-query"


async def embeddings(service: Service, caller: Caller, request: EmbeddingsRequest) -> bytes:
    """Encode texts: an `EmbeddingsAnswer` in JSON.

    Raises:
        ApiError: the request is wrong, no index of the caller is by this model, or the server is busy.

    """
    texts = _texts(request.input)
    model, kind = _model(service, caller, request)
    dim = model.encoder.dim
    if request.dimensions not in (None, dim):
        raise ApiError(
            400, "wrong_dimensions", f"The vectors of this model have {dim} dimensions.", "Leave dimensions out."
        )
    with service.admission():
        encoded = await model.embed(texts, kind)
        return await service.retrieve(_answer, request, encoded)


def _answer(request: EmbeddingsRequest, encoded: Embedded) -> bytes:
    """The answer, written vector by vector, so that other threads have their turns meanwhile."""
    wire = _base64 if request.encoding_format == "base64" else _numbers
    data = [
        json.dumps({"object": "embedding", "index": number, "embedding": wire(vector)})
        for number, vector in enumerate(encoded.vectors)
    ]
    usage = {"prompt_tokens": encoded.tokens, "total_tokens": encoded.tokens}
    rest = json.dumps({"model": request.model, "usage": usage, "truncated": encoded.truncated})
    return f'{{"object": "list", "data": [{", ".join(data)}], {rest[1:]}'.encode()


def _texts(given: Any) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise ApiError(400, "invalid_input", "input is neither a text nor a list of texts.", "Send texts.")
    if len(texts) > MAX_INPUTS:
        raise ApiError(400, "too_many_inputs", f"input holds more than {MAX_INPUTS:,} texts.", "Send fewer at once.")
    if all(isinstance(text, str) for text in texts):
        return texts
    if isinstance(texts[0], int | list):
        raise ApiError(
            400,
            "token_input",
            "input holds tokens, and these are another model's.",
            "Send texts. LangChain's OpenAIEmbeddings does with check_embedding_ctx_length=False.",
        )
    raise ApiError(400, "invalid_input", "input holds something other than texts.", "Send texts.")


def _model(service: Service, caller: Caller, request: EmbeddingsRequest) -> tuple[ServedModel, Kind]:
    """The model that a request names, and what its texts are."""
    visible = service.visible(caller)
    models = {index.model.name: index.model for index in visible if index.is_open and index.model is not None}
    name = request.model
    if name in models:
        return models[name], request.input_type or "document"
    bare = name.removesuffix(_QUERY_SUFFIX)
    if bare != name and bare in models:
        if request.input_type == "document":
            raise ApiError(400, "invalid_input_type", "The model's name says query, and input_type document.", "")
        return models[bare], "query"
    if any(not index.is_open and index.failure is None for index in visible):
        raise ApiError(503, "loading", "Not all models are loaded.", "Try again.", retry_after=2)
    names = ", ".join(sorted(models)) or "none"
    raise ApiError(404, "unknown_model", "No index of this key is by that model.", f"Models: {names}.")


def _numbers(vector: np.ndarray) -> str | list[float]:
    numbers: list[float] = vector.tolist()
    return numbers


def _base64(vector: np.ndarray) -> str | list[float]:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
