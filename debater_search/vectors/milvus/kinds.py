"""The types of index that Milvus searches for us, and which one `auto` takes."""

from dataclasses import dataclass
from math import isqrt
from typing import Any

from debater_search.errors import InvalidError

EXACT_UP_TO = 50_000
"""`auto` compares with every vector up to so many, as FAISS's does about there."""

_LADDER = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True)
class Kind:
    """A type: Milvus's own name for it, and the parameter that says how widely a search looks."""

    milvus: str
    breadth: str | None = None
    at_least_k: bool = False
    """Whether Milvus refuses a breadth below the number of hits."""


TYPES: dict[str, Kind] = {
    "flat": Kind("FLAT"),
    "hnsw": Kind("HNSW", "ef", at_least_k=True),
    "ivf": Kind("IVF_FLAT", "nprobe"),
    "diskann": Kind("DISKANN", "search_list", at_least_k=True),
}


def check_type(type: str) -> None:
    """Raise InvalidError for a type that is not one of TYPES, or `auto`."""
    if type not in ("auto", *TYPES):
        raise InvalidError(f"The Milvus backend has no index type {type!r}.", f"Types: auto, {', '.join(TYPES)}.")


def choose(type: str, rows: int, *, lite: bool) -> tuple[str, str]:
    """The type for so many vectors, and why; milvus-lite and small collections are searched exactly."""
    if type != "auto":
        return type, f"Milvus, {TYPES[type].milvus}, as asked for"
    if lite:
        return "flat", "Milvus, FLAT: milvus-lite is searched exactly"
    if rows <= EXACT_UP_TO:
        return "flat", f"Milvus, FLAT: {rows:,} vectors are searched exactly"
    return "hnsw", f"Milvus, HNSW: more than {EXACT_UP_TO:,} vectors"


def build_parameters(type: str, rows: int) -> dict[str, Any]:
    """What Milvus builds this type with."""
    if type == "hnsw":
        return {"M": 32, "efConstruction": 200}
    return {"nlist": max(1, min(65_536, 4 * isqrt(rows)))} if type == "ivf" else {}


def breadths(type: str, rows: int) -> list[int]:
    """The breadths that are tried until recall is reached, ascending; none for an exact type."""
    if TYPES[type].breadth is None:
        return []
    widest = build_parameters(type, rows).get("nlist", _LADDER[-1])
    return [step for step in _LADDER if step < widest] + [widest]
