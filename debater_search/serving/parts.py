"""What can be added to the API: judgements, the agents' tools (MCP), the page.

A module of a part has a function `add(app, service)`. It includes a router in the application, or mounts another
application in it, and returns a context that is entered while the server runs, or None. Its routes take their caller
from `callers` (`Judge`, `Searcher`, …), which checks the scope, and their service from `routes.service`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from importlib import import_module

from fastapi import FastAPI
from starlette.routing import Route

from debater_search.serving.service import Service
from debater_search.serving.settings import Settings
from debater_search.serving.static import Page

Part = Callable[[FastAPI, Service], AbstractAsyncContextManager[object] | None]
"""`add(app, service)` of a module."""


def parts_of(settings: Settings) -> Iterator[Part]:
    """The parts that the settings ask for, in the order in which their paths are looked at."""
    if settings.judgements is not None:
        yield import_module("debater_search.serving.routes.judgements").add
    if settings.mcp:
        yield import_module("debater_search.serving.mcp").add
    if settings.page:
        yield add_page


def add_page(app: FastAPI, _: Service) -> None:
    """Serve the page: the static files beside /. A path of the API never leads to them, whatever its method."""
    page = Page()
    for path in ("/", "/{file}"):
        app.router.routes.append(Route(path, page, include_in_schema=False))
