"""Try an index type before anything is encoded: FAISS accepts factory strings that later abort the process.

`check_type` runs this module as a process of its own, which builds an index of a few vectors and searches it.
"""

import logging
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from debater_search.errors import InvalidError, UnavailableError
from debater_search.vectors.base import VectorSettings
from debater_search.vectors.faiss.library import has_cuvs, import_faiss, require_faiss
from debater_search.vectors.faiss.planner import AUTO, CAGRA, TYPES

logger = logging.getLogger(__name__)

_VECTORS = 300  # enough to train 8-bit codes
_PATIENCE = 30  # seconds; a type that takes longer is slow to train, which is no fault
_ROOM = 4 * 10**9  # bytes; a type that takes more for a few vectors is a typing error
_USUAL_DIMS = (768, 384, 1024, 2304, 1280, 96)
_SOUND, _WRAPPED, _UNAVAILABLE = 0, 3, 4  # exit statuses
_GRAPH = re.compile(r"(?:HNSW|NSG)(\d+)")


def check_type(type: str, dim: int | None) -> None:
    """Refuse a type that cannot be built here: it must be a name of TYPES, `auto`, `cagra` or a FAISS factory string.

    Without `dim`, as before a model is loaded, FAISS is not imported by this process, and a factory string is only
    parsed, for usual numbers of dimensions.

    Raises:
        InvalidError: there is no such type, or FAISS cannot build it for vectors of `dim` dimensions.
        UnavailableError: the type needs a GPU or a library that is missing.

    """
    require_faiss()
    if dim is not None:
        import_faiss()  # one that does not load must not be found after the corpus is encoded
    if type in (AUTO, *TYPES):
        return
    if type == CAGRA:
        if not has_cuvs():
            raise UnavailableError(
                "The index type cagra is built by NVIDIA's cuVS, and this FAISS does not have it, or finds no GPU.",
                "With a GPU: pip uninstall -y faiss-cpu && pip install faiss-gpu-cuvs. Without: type hnsw.",
            )
        return
    if dim is not None:
        logger.info("Trying the index type %s on a few vectors.", type)
    status = _try(type, dim) if _has_links(type) else None
    if status == _WRAPPED:
        raise InvalidError(
            f"The index type {type!r} asks for what is done in any case: rescoring, and the numbering of vectors.",
            "Leave RFlat, Refine(…) and IDMap out of the factory string.",
        )
    if status == _UNAVAILABLE:
        import_faiss()  # says why
    if status != _SOUND:
        of = f" of {dim} dimensions" if dim is not None else ""
        raise InvalidError(
            f"There is no index type {type!r}: it is not a name, and FAISS cannot build it for inner products{of}.",
            f"Types: {', '.join([AUTO, *TYPES, CAGRA])}, or a FAISS factory string such as OPQ64,IVF1024,PQ64x4fs.",
        )


def _has_links(type: str) -> bool:
    """Whether each graph has at least two links per vector; with fewer, building aborts or never ends."""
    return all(match[1].lstrip("0") not in ("", "1") for match in _GRAPH.finditer(type))


def _try(type: str, dim: int | None) -> int | None:
    """The exit status of a process that builds and searches such an index; _SOUND if it is merely slow."""
    command = [sys.executable, "-m", __name__, str(dim or 0), type]
    alone = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL
    try:
        ended = subprocess.run(
            command, env=alone, stdin=quiet, stdout=quiet, stderr=quiet, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return _SOUND
    except ValueError:  # a text that cannot be an argument
        return None
    return ended.returncode


def main(arguments: Sequence[str]) -> int:
    """Build and search an index of random vectors, given the number of dimensions (0: only parse) and the type."""
    from debater_search.vectors.faiss.build import TooFewVectorsError, build_index
    from debater_search.vectors.faiss.index import FaissIndex

    dim, type = int(arguments[0]), arguments[1]
    try:
        faiss = import_faiss()
    except UnavailableError:
        return _UNAVAILABLE
    _limit_resources()
    index = next(_made(type, [dim] if dim else _USUAL_DIMS))
    if isinstance(index, faiss.IndexRefine | faiss.IndexIDMap):
        return _WRAPPED
    if dim == 0:
        return _SOUND
    rows = np.random.default_rng(0).standard_normal((_VECTORS, dim)).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="debater-trial-") as folder:
        path = Path(folder) / "index"
        with suppress(TooFewVectorsError):  # there may be more in the index
            build_index([rows], dim, VectorSettings(type), path)
            FaissIndex.load(path).search(rows[:3], 5)
    return _SOUND


def _made(type: str, dims: Sequence[int]) -> Iterator[Any]:
    """Empty indexes of a type, for those of the numbers of dimensions that it takes; the error of the last if none."""
    faiss = import_faiss()
    for dim in dims:
        try:
            yield faiss.index_factory(dim, type, faiss.METRIC_INNER_PRODUCT)
        except RuntimeError:
            if dim == dims[-1]:
                raise


def _limit_resources() -> None:
    """Let this process take no more than _ROOM beyond what its libraries have mapped, and leave no core file."""
    with suppress(ValueError, OSError):  # systems without /proc, or without such limits
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + _ROOM, mapped + _ROOM))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
