"""The FAISS library, imported on first use and through here only."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from debater_search.errors import DebaterError

_CPU_WHEEL = "faiss-cpu"
_GPU_WHEELS = ("faiss-gpu", "faiss-gpu-cu12", "faiss-gpu-cuvs")


def import_faiss() -> Any:
    """The faiss module.

    Raises:
        DebaterError: it is not installed, or two of its wheels are, which overwrite each other's files.

    """
    gpu = [wheel for wheel in _GPU_WHEELS if _installed(wheel)]
    if gpu and _installed(_CPU_WHEEL):
        raise DebaterError(
            f"{_CPU_WHEEL} and {gpu[0]} are both installed and overwrite each other's files: "
            f"uninstall {_CPU_WHEEL} if this machine has an NVIDIA GPU, else {gpu[0]}.",
            f"With a GPU: pip uninstall {_CPU_WHEEL} && pip install --force-reinstall --no-deps {gpu[0]}. "
            f"Without: pip uninstall {gpu[0]} && pip install --force-reinstall --no-deps {_CPU_WHEEL}.",
        )
    try:
        return import_module("faiss")
    except ImportError as error:
        if error.name == "faiss":
            message = "The FAISS library is not installed."
        else:
            message = f"The FAISS library does not load: {error}."
        raise DebaterError(message, 'Install it: pip install "debater-search[cpu]".') from None


def gpu_count() -> int:
    """How many GPUs FAISS can use; 0 with its CPU wheel."""
    faiss = import_faiss()
    return int(faiss.get_num_gpus()) if hasattr(faiss, "get_num_gpus") else 0


def _installed(wheel: str) -> bool:
    try:
        distribution(wheel)
    except PackageNotFoundError:
        return False
    return True
