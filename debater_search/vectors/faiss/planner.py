"""Which index fits: the types by name, and how `auto` chooses."""

import os
import re
from dataclasses import dataclass
from math import isqrt

from debater_search.errors import InvalidError

# The names users give → FAISS factory strings. `lists` and `parts` follow from the number of vectors and dimensions.
# All but flat, hnsw and ivf keep coded vectors, whose best candidates are rescored with the float vectors.
TYPES = {
    "flat": "Flat",
    "hnsw": "HNSW32",
    "ivf": "IVF{lists},Flat",
    "sq8": "IVF{lists},SQ8",
    "ivfpq": "IVF{lists},PQ{parts}x4fs",
    "binary": "IVF{lists},RaBitQ",
}
AUTO = "auto"
ASKED = ", as asked for"
# A graph that cuVS builds on a GPU, many times faster than a CPU builds `hnsw`; from then on it is one.
CAGRA = "cagra"

_SCANNABLE = 20_000_000  # numbers (vectors × dimensions) that one core compares with a query in about 3 ms
_GRAPHABLE = 4_000_000  # vectors; the graph of more takes a CPU hours to build
POINTS_A_LIST = 40  # to train on; FAISS warns below 39
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Plan:
    """The index to build: its type (a name of TYPES, or the user's factory string), the factory string, and why."""

    type: str
    factory: str
    reason: str


def make_plan(
    type: str, vectors: int, dim: int, *, memory: int | None = None, recall: float = 0.95, gpus: int = 0
) -> Plan:
    """Plan an index of `vectors` vectors.

    `auto` takes the fastest type that fits into `memory`, in bytes (default: half of the machine's). It takes exact
    search if that is fast anyway, or if `recall` is 1.
    """
    if type == CAGRA:
        return Plan(type, TYPES["hnsw"], f"{type} ({TYPES['hnsw']}, its graph by cuVS){ASKED}")
    if type not in (AUTO, *TYPES):
        return Plan(type, type, f"{type}{ASKED}")
    if type != AUTO:
        factory = _factory(type, vectors, dim)
        return Plan(type, factory, f"{type} ({factory}){ASKED}")
    type, why = _choose(vectors, dim, memory or _half_of_the_machine(), recall, gpus)
    factory = _factory(type, vectors, dim)
    return Plan(type, factory, f"{type} ({factory}): {vectors:,} vectors of {dim} dimensions {why}")


def parse_memory(text: str) -> int:
    """Bytes from "4GB", "500 MB", "1.5G"; a unit is a power of 1,000.

    Raises:
        InvalidError: the text is not an amount of memory above 0.

    """
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    size = int(float(match[1]) * _UNITS[match[2].upper()]) if match else 0
    if size < 1:
        raise InvalidError(f"{text!r} is not an amount of memory.", "Examples: 500MB, 4GB.")
    return size


def _factory(type: str, vectors: int, dim: int) -> str:
    return TYPES[type].format(lists=_lists(vectors), parts=dim // 2 if dim % 2 == 0 else dim)


def _lists(vectors: int) -> int:
    """Inverted lists: about 4√n, and enough vectors for each."""
    return max(1, min(4 * isqrt(vectors), vectors // POINTS_A_LIST))


def _choose(vectors: int, dim: int, memory: int, recall: float, gpus: int) -> tuple[str, str]:
    if vectors * dim <= _SCANNABLE:
        return "flat", "are few enough to compare all with each query"
    if recall >= 1:
        return "flat", "and a recall of 1 leave only exact search"
    fastest = "ivf" if gpus or vectors > _GRAPHABLE else "hnsw"
    for type in (fastest, "sq8", "ivfpq", "binary"):
        size = vectors * _bytes_a_vector(type, dim)
        if size <= memory:
            return type, f"take {_size(size)} of the {_size(memory)} there are"
    return "binary", f"take {_size(size)}, more than the {_size(memory)} there are, and nothing is smaller"


def _bytes_a_vector(type: str, dim: int) -> int:
    """What stays in memory: codes, links and ids. The float vectors behind codes stay on disk, mapped."""
    return {
        "hnsw": 4 * dim + 280,
        "ivf": 4 * dim + 8,
        "sq8": dim + 8,
        "ivfpq": -(-dim // 4) + 8,
        "binary": -(-dim // 8) + 16,
    }[type]


def _half_of_the_machine() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size / 1e6, 0.1):.3g} MB"
