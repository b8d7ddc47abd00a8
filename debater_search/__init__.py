"""debater: train, index, search and evaluate encoders that deliberate before they search.

Importing this package is light: each public name loads its module on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from debater_search.encoder import Encoder as Encoder
    from debater_search.errors import DebaterError as DebaterError
    from debater_search.evaluation.comparison import compare as compare
    from debater_search.evaluation.evaluate import evaluate as evaluate
    from debater_search.search import SearchEngine as SearchEngine

__version__ = "0.2.0"

_HOME = {
    "DebaterError": "debater_search.errors",
    "Encoder": "debater_search.encoder",
    "SearchEngine": "debater_search.search",
    "compare": "debater_search.evaluation",
    "evaluate": "debater_search.evaluation",
}
_PACKAGES = ("encoder", "evaluation", "export", "indexing", "mining", "search", "serving", "training")

__all__ = ["DebaterError", "Encoder", "SearchEngine", "__version__", "compare", "evaluate"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _PACKAGES:
        return import_module(f"debater_search.{name}")
    raise AttributeError(f"module 'debater_search' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_PACKAGES])
