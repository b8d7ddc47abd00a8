"""The page of model families, from the tests' tables and the code's. It takes seconds: models are laid out."""

import torch
from transformers import AutoModel
from transformers.utils import logging

from debater_search.encoder.families import BOTH_WAYS, native_config
from debater_search.encoder.loading.thinking import PREFIX_MASK_FAMILIES, WITHOUT_PREFIX_MASK
from debater_search.encoder.speed.attention import PACKED
from debater_search.encoder.speed.pruning import LAYERS
from debater_search.training.adapter import projections
from tests.encoder.test_families import DECODERS, ENCODERS

INTRODUCTION = """# Model families

Families of models whose tests compare our vectors with those of plain transformers, alone and in a batch; made by
`make reference`. Others load where transformers has a class that gives a state of each token of a text. MiniCPM
(`minicpm`) is read as `granite`.

- **Thinking**: `thinking_steps` above 1 in training.
- **Both ways**: `bidirectional: true` in training.
- **Packed**: sequences are laid end to end, without padding, under FlashAttention 2; others are padded.
- **Last layer**: computed only where it is read.
- **LoRA**: the layers that it adapts by default; `lora.targets` chooses others.

"""
HEADER = ("family", "kind", "thinking", "both ways", "packed", "last layer", "LoRA")


def table() -> str:
    """The document."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        rows = [_row(family) for family in (*sorted(DECODERS), *sorted(ENCODERS))]
    finally:
        logging.set_verbosity(verbosity)
    lines = [HEADER, ("---",) * len(HEADER), *rows]
    return INTRODUCTION + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _row(family: str) -> tuple[str, ...]:
    decodes = family in DECODERS
    config = native_config({"model_type": family, **(DECODERS | ENCODERS)[family]})
    with torch.device("meta"):
        layers = sorted({name.rpartition(".")[2] for name in projections(AutoModel.from_config(config))})
    thinks = decodes or family in PREFIX_MASK_FAMILIES
    return (
        f"`{family}`",
        "decoder" if decodes else "encoder",
        "yes" if thinks else f"no: {WITHOUT_PREFIX_MASK[family]}",
        _yes(family in BOTH_WAYS) if decodes else "always",
        _yes(family in PACKED),
        _yes(family in LAYERS),
        ", ".join(layers) or "none",
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"
