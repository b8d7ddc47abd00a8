"""The gate: requests come under this machine's own name, and with a key where there are keys."""

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from debater_search.serving.callers import ANYBODY
from debater_search.serving.errors import ApiError, error_response
from debater_search.serving.keys import Caller
from debater_search.serving.limits import Rates
from debater_search.serving.settings import is_loopback

_GUARDED = ("/v1/", "/mcp", "/metrics")

FindCaller = Callable[[str], Caller | None]
"""A token → whose it is."""


class Gate:
    """ASGI middleware: a foreign Host is refused where there are no keys, and a missing or unknown key where there are.

    Without keys a page of the web could otherwise reach the server by a name that leads to this machine (DNS
    rebinding).
    """

    def __init__(self, app: ASGIApp, find_caller: FindCaller | None, rates: Rates, *, any_host: bool) -> None:
        self.app, self._find, self._rates, self._any_host = app, find_caller, rates, any_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that may pass."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            if not self._any_host and not is_loopback(_host(headers.get("host", ""))):
                raise ApiError(421, "wrong_host", "The Host header names another machine.", "Use http://127.0.0.1.")
            if scope["path"].startswith(_GUARDED):
                scope["caller"] = caller = self._caller(headers)
                client = scope.get("client") or ("",)
                self._rates.take(f"address {client[0]}" if caller is ANYBODY else f"key {caller.name}")
        except ApiError as error:
            await error_response(error, scope["request_id"])(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _caller(self, headers: Headers) -> Caller:
        if self._find is None:
            return ANYBODY
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise ApiError(401, "missing_key", "This needs a key.", "Send it as: Authorization: Bearer KEY.")
        caller = self._find(token.strip())
        if caller is None:
            raise ApiError(401, "unknown_key", "The key is unknown, revoked or expired.", "Ask the operator for one.")
        return caller


def _host(header: str) -> str:
    """The host that a Host header names, without its port."""
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0]
