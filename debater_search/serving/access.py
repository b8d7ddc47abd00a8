"""The outermost layer: each request gets an id, headers that keep browsers safe, a log line, and a count.

A line is JSON: route, status, milliseconds, the name of the key, the request id; no path, no query.
"""

import json
import logging
import secrets
from time import perf_counter

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from debater_search.serving.errors import ApiError, error_response
from debater_search.serving.metrics import Metrics

log = logging.getLogger("debater_search.serving.access")
errors = logging.getLogger(__name__)

CLIENT_LEFT = 499
"""The status in logs and counts where a client did not wait for its answer."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Access:
    """ASGI middleware around everything else; no exception leaves it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = scope["request_id"] = secrets.token_hex(8)
        start, status = perf_counter(), 0

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers["X-Request-Id"] = request_id
                if scope["path"].startswith("/v1/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self.app(scope, receive, send_safely)
        except Exception:
            errors.exception("Request %s failed.", request_id)
            if not status:
                failure = ApiError(500, "internal_error", "The server failed.", "Its log has the request id.")
                await error_response(failure, request_id)(scope, receive, send_safely)
        finally:
            seconds = perf_counter() - start
            status = status or CLIENT_LEFT
            route = route_of(scope)
            self.metrics.request(route, status, seconds)
            _write_line(scope, route, status, seconds)


def route_of(scope: Scope) -> str:
    """The pattern of the path that answered, such as /v1/indexes/{index}/search."""
    route = scope.get("route")
    path = getattr(route, "path", None) or scope.get("mounted")
    return str(path) if path else "other"


def _write_line(scope: Scope, route: str, status: int, seconds: float) -> None:
    caller = scope.get("caller")
    line = {
        "route": route,
        "method": scope["method"],
        "status": status,
        "ms": round(1000 * seconds, 1),
        "key": caller.name if caller else None,
        "request_id": scope["request_id"],
    }
    if "query_text" in scope:  # only where the settings ask for it
        line["query"] = scope["query_text"]
    log.info(json.dumps(line))
