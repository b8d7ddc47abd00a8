"""JSON configs of the paper's released code: recognised, and said in our words."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from debater_search.config import read_mapping
from debater_search.errors import InvalidError
from debater_search.training.echo_data import INSTRUCTIONS, SEARCH_INSTRUCTION, data_sets

MARKS = ("model_name_or_path", "dataset_file_path")

SAME = {
    "model_name_or_path": "model",
    "learning_rate": "learning_rate",
    "warmup_steps": "warmup_steps",
    "weight_decay": "weight_decay",
    "max_grad_norm": "max_grad_norm",
    "gradient_checkpointing": "gradient_checkpointing",
    "save_steps": "save_steps",
    "seed": "seed",
}
"""Keys that only their name differs in."""

STEPS = {"M_token": 8, "last_token": 1}
SCHEDULES = {
    "linear": "linear", "cosine": "cosine", "constant_with_warmup": "constant", "warmup_stable_decay": "wsd"
}  # fmt: skip
DEVICES = 4
"""Cards of the published recipe: the released code counts its batch per device."""

NEEDLESS = {
    "attn_implementation", "bf16", "dataset_name", "ddp_find_unused_parameters", "disable_tqdm", "do_train", "fp16",
    "logging_steps", "overwrite_output_dir", "per_device_eval_batch_size", "remove_unused_columns", "run_name",
    "save_only_model", "save_total_limit", "torch_dtype",
}  # fmt: skip
"""Keys that change nothing about the weights here: number type and attention follow the hardware."""


def is_released_config(path: str | Path) -> bool:
    """Whether a config file speaks the released code's language.

    Examples:
        >>> from debater_search.training import is_released_config
        >>> is_released_config("released.json"), is_released_config("train.yaml")
        (True, False)
    """
    read = read_mapping(path)
    return all(read.get(mark) is not None for mark in MARKS)


def settings_of(path: str | Path, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """Our settings for a released config, on top of the preset `released-code`, and remarks on what differs.

    What the file does not say is the published recipe's. Its `dataset_file_path` is relative to the working directory,
    as it is to the released code; an override of `data_folder` stands for it. Raises InvalidError for a value that
    cannot be meant.
    """
    old = {key: value for key, value in read_mapping(path).items() if value is not None}
    whole = _whole_numbers(path, old)
    new: dict[str, Any] = {"preset": "released-code"}
    remarks: list[str] = []
    new |= {ours: old[theirs] for theirs, ours in SAME.items() if theirs in old}
    new |= _thinking(old, remarks)
    new |= _data(old, overrides, remarks)
    new |= _sizes(old, whole, remarks)
    new |= _schedule(old, whole, remarks)
    new["output"] = str(old.get("output_dir", f"checkpoints/{Path(path).stem}"))
    if left := sorted(set(old) - set(MARKS) - set(SAME) - NEEDLESS - READ):
        remarks.append(f"Not carried over: {', '.join(left)}.")
    return new, remarks


def translate_released_config(path: str | Path, overrides: Sequence[str] = ()) -> str:
    """The equivalent config in our form, as YAML with remarks on what differs.

    Examples:
        >>> from debater_search.training import translate_released_config
        >>> print(translate_released_config("released.json").splitlines()[0])
        # released.json is a config of the released code. In our words:
    """
    settings, remarks = settings_of(path, overrides)
    lines = [f"{path} is a config of the released code. In our words:", *remarks]
    return "".join(f"# {' '.join(line.split())}\n" for line in lines) + yaml.safe_dump(
        settings, sort_keys=False, allow_unicode=True, width=1000
    )


READ = {
    "pooling_mode", "loss_scale", "lora_r", "lora_alpha", "lora_dropout", "max_seq_length", "output_dir",
    "per_device_train_batch_size", "gradient_accumulation_steps", "lr_scheduler_type", "max_steps",
    "stop_after_n_steps", "num_train_epochs",
}  # fmt: skip
"""Keys that the functions below translate."""


def _thinking(old: dict[str, Any], remarks: list[str]) -> dict[str, Any]:
    mode = old.get("pooling_mode", "M_token")
    if mode not in STEPS:
        remarks.append(f"pooling_mode {mode!r} is not one of {', '.join(STEPS)}: the model's own pooling instead.")
    steps = STEPS.get(mode, 1)
    loss = {"scale": old["loss_scale"]} if "loss_scale" in old else {}
    return {"thinking_steps": steps, "loss": {**loss, "contrast": "max", "distill": steps > 1}}


def _data(old: dict[str, Any], overrides: Sequence[str], remarks: list[str]) -> dict[str, Any]:
    given = [value for key, _, value in (override.partition("=") for override in overrides) if key == "data_folder"]
    place = Path(str(given[-1] if given else old["dataset_file_path"])).expanduser()
    if place.is_file():
        name = place.name.partition(".")[0]
        if name not in INSTRUCTIONS:
            remarks.append(f"{place.name} is not of the published data: its queries get no instruction.")
        sets = [{"path": place.name, **({"instruction": INSTRUCTIONS[name]} if name in INSTRUCTIONS else {})}]
        place = place.parent
    else:
        sets, told = data_sets(place)
        remarks += told
        if not sets:
            raise InvalidError(
                f"There is no .jsonl file in {place} (dataset_file_path).",
                "Name the folder of the training data: data_folder=FOLDER.",
            )
    instructed = any("instruction" in item for item in sets)
    lead = {"search_instruction": SEARCH_INSTRUCTION} if instructed else {}
    return {"data_folder": str(place.absolute()), "data": sets, **lead}


def _sizes(old: dict[str, Any], whole: Callable[[str, int], int], remarks: list[str]) -> dict[str, Any]:
    new: dict[str, Any] = {}
    if "lora_r" in old or "lora_alpha" in old or "lora_dropout" in old:
        rank = whole("lora_r", 16)
        dropout = {"dropout": old["lora_dropout"]} if "lora_dropout" in old else {}
        new["lora"] = {"r": rank, "alpha": whole("lora_alpha", 2 * rank), **dropout}
    if "max_seq_length" in old:
        length = whole("max_seq_length", 512)
        new["max_length"] = {"query": length, "document": length}
    each, accumulated = whole("per_device_train_batch_size", 64), whole("gradient_accumulation_steps", 1)
    new["batch_size"] = DEVICES * each * accumulated
    remarks.append(f"batch_size counts all processes; the released code counts each device: {DEVICES} are assumed.")
    if accumulated > 1:
        remarks.append("gradient_accumulation_steps are one batch here, and all of it gives negatives.")
    return new


def _schedule(old: dict[str, Any], whole: Callable[[str, int], int], remarks: list[str]) -> dict[str, Any]:
    """Steps until the end, and until the rate would be zero: the released code stops before its own schedule ends."""
    kind = old.get("lr_scheduler_type", "linear")
    if kind not in SCHEDULES:
        remarks.append(f"There is no schedule {kind!r} here: linear instead.")
    planned, stop = whole("max_steps", -1), whole("stop_after_n_steps", -1)  # -1 leaves the end to the epochs
    ends = [steps for steps in (planned, stop) if steps > 0]
    new: dict[str, Any] = {"schedule": SCHEDULES.get(kind, "linear"), "max_steps": min(ends, default=1000)}
    if not ends:
        remarks.append("The file names no number of steps: the published 1000.")
    if planned > 0:
        return {**new, "decay_steps": planned}
    remarks.append("The rate decays over an epoch, as in the released code; decay_steps=null: over the steps run.")
    if old.get("num_train_epochs", 1) != 1:
        remarks.append(f"num_train_epochs is {old['num_train_epochs']}; the rate decays over one of them.")
    return new


def _whole_numbers(path: str | Path, old: dict[str, Any]) -> Callable[[str, int], int]:
    def whole(name: str, default: int) -> int:
        value = old.get(name, default)
        try:
            return int(value)
        except (TypeError, ValueError):
            raise InvalidError(f"{path}: {name} is {value!r}, not a whole number.", "Mend it in the config.") from None

    return whole
