"""Text to vectors: the protocol `TextEncoder`, and `Encoder`, which runs transformer models.

Importing this package is light: each public name loads its module on first use, so that `TextEncoder` needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from debater_search.encoder.again import load_again as load_again
    from debater_search.encoder.encoder import Encoder as Encoder
    from debater_search.encoder.protocol import PairScorer as PairScorer
    from debater_search.encoder.protocol import TextEncoder as TextEncoder
    from debater_search.encoder.reranker import Reranker as Reranker
    from debater_search.encoder.spec import EncoderSpec as EncoderSpec
    from debater_search.encoder.template import Template as Template

_HOME = {
    "Encoder": "debater_search.encoder.encoder",
    "EncoderSpec": "debater_search.encoder.spec",
    "PairScorer": "debater_search.encoder.protocol",
    "Reranker": "debater_search.encoder.reranker",
    "Template": "debater_search.encoder.template",
    "TextEncoder": "debater_search.encoder.protocol",
    "load_again": "debater_search.encoder.again",
}

__all__ = ["Encoder", "EncoderSpec", "PairScorer", "Reranker", "Template", "TextEncoder", "load_again"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
