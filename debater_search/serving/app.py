"""The ASGI application: middleware, routes, and what runs while it is served."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

import debater_search
from debater_search.serving.access import Access
from debater_search.serving.description import describe
from debater_search.serving.errors import install_handlers
from debater_search.serving.indexes import named
from debater_search.serving.keys import KeyFile
from debater_search.serving.limits import Limits, Rates
from debater_search.serving.parts import parts_of
from debater_search.serving.routes import documents, embeddings, health, indexes, rerank, search
from debater_search.serving.security import Gate
from debater_search.serving.service import Service
from debater_search.serving.settings import Settings

DEFAULTS = Settings()
ROUTERS = tuple(module.router for module in (health, indexes, search, documents, embeddings, rerank))


def make_app(indexes: Sequence[str | Path], settings: Settings = DEFAULTS) -> FastAPI:
    """An ASGI application that serves index folders; `app.state.service` is its `Service`.

    Its lifespan opens the indexes in a thread: until then searches are answered with 503, and so is /readyz.

    Raises:
        DebaterError: a folder is no index, two have one name, or a file that the settings name is not what it must be.

    """
    service = Service(named(indexes), settings)
    stack = AsyncExitStack()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with stack:
            for context in contexts:
                await stack.enter_async_context(context)
            service.start()
            stack.callback(service.close)
            yield

    app = FastAPI(
        title="debater",
        version=debater_search.__version__,
        summary="Search indexes, read documents, encode and rerank texts.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a proxy's clients would be sent to this machine's own address
        lifespan=lifespan,
    )
    app.state.service = service
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    install_handlers(app)
    for router in ROUTERS:
        app.include_router(router)
    _add_middleware(app, service)
    contexts = [context for part in parts_of(settings) if (context := part(app, service)) is not None]
    return app


def _add_middleware(app: FastAPI, service: Service) -> None:
    """The layers around the routes; what is added last is the outermost."""
    settings = service.settings
    app.add_middleware(Limits, settings=settings)
    find_caller = None if settings.keys is None else KeyFile(settings.keys).find
    app.add_middleware(Gate, find_caller=find_caller, rates=Rates(settings.rate), any_host=settings.any_host)
    if settings.allow_origins:  # outside the gate: a browser asks first, without a key
        app.add_middleware(CORSMiddleware, **_cors(settings.allow_origins))
    app.add_middleware(Access, metrics=service.metrics)


def _cors(origins: tuple[str, ...]) -> dict[str, Any]:
    return {
        "allow_origins": list(origins),
        "allow_methods": ["GET", "POST", "PUT", "DELETE"],
        "allow_headers": ["Authorization", "Content-Type"],
        "expose_headers": ["X-Request-Id", "Retry-After"],
        "max_age": 600,
    }
