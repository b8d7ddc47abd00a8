"""The HTTP door: search, documents, embeddings and reranking over open indexes, as an ASGI application.

`make_app(indexes, Settings())` is the application; `debater serve` runs it. It needs the extra `serve`.
"""

from typing import TYPE_CHECKING, Any

from debater_search.extras import require

if TYPE_CHECKING:
    from debater_search.serving.app import make_app as make_app
    from debater_search.serving.settings import Settings as Settings

__all__ = ["Settings", "make_app", "require_libraries"]

LIBRARIES = ("fastapi", "uvicorn", "httptools", "prometheus_client")
"""What the extra `serve` installs."""


def require_libraries() -> None:
    """Raise UnavailableError, which names the extra, if a library is not installed."""
    for library in LIBRARIES:
        require(library, extra="serve")


def __getattr__(name: str) -> Any:
    if name == "Settings":
        from debater_search.serving.settings import Settings

        return Settings
    if name == "make_app":
        require_libraries()
        from debater_search.serving.app import make_app

        return make_app
    raise AttributeError(f"module 'debater_search.serving' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
