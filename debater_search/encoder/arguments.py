"""Arguments of `Encoder.load` that are wrong whatever the model and the machine: found without torch."""

import re

from debater_search.coerce import require_whole
from debater_search.encoder.spec import DECLARABLE_POOLINGS
from debater_search.errors import InvalidError
from debater_search.identity import INT8

FLASH = "flash_attention_2"
ATTENTIONS = ("auto", "sdpa", "eager", FLASH)
FLOATS = ("float32", "bfloat16", "float16")
"""Number types that models compute in."""
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]?))?")


def require_arguments(
    *,
    device: str = "auto",
    dtype: str = "auto",
    attention: str | None = None,
    pooling: str | None = None,
    dim: int | None = None,
    **counts: int | None,
) -> None:
    """Raise InvalidError for a name that `Encoder.load` does not know, a `dim` below 1, or int8 on a GPU.

    `counts` are other arguments that must be whole numbers.
    """
    for argument, count in counts.items():
        if count is not None:
            require_whole(count, argument)
    if not _DEVICE.fullmatch(device):
        raise InvalidError(f"There is no device called {device!r}.", "Use auto, cpu, cuda, cuda:N or mps.")
    if dtype not in ("auto", *FLOATS, INT8):
        raise InvalidError(f"There is no dtype called {dtype!r}.", f"Use auto or one of {', '.join([*FLOATS, INT8])}.")
    if dtype == INT8 and device not in ("auto", "cpu"):
        raise InvalidError(f"8-bit integers are for encoding on a CPU, not on {device}.", "Use device cpu.")
    if attention is not None and attention not in ATTENTIONS:
        raise InvalidError(f"There is no attention called {attention!r}.", f"Use one of {', '.join(ATTENTIONS)}.")
    if pooling is not None and pooling not in DECLARABLE_POOLINGS:
        raise InvalidError(f"There is no pooling called {pooling!r}.", f"Use one of {', '.join(DECLARABLE_POOLINGS)}.")
    if dim is not None and dim < 1:
        raise InvalidError(f"dim={dim} is not possible.", "Use 1 or more, up to the dimensions of the model.")
