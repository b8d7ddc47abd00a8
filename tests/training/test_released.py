"""Configs of the paper's released code mean what they meant there."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from debater_search.errors import DebaterError
from debater_search.training import TrainingSettings, is_released_config, translate_released_config
from debater_search.training.echo_data import INSTRUCTIONS, SEARCH_INSTRUCTION
from debater_search.training.released import settings_of
from debater_search.training.sections import Lora, Thinking

ROOT = Path(__file__).parents[2]

RECIPE_2B = {
    "model_name_or_path": "openbmb/MiniCPM-2B-sft-bf16",
    "pooling_mode": "M_token",
    "dataset_name": "E5",
    "dataset_file_path": "cache/echo-data",
    "remove_unused_columns": False,
    "learning_rate": 2e-4,
    "num_train_epochs": 1,
    "warmup_steps": 300,
    "per_device_train_batch_size": 64,
    "per_device_eval_batch_size": 64,
    "gradient_accumulation_steps": 1,
    "do_train": True,
    "disable_tqdm": False,
    "max_seq_length": 512,
    "overwrite_output_dir": True,
    "output_dir": "output/debater-2b",
    "logging_steps": 10,
    "save_steps": 200,
    "save_only_model": True,
    "stop_after_n_steps": 1000,
    "lora_r": 16,
    "gradient_checkpointing": True,
    "torch_dtype": "bfloat16",
    "attn_implementation": "flash_attention_2",
    "seed": 42,
}
RECIPES = {
    "minicpm2-2b": RECIPE_2B,
    "minicpm3-4b": {**RECIPE_2B, "model_name_or_path": "openbmb/MiniCPM3-4B", "output_dir": "output/debater-4b"},
}

LORA = Lora().model_dump()


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, **values: Any) -> Path:
    path = folder / "released.json"
    path.write_text(json.dumps({"model_name_or_path": "m", "dataset_file_path": "d", **values}), encoding="utf-8")
    return path


def meaning(path: Path) -> TrainingSettings:
    return TrainingSettings.model_validate(settings_of(path)[0])


@pytest.mark.parametrize("name", RECIPES)
def test_the_published_recipes_are_those_of_our_configs_but_for_the_schedule(workdir: Path, name: str) -> None:
    for file in INSTRUCTIONS:
        (workdir / "cache" / "echo-data").mkdir(parents=True, exist_ok=True)
        (workdir / "cache" / "echo-data" / f"{file}.jsonl").touch()
    ours = TrainingSettings.model_validate(yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text()))
    theirs, remarks = settings_of(written(workdir, **RECIPES[name]))
    theirs_in_full = TrainingSettings.model_validate(theirs).model_dump()
    differ = {key for key, value in ours.model_dump().items() if theirs_in_full[key] != value}
    assert differ == {"preset", "data_folder", "decay_steps", "output"}
    assert theirs_in_full["decay_steps"] == "epoch"
    assert not any("Not carried over" in remark for remark in remarks)


@pytest.mark.parametrize("name", RECIPES)
def test_our_configs_name_the_published_files_with_their_instructions(name: str) -> None:
    config = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert {Path(item["path"]).stem: item["instruction"] for item in config["data"]} == INSTRUCTIONS
    assert config["search_instruction"] == SEARCH_INSTRUCTION


def test_every_file_of_the_folder_is_a_set_and_unknown_ones_are_said_to_have_no_instruction(workdir: Path) -> None:
    (workdir / "d").mkdir()
    for file in ("nq.jsonl", "mine.jsonl", "allnli.jsonl.gz", "README.md"):
        (workdir / "d" / file).touch()
    settings, remarks = settings_of(written(workdir))
    assert settings["data"] == [
        {"path": "allnli.jsonl.gz", "instruction": INSTRUCTIONS["allnli"]},
        {"path": "nq.jsonl", "instruction": INSTRUCTIONS["nq"]},
        {"path": "mine.jsonl"},
    ]
    assert settings["data_folder"] == str(workdir / "d")
    assert "Without an instruction, as they are not of the published data: mine.jsonl." in remarks
    [lacking] = [remark for remark in remarks if remark.startswith("Published, but not in d")]
    assert "fever" in lacking
    assert "nq" not in lacking.replace(",", " ").split()


def test_a_single_file_is_a_set(workdir: Path) -> None:
    (workdir / "d").mkdir()
    (workdir / "d" / "fever.jsonl").touch()
    settings, _ = settings_of(written(workdir, dataset_file_path="d/fever.jsonl"))
    assert settings["data_folder"] == str(workdir / "d")
    assert settings["data"] == [{"path": "fever.jsonl", "instruction": INSTRUCTIONS["fever"]}]


def test_data_that_is_not_there_yet_is_taken_to_be_all_of_it(workdir: Path) -> None:
    settings, remarks = settings_of(written(workdir))
    assert [item["path"] for item in settings["data"]] == [f"{name}.jsonl" for name in INSTRUCTIONS]
    assert remarks[0].startswith("There is no folder d:")


def test_a_folder_without_data_is_refused(workdir: Path) -> None:
    (workdir / "d").mkdir()
    with pytest.raises(DebaterError, match=r"no \.jsonl file in d") as error:
        settings_of(written(workdir))
    assert "data_folder=FOLDER" in error.value.hint


def test_another_data_folder_is_looked_into(workdir: Path) -> None:
    (workdir / "elsewhere").mkdir()
    (workdir / "elsewhere" / "squad.jsonl").touch()
    settings, _ = settings_of(written(workdir), ["seed=1", "data_folder=elsewhere"])
    assert [item["path"] for item in settings["data"]] == ["squad.jsonl"]


@pytest.mark.parametrize(
    ("more", "key", "wanted"),
    [
        ({"lora_r": "8"}, "lora", {**LORA, "r": 8, "alpha": 16}),
        (
            {"lora_r": 8, "lora_dropout": 0.1},
            "lora",
            {**LORA, "r": 8, "alpha": 16, "dropout": 0.1},
        ),
        ({}, "lora", LORA),
        ({"max_steps": -1, "num_train_epochs": 1}, "max_steps", 1000),
        ({"max_steps": 500, "stop_after_n_steps": 100}, "max_steps", 100),
        ({"max_steps": 500, "stop_after_n_steps": 100}, "decay_steps", 500),
        ({"stop_after_n_steps": 100}, "decay_steps", "epoch"),
        ({"lr_scheduler_type": "polynomial"}, "schedule", "linear"),
        ({"lr_scheduler_type": "constant_with_warmup"}, "schedule", "constant"),
        ({"per_device_train_batch_size": "16", "gradient_accumulation_steps": 2}, "batch_size", 128),
        ({"pooling_mode": "last_token"}, "thinking", Thinking(steps=1).model_dump()),
        ({"pooling_mode": "M_token"}, "thinking", Thinking(steps=8).model_dump()),
        ({"learning_rate": "1e-4"}, "learning_rate", 1e-4),
        ({"seed": None}, "seed", 42),
        ({"max_seq_length": 128}, "max_length", {"query": 128, "document": 128, "search": None}),
    ],
)
def test_unusual_values_mean_valid_settings(workdir: Path, more: dict[str, Any], key: str, wanted: object) -> None:
    assert meaning(written(workdir, **more)).model_dump()[key] == wanted


def test_plain_training_of_the_released_code_has_no_distillation(workdir: Path) -> None:
    loss = meaning(written(workdir, pooling_mode="last_token", loss_scale=20)).loss
    assert (loss.distill, loss.scale) == (False, 20)


def test_what_has_no_counterpart_is_said(workdir: Path) -> None:
    _, remarks = settings_of(written(workdir, peft_model_name_or_path="x", bidirectional=True, bf16=True))
    assert "Not carried over: bidirectional, peft_model_name_or_path." in remarks


def test_a_number_that_is_none_is_named(workdir: Path) -> None:
    with pytest.raises(DebaterError, match=r"per_device_train_batch_size is 'many'"):
        settings_of(written(workdir, per_device_train_batch_size="many"))


def test_the_translation_is_a_config_with_its_remarks(workdir: Path) -> None:
    path = written(workdir, bidirectional=True)
    text = translate_released_config(path)
    assert "# Not carried over: bidirectional.\n" in text
    assert yaml.safe_load(text) == settings_of(path)[0]


def test_only_the_released_codes_words_make_a_released_config(workdir: Path) -> None:
    assert is_released_config(written(workdir))
    (workdir / "ours.yaml").write_text("model: m\noutput: o\ndata: [{path: x}]\n")
    assert not is_released_config(workdir / "ours.yaml")
    (workdir / "half.json").write_text('{"model_name_or_path": "m", "dataset_file_path"}', encoding="utf-8")
    assert not is_released_config(workdir / "half.json")
