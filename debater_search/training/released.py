"""JSON configs of the paper's released code: recognised, and said in our words."""

from pathlib import Path
from typing import Any

import yaml

from debater_search.config import read_mapping
from debater_search.errors import DebaterError

MARKS = ("model_name_or_path", "dataset_file_path")
STEPS = {"M_token": 8, "last_token": 1}
SCHEDULES = ("linear", "cosine")
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

    def whole(name: str, default: int) -> int:
        value = take(name, default)
        try:
            return int(value)
        except (TypeError, ValueError):
            raise DebaterError(f"{path}: {name} is {value!r}, not a whole number.", "Mend it in the config.") from None

    rank, steps = whole("lora_r", 16), STEPS.get(take("pooling_mode", "M_token"), 1)
    length, schedule = whole("max_seq_length", 512), take("lr_scheduler_type", "linear")
    max_steps = whole("stop_after_n_steps", whole("max_steps", 1000))
    new = {
        "model": old["model_name_or_path"],
        "thinking_steps": steps,
        "data": [{"path": old["dataset_file_path"]}],
        "loss": {"scale": take("loss_scale", 30.0), "contrast": "max", "distill": steps > 1},
        "lora": {"r": rank, "alpha": whole("lora_alpha", 2 * rank), "dropout": take("lora_dropout", 0.05)},
        "max_length": {"query": length, "document": length},
        "batch_size": DEVICES * whole("per_device_train_batch_size", 64) * whole("gradient_accumulation_steps", 1),
        "gradient_checkpointing": take("gradient_checkpointing", False),
        "learning_rate": take("learning_rate", 2e-4),
        "warmup_steps": whole("warmup_steps", 300),
        "schedule": schedule if schedule in SCHEDULES else "linear",
        "max_steps": max_steps if max_steps > 0 else 1000,  # -1 leaves the end to the epochs
        "save_steps": whole("save_steps", 200),
        "seed": whole("seed", 42),
        "output": take("output_dir", "checkpoints/released"),
    }
    left = sorted(set(old) - known)
    remarks = [
        "Translated from a config of the released code.",
        f"batch_size counts all processes; the released code counts per device ({DEVICES} devices assumed).",
        "data: name each .jsonl file of that folder, with its instruction.",
        "The rate decays over max_steps; in the released code it decays over the epoch.",
        *([f"There is no schedule {schedule!r} here: linear instead."] if schedule not in SCHEDULES else []),
        *([f"Not carried over: {', '.join(left)}."] if left else []),
    ]
    return "".join(f"# {line}\n" for line in remarks) + yaml.safe_dump(new, sort_keys=False, allow_unicode=True)
