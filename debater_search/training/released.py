"""JSON configs of the paper's released code: recognised, and said in our words."""

from pathlib import Path
from typing import Any

import yaml

from debater_search.config import read_mapping

MARKS = ("model_name_or_path", "dataset_file_path")
STEPS = {"M_token": 8, "last_token": 1}
DEVICES = 4
"""Cards of the published recipe: the released code counts its batch per device."""


def is_released_config(path: str | Path) -> bool:
    """Whether a config file speaks the released code's language."""
    return all(mark in read_mapping(path) for mark in MARKS)


def translate_released_config(path: str | Path) -> str:
    """The equivalent config in our form, as YAML with remarks on what differs."""
    old = read_mapping(path)
    known = set(MARKS)

    def take(name: str, default: Any) -> Any:
        known.add(name)
        value = old.get(name)
        return default if value is None else value

    rank = take("lora_r", 16)
    new = {
        "model": old["model_name_or_path"],
        "thinking_steps": STEPS.get(take("pooling_mode", "M_token"), 8),
        "data": [{"path": old["dataset_file_path"]}],
        "loss": {
            "scale": float(take("loss_scale", 30.0)),
            "contrast": "max",
            "distill": take("pooling_mode", "M_token") == "M_token",
        },
        "lora": {"r": rank, "alpha": take("lora_alpha", 2 * rank), "dropout": take("lora_dropout", 0.05)},
        "max_length": {"query": take("max_seq_length", 512), "document": take("max_seq_length", 512)},
        "batch_size": take("per_device_train_batch_size", 64) * take("gradient_accumulation_steps", 1) * DEVICES,
        "gradient_checkpointing": bool(take("gradient_checkpointing", False)),
        "learning_rate": float(take("learning_rate", 2e-4)),
        "warmup_steps": take("warmup_steps", 300),
        "schedule": take("lr_scheduler_type", "linear"),
        "max_steps": take("stop_after_n_steps", take("max_steps", 1000)),
        "save_steps": take("save_steps", 200),
        "seed": take("seed", 42),
        "output": take("output_dir", "checkpoints/released"),
    }
    left = sorted(set(old) - known)
    remarks = [
        "Translated from a config of the released code.",
        f"batch_size counts all processes; the released code counts per device ({DEVICES} devices assumed).",
        "data: name each .jsonl file of that folder, with its instruction.",
        "The rate decays over max_steps; in the released code it decays over the epoch.",
        *([f"Not carried over: {', '.join(left)}."] if left else []),
    ]
    return "".join(f"# {line}\n" for line in remarks) + yaml.safe_dump(new, sort_keys=False, allow_unicode=True)
