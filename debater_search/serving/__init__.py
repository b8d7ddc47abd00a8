"""The HTTP door: search, documents, embeddings and reranking over open indexes, as an ASGI application.

`make_app(indexes, Settings())` is the application; `debater serve` runs it. It needs the extra `serve`.
"""

from typing import TYPE_CHECKING, Any

from debater_search.extras import require

if TYPE_CHECKING:
    from debater_search.serving.app import make_app as make_app
    from debater_search.serving.settings import Settings as Settings

__all__ = ["Settings", "make_app"]

LIBRARIES = ("fastapi", "uvicorn", "httptools", "prometheus_client")
"""What the extra `serve` installs."""


def __getattr__(name: str) -> Any:
    if name == "Settings":
        from debater_search.serving.settings import Settings

        return Settings
    if name == "make_app":
        for library in LIBRARIES:
            require(library, extra="serve")
        from debater_search.serving.app import make_app

        return make_app
    raise AttributeError(f"module 'debater_search.serving' has no attribute {name!r}")
