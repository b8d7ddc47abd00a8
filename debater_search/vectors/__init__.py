"""Vector indexes: a seam (`VectorIndex`, `VectorBackend`) and the backends behind it. No torch."""

from collections.abc import Callable

from debater_search.errors import InvalidError
from debater_search.vectors.base import Selection, VectorBackend, VectorIndex, VectorSettings


def _faiss() -> VectorBackend:
    from debater_search.vectors.faiss import FaissBackend

    return FaissBackend()


def _milvus() -> VectorBackend:
    from debater_search.vectors.milvus import MilvusBackend

    return MilvusBackend()


BACKENDS: dict[str, Callable[[], VectorBackend]] = {"faiss": _faiss, "milvus": _milvus}
"""The backends by the name that records keep; each is imported when it is first used."""


def backend(name: str) -> VectorBackend:
    """The backend of this name; InvalidError if there is none."""
    if name not in BACKENDS:
        raise InvalidError(f"There is no vector backend {name!r}.", f"Backends: {', '.join(BACKENDS)}.")
    return BACKENDS[name]()


__all__ = [
    "BACKENDS",
    "Selection",
    "VectorBackend",
    "VectorIndex",
    "VectorSettings",
    "backend",
]
