"""The OpenAPI document: what FastAPI finds, with the key, and without the errors of its own that we do not send."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_UNGUARDED = ("/healthz", "/readyz")
_FRAMEWORKS_OWN = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI) -> dict[str, Any]:
    """The document, made at the first call."""
    if app.openapi_schema is None:
        app.openapi_schema = _made(app)
    return app.openapi_schema


def _made(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    schemas = document["components"]["schemas"]
    for name in _FRAMEWORKS_OWN:
        schemas.pop(name, None)
    document["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "A key, where the server has a file of keys."}
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            if path not in _UNGUARDED:
                operation["security"] = [{"key": []}, {}]
    return document
