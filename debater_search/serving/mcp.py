"""The agents' door: an MCP server over standard input and output, or mounted in the HTTP server. Extra: `mcp`."""

import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from debater_search.errors import UnavailableError
from debater_search.extras import require
from debater_search.serving.errors import ApiError, error_response
from debater_search.serving.indexes import named
from debater_search.serving.service import Service
from debater_search.serving.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp.server.transport_security import TransportSecuritySettings

log = logging.getLogger(__name__)

PATH = "/mcp"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def serve_stdio(indexes: Sequence[str | Path], settings: Settings, stdout: TextIO) -> None:
    """Serve index folders to the agent that started this process, until it closes our standard input.

    The models are loaded behind the first requests. `stdout` is the standard output of the process, which gets the
    protocol and nothing else.

    Raises:
        DebaterError: the library `mcp` is not installed, or a folder is no index.

    """
    require("mcp", extra="mcp")
    import anyio

    from debater_search.serving.tools import make_server

    server = make_server(Service(named(indexes), settings), alone=True)
    with redirect_stdout(stdout):  # the library takes it for itself, and what others print goes to standard error
        anyio.run(server.run_stdio_async)


def add(app: "FastAPI", service: Service) -> AbstractAsyncContextManager[object] | None:
    """Mount the tools at /mcp/ in the HTTP server, if the library `mcp` is installed; the context runs its sessions.

    The gate has checked key and host. Each request stands for itself, so only POST is answered.
    """
    try:
        require("mcp", extra="mcp")
    except UnavailableError as error:
        log.info("Agents are not served at %s/: %s", PATH, error)
        return None
    from debater_search.serving.tools import make_server

    server = make_server(service)
    server.streamable_http_app(
        stateless_http=True,
        json_response=True,
        max_request_body_size=service.settings.body_bytes,
        transport_security=_origins(service.settings),
    )
    door = _Door(server.session_manager)
    for path in (PATH, f"{PATH}/"):
        app.router.routes.append(Route(path, door, include_in_schema=False))
    return server.session_manager.run()


class _Door:
    def __init__(self, manager: "StreamableHTTPSessionManager") -> None:
        self._manager = manager

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        scope["mounted"] = PATH
        if scope["method"] == "POST":
            await self._manager.handle_request(scope, receive, send)
        else:
            refused = ApiError(405, "method_not_allowed", "This path takes POST only.", "Send POST.")
            refused.headers = {"Allow": "POST"}
            await error_response(refused, scope["request_id"])(scope, receive, send)


def _origins(settings: Settings) -> "TransportSecuritySettings":
    """Where there are no keys, a page of another origin may not call the tools."""
    from mcp.server.transport_security import TransportSecuritySettings

    if settings.any_host:
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    hosts = [f"{host}{port}" for host in _LOOPBACK for port in ("", ":*")]
    origins = [f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts]
    return TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=[*origins, *settings.allow_origins])
