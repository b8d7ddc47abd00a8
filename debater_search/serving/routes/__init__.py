"""The paths of the API, one module each."""

from typing import Any

from debater_search.serving.schemas import ErrorBody

_CAUSES = {
    400: "The request is wrong.",
    401: "The key is missing or unknown.",
    403: "The key lacks the scope.",
    404: "There is no such index or document.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is of another type.",
    421: "The Host header names another machine.",
    429: "Too many requests; Retry-After says when the next one is welcome.",
    500: "The server failed.",
    503: "Loading, busy or stopping.",
    504: "The request took too long.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route, for the description of the API; those that every route may give come along."""
    every = (400, 401, 403, 421, 429, 500, 503, 504)
    return {status: {"model": ErrorBody, "description": _CAUSES[status]} for status in sorted({*every, *statuses})}
