"""The published recipes' backbones: their sizes, so that a run is planned where neither files nor hub are at hand."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

SIZES: dict[str, dict[str, Any]] = {
    # arXiv 2404.06395, table of MiniCPM-1.2B and 2.4B; the vocabulary of its released config
    "openbmb/MiniCPM-2B-sft-bf16": {
        "model_type": "minicpm",
        "hidden_size": 2304,
        "intermediate_size": 5760,
        "num_hidden_layers": 40,
        "num_attention_heads": 36,
        "num_key_value_heads": 36,
        "vocab_size": 122753,
    },
    # its config is what the class in transformers has as defaults
    "openbmb/MiniCPM3-4B": {"model_type": "minicpm3"},
}
"""Hub id → what `config.json` says of sizes."""
THINKING_TOKENS = 64
"""Reserved tokens of MiniCPM that the stand-in has."""


@contextmanager
def stand_in(model: str) -> Iterator[Path]:
    """A model folder with the sizes of one of `SIZES`, without weights, which reads each word as one token."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokens = ["<unk>", "<s>", "</s>", *(f"<reserved_{number}>" for number in range(THINKING_TOKENS))]
    tokenizer = Tokenizer(models.WordLevel({token: number for number, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(tokens[1:])
    with TemporaryDirectory(prefix="debater-") as temporary:
        folder = Path(temporary)
        (folder / "config.json").write_text(json.dumps(SIZES[model]), encoding="utf-8")
        tokenizer.save(str(folder / "tokenizer.json"))
        yield folder
