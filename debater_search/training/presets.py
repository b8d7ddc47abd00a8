"""Recipes to start from: what `preset` sets below a config's own settings."""

from typing import Any, Literal

Preset = Literal["default", "paper", "released-code"]

PRESETS: dict[Any, dict[str, Any]] = {
    "default": {},
    # arXiv 2502.12974v2, section 4: the terms are summed, cosine decay after 3% of warm-up, one hard negative and seven
    # negatives of the batch (eight queries).
    "paper": {
        "loss": {"combine": "sum", "mask_duplicates": False},
        "max_length": {"query": 512, "document": 512},
        "schedule": "cosine",
        "warmup_steps": 30,
        "max_steps": 1000,
        "batch_size": 8,
        "negatives": 1,
        "lora": {"r": 16, "alpha": 32, "dropout": 0.05},
    },
    # The code published with it: the terms' mean, all documents of a batch of 4 x 64 queries are negatives, and a rate
    # that would reach zero at the end of the epoch while training stops after 1000 steps.
    "released-code": {
        "loss": {"combine": "mean", "mask_duplicates": False},
        "schedule": "linear",
        "decay_steps": "epoch",
        "warmup_steps": 300,
        "max_steps": 1000,
        "batch_size": 256,
        "negatives": 1,
        "max_length": {"query": 512, "document": 512},
        "lora": {"r": 16, "alpha": 32, "dropout": 0.05},
        "gradient_checkpointing": True,
        "save_steps": 200,
    },
}
"""`default` is the released recipe with its schedule corrected: the rate decays over the steps really run."""


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, section by section."""
    out = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merged(out[key], value) if both else value
    return out
