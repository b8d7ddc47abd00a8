"""The FAISS library, imported on first use and through here only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from debater_search.errors import UnavailableError

WHEELS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu12", "faiss-gpu-cuvs")
"""Packages that bring the library; they share their files."""


def require_one_faiss() -> None:
    """Raise UnavailableError if two wheels of FAISS are installed: they overwrite each other's files.

    It imports nothing, so that it can come before all that takes time.
    """
    found = installed_wheels()
    if len(found) < 2:
        return
    ways = [
        f"To keep {wheel}: pip uninstall {' '.join(other for other in found if other != wheel)} && "
        f"pip install --force-reinstall --no-deps {wheel}."
        for wheel in reversed(found)
    ]
    cpu = f", {found[0]} otherwise" if found[0] == WHEELS[0] else ""
    raise UnavailableError(
        f"{' and '.join(found)} are both installed and overwrite each other's files: "
        f"keep {found[-1]} if this machine has an NVIDIA GPU{cpu}.",
        " ".join(ways),
    )


def installed_wheels() -> list[str]:
    """The packages of FAISS that are installed."""
    return [wheel for wheel in WHEELS if _installed(wheel)]


def require_faiss() -> None:
    """Raise UnavailableError if FAISS is not installed, or twice; it is not imported, which takes time."""
    require_one_faiss()
    if find_spec("faiss") is None:
        raise _not_installed()


@cache
def follows_torch() -> bool:
    """Whether FAISS must not be imported before torch: a wheel for GPUs."""
    return any(wheel != WHEELS[0] for wheel in installed_wheels())


def import_faiss() -> Any:
    """The faiss module.

    Raises:
        UnavailableError: it is not installed, or two of its wheels are, which overwrite each other's files.

    """
    require_one_faiss()
    try:
        return import_module("faiss")
    except ImportError as error:
        if error.name == "faiss":
            raise _not_installed() from None
        raise UnavailableError(f"The FAISS library does not load: {error}.", _INSTALL) from None


def read_mapped(path: Path) -> Any:
    """The FAISS index in a file, mapped where its type can be. Raises RuntimeError as FAISS does, and OSError."""
    faiss = import_faiss()
    with _named(path, os.O_RDONLY) as name:
        return faiss.read_index(name, faiss.IO_FLAG_MMAP_IFC)


def write(index: Any, path: Path) -> None:
    """Write a FAISS index to a file. Raises RuntimeError as FAISS does, and OSError."""
    with _named(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC) as name:
        import_faiss().write_index(index, name)


@contextmanager
def _named(path: Path, flags: int) -> Iterator[str]:
    """A name for a file that FAISS takes: it knows UTF-8 only. Another file is opened, and has a name among those."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        descriptor = os.open(path, flags, 0o666)
        try:
            yield f"/dev/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        yield str(path)


def gpu_count() -> int:
    """How many GPUs FAISS can use; 0 with its CPU wheel."""
    faiss = import_faiss()
    return int(faiss.get_num_gpus()) if hasattr(faiss, "get_num_gpus") else 0


def has_cuvs() -> bool:
    """Whether FAISS can use NVIDIA's cuVS, on a GPU that is there."""
    return gpu_count() > 0 and "CUVS" in import_faiss().get_compile_options()


_INSTALL = "Install it: pip install faiss-cpu."


def _not_installed() -> UnavailableError:
    return UnavailableError("The FAISS library is not installed.", _INSTALL)


def _installed(wheel: str) -> bool:
    try:
        distribution(wheel)
    except PackageNotFoundError:
        return False
    return True
