"""Try an index type before anything is encoded: FAISS accepts factory strings that later abort the process.

`check_type` runs this module as a process of its own, which builds an index of a few vectors and searches it.
"""

import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from debater_search.errors import InvalidError, UnavailableError
from debater_search.vectors.base import VectorSettings
from debater_search.vectors.faiss.library import has_cuvs, import_faiss
from debater_search.vectors.faiss.planner import AUTO, CAGRA, TYPES

_VECTORS = 300  # enough to train 8-bit codes
_PATIENCE = 30  # seconds; rotations of many dimensions are slow to train, and not wrong
_MOST_MEMORY = 16 * 10**9  # bytes of address space
_UNTRAINED = 3  # exit status: the type may be sound, but needs more vectors
_GRAPH = re.compile(r"(?:HNSW|NSG)(\d+)")


def check_type(type: str, dim: int) -> None:
    """Refuse a type that cannot be built here: it must be a name of TYPES, `auto`, `cagra` or a FAISS factory string.

    Raises:
        InvalidError: there is no such type, or FAISS cannot build it for vectors of `dim` dimensions.
        UnavailableError: the type needs a GPU or a library that is missing.

    """
    faiss = import_faiss()
    if type in (AUTO, *TYPES):
        return
    if type == CAGRA:
        if not has_cuvs():
            raise UnavailableError(
                "The index type cagra is built by NVIDIA's cuVS, and this FAISS does not have it, or finds no GPU.",
                'With a GPU: pip install "debater-search[cuvs]", instead of [cpu] or [gpu]. Without: type hnsw.',
            )
        return
    try:
        index = faiss.index_factory(dim, type, faiss.METRIC_INNER_PRODUCT) if _has_links(type) else None
    except (RuntimeError, MemoryError):
        index = None
    if isinstance(index, faiss.IndexRefine | faiss.IndexIDMap):
        raise InvalidError(
            f"The index type {type!r} asks for what is done in any case: rescoring, and the numbering of vectors.",
            "Leave RFlat, Refine(…) and IDMap out of the factory string.",
        )
    if index is None or not _survives(type, dim):
        raise InvalidError(
            f"There is no index type {type!r}: it is not a name, and FAISS cannot build it for inner products of "
            f"{dim} dimensions.",
            f"Types: {', '.join([AUTO, *TYPES, CAGRA])}, or a FAISS factory string such as OPQ64,IVF1024,PQ64x4fs.",
        )


def _has_links(type: str) -> bool:
    """Whether each graph has at least two links per vector; with fewer, building aborts or never ends."""
    return all(match[1].lstrip("0") not in ("", "1") for match in _GRAPH.finditer(type))


def _survives(type: str, dim: int) -> bool:
    """Whether a process that builds and searches such an index ends well, or is merely slow."""
    command = [sys.executable, "-m", __name__, type, str(dim)]
    on_cpu = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    quiet = subprocess.DEVNULL
    try:
        ended = subprocess.run(
            command, env=on_cpu, stdin=quiet, stdout=quiet, stderr=quiet, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return True
    return ended.returncode in (0, _UNTRAINED)


def main(arguments: Sequence[str]) -> int:
    """Build and search an index of random vectors; the exit status says how that went."""
    from debater_search.vectors.faiss.build import build_index
    from debater_search.vectors.faiss.index import FaissIndex

    type, dim = arguments
    for limit, most in ((resource.RLIMIT_AS, _MOST_MEMORY), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # not every system lets a process limit itself
            resource.setrlimit(limit, (most, most))
    import_faiss().omp_set_num_threads(1)
    rows = np.random.default_rng(0).standard_normal((_VECTORS, int(dim))).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="debater-trial-") as folder:
        path = Path(folder) / "index"
        try:
            build_index([rows], int(dim), VectorSettings(type), path)
        except InvalidError:
            return _UNTRAINED
        FaissIndex.load(path).search(rows[:3], 5)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
