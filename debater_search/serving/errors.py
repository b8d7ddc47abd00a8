"""Errors in one shape: {"error": {"code", "message", "hint", "type", "request_id"}}."""

import json
import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from debater_search.config.keys import followed, models_in
from debater_search.errors import DebaterError
from debater_search.refusals import either, meant, refusal

log = logging.getLogger(__name__)

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_CLIENTS = {"invalid": (400, "invalid_request"), "missing": (404, "not_found")}
_SERVERS = {
    "busy": ("Another process is changing the index.", "Try again."),
    "damaged": ("A file of the index is damaged.", "Ask the operator: the log of the server says which."),
    "unavailable": ("Something that this needs is missing.", "Ask the operator: the log of the server says what."),
}
_SHOWABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,40}")


class ApiError(HTTPException):
    """What a request is answered with instead of a result."""

    def __init__(
        self, status: int, code: str, message: str, hint: str = "", *, retry_after: float | None = None
    ) -> None:
        super().__init__(status, message)
        self.code, self.message, self.hint = code, message, hint
        if retry_after is not None:
            self.headers = {"Retry-After": str(max(1, ceil(retry_after)))}

    @classmethod
    def of(cls, error: DebaterError, names: Mapping[str, str]) -> "ApiError":
        """An error of the stages below, by its kind. `names` stand for the places on disk that a message may hold.

        What the client cannot mend is logged, and told without details.
        """
        if error.kind in _CLIENTS:
            message, hint = error.message, error.hint
            for place, name in names.items():
                message, hint = message.replace(place, name), hint.replace(place, name)
            return cls(*_CLIENTS[error.kind], message, hint)
        log.error("%s", error)
        return cls(503, error.kind, *_SERVERS[error.kind], retry_after=5 if error.kind == "busy" else None)


def error_response(error: ApiError, request_id: str) -> Response:
    """The error as a response in ASCII, whatever its message quotes."""
    status = error.status_code
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    content = {
        "error": {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "type": kind,
            "request_id": request_id,
        }
    }
    headers = dict(error.headers or {})
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(json.dumps(content), status, headers, "application/json")


def install_handlers(app: FastAPI) -> None:
    """Answer every error of the application in our shape."""

    def respond(request: Request, error: ApiError) -> Response:
        return error_response(error, request.scope.get("request_id", ""))

    @app.exception_handler(DebaterError)
    async def known(request: Request, error: DebaterError) -> Response:
        return respond(request, ApiError.of(error, request.app.state.service.public_names))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return respond(request, _explained(error, _body_model(request)))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        return respond(request, error if isinstance(error, ApiError) else _of_framework(error))


def _of_framework(error: HTTPException) -> ApiError:
    """An error that the framework raises: no such path or method, a body that it cannot read."""
    phrase, paths = HTTPStatus(error.status_code).phrase, "Paths are in /openapi.json."
    allowed = (error.headers or {}).get("Allow")
    if error.status_code == 404:
        found = ApiError(404, "not_found", "There is no such path.", paths)
    elif error.status_code == 405:
        hint = f"Use {either(allowed.split(', '))}." if allowed else paths
        found = ApiError(405, "method_not_allowed", "This path does not take this method.", hint)
    else:
        found = ApiError(error.status_code, phrase.lower().replace(" ", "_"), f"{phrase}.", paths)
    found.headers = error.headers
    return found


def _body_model(request: Request) -> type[BaseModel] | None:
    """The model of the bodies that a path takes."""
    field = getattr(request.scope.get("route"), "body_field", None)
    return next(models_in(field.field_info.annotation), None) if field is not None else None


def _explained(error: RequestValidationError, body: type[BaseModel] | None) -> ApiError:
    # an unknown field first: it is often the misspelt name of one that is then missing
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    place = "The body" if first["type"] == "json_invalid" else _place(first["loc"])
    if first["type"] == "extra_forbidden":
        _, holder = followed(body, first["loc"][1:]) if body is not None else ((), None)
        near = meant(str(first["loc"][-1]), holder.model_fields) if holder is not None else None
        hint = f"Did you mean {near}?" if near else "The fields of each body are in /openapi.json."
        return ApiError(400, "unknown_parameter", f"{place} is unknown.", hint)
    return ApiError(
        400, "invalid_parameter", f"{refusal(first, place)}.", "The types of each field are in /openapi.json."
    )


def _place(loc: tuple[Any, ...]) -> str:
    """Where in a request an error is; a name that the client chose is shown only if it is a plain word."""
    parts = loc[1:] if loc[:1] in (("body",), ("query",), ("path",)) else loc  # a field may be called query, too
    names = [str(part) if isinstance(part, int) or _SHOWABLE.fullmatch(str(part)) else "…" for part in parts]
    return ".".join(names[:8]) or "The body"
