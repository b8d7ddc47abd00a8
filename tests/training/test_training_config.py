"""What a config may say, and mistakes that are found before anything is trained."""

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from debater_search.encoder import Encoder
from debater_search.encoder.loading.hub import locate
from debater_search.errors import DebaterError
from debater_search.indexing import build
from debater_search.training import (
    is_released_config,
    load_config,
    plan,
    train,
    translate_released_config,
)
from debater_search.training.batches import TrainingData
from debater_search.training.run import Run
from debater_search.training.sections import Lora, Thinking
from debater_search.training.settings import TrainingSettings
from debater_search.types import Document
from tests.training.topics import WORDS, metrics


def test_judgements_are_a_set_with_the_texts_of_an_index_beside_the_config(tmp_path: Path) -> None:
    build([Document(f"d{n}", f"text {n}") for n in range(4)], None, tmp_path / "papers")
    rows = [{"index": "papers", "query": f"query {n // 2}", "id": f"d{n}", "relevant": not n % 2} for n in range(4)]
    (tmp_path / "judged.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {"model": "minilm", "output": "x", "batch_size": 2}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config | {"data": [{"path": "judged.jsonl", "corpus": "papers"}]}))
    (examples,) = TrainingData(load_config(tmp_path / "c.yaml")).sets
    assert [examples.example(row).negatives for row in range(2)] == [("text 1",), ("text 3",)]
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config | {"data": [{"path": "judged.jsonl"}]}))
    with pytest.raises(DebaterError, match="holds judgements"):
        TrainingData(load_config(tmp_path / "c.yaml"))


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"max_length": {"query": 32, "document": 10}}, r"max_length\.document \(10\) leaves no room"),
        ({"max_length": {"query": 32, "document": 34}}, r"max_length\.document \(34\) leaves no room"),
        ({"max_length": {"query": 2, "document": 60}}, r"max_length\.query \(2\) leaves no room"),
        ({"search_instruction": "find " * 32}, "behind the instruction"),
        ({"warm_start": {"steps": 1, "length": 10}}, r"warm_start\.length \(10\) leaves no room"),
    ],
)
def test_a_limit_that_leaves_nothing_of_a_text_is_found_at_the_start(
    config: Callable[..., TrainingSettings], mistake: dict, sentence: str
) -> None:
    folder = train(config("llama", max_steps=1))
    with pytest.raises(DebaterError, match=sentence):
        train(config("llama", **mistake), force=True)
    assert (folder / "debater.json").is_file()


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("max_length.document=4", r"max_length\.document is 4, but it must be above 8"),
        ("warm_start={steps: 1, length: 8}", r"warm_start\.length is 8, but it must be above 8"),
    ],
)
def test_a_limit_below_the_thinking_tokens_is_found_in_the_config(tmp_path: Path, override: str, sentence: str) -> None:
    (tmp_path / "c.yaml").write_text("model: m\noutput: o\ndata: [{path: x}]\n")
    with pytest.raises(DebaterError, match=sentence):
        load_config(tmp_path / "c.yaml", [override])


@pytest.mark.parametrize("name", ["document", "query"])
def test_the_least_length_that_is_named_is_enough(config: Callable[..., TrainingSettings], name: str) -> None:
    lengths = {"query": 32, "document": 60}
    with pytest.raises(DebaterError) as told:
        plan(config("llama", max_length=lengths | {name: 4 if name == "document" else 1}))
    least = re.fullmatch(rf"Set max_length\.{name} to (\d+) or more\.", str(told.value.hint))
    assert least is not None
    assert plan(config("llama", max_length=lengths | {name: int(least[1])}))


def test_a_model_that_could_not_be_saved_is_refused_at_the_start(
    config: Callable[..., TrainingSettings], tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "dense"
    shutil.copytree(tiny_model("bert"), folder)
    modules = [("", "Transformer"), ("1", "Pooling"), ("2", "Dense")]
    (folder / "modules.json").write_text(
        json.dumps([{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in modules])
    )
    (folder / "1").mkdir()
    (folder / "1" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (folder / "2").mkdir()
    (folder / "2" / "config.json").write_text(json.dumps({"in_features": 32, "out_features": 4, "bias": False}))
    save_file({"linear.weight": torch.zeros(4, 32)}, folder / "2" / "model.safetensors")
    with pytest.raises(DebaterError, match="dense layers"):
        train(config(model=str(folder), thinking_steps=1))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "mistake",
    [
        "gradient_cache=true",
        "gradient_cache=-1",
        "seed=-1",
        f"seed={2**63}",
        "learning_rate=.inf",
        "loss.mask_margin=.nan",
    ],
)
def test_numbers_that_training_cannot_use_are_refused(tmp_path: Path, mistake: str) -> None:
    (tmp_path / "c.yaml").write_text("model: m\noutput: o\ndata: [{path: x}]\n")
    with pytest.raises(DebaterError, match=mistake.partition("=")[0]) as told:
        load_config(tmp_path / "c.yaml", [mistake])
    assert told.value.hint != "Mend it in the config."  # it says what the setting means


def test_an_endless_temperature_reaches_processes_as_it_is(config: Callable[..., TrainingSettings]) -> None:
    settings = config(temperature=math.inf)
    assert TrainingSettings.model_validate(json.loads(settings.model_dump_json())) == settings


def test_shorter_dimensions_than_the_models_are_trained_and_longer_ones_refused(
    config: Callable[..., TrainingSettings],
) -> None:
    assert plan(config(loss={"matryoshka": [8, 32]}))
    with pytest.raises(DebaterError, match="names 64 dimensions, and the model has 32"):
        plan(config(loss={"matryoshka": [8, 64]}))


def test_sets_of_the_same_name_are_told_apart(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    shutil.copyfile(config().data[0].path, tmp_path / "more" / "rows.jsonl")
    paths = [str(tmp_path / "rows.jsonl"), str(tmp_path / "more" / "rows.jsonl")]
    planned = plan(config(data=[{"path": path} for path in paths]))
    assert planned.facts["sets"] == dict.fromkeys(paths, len(WORDS))
    assert [example["set"] for example in planned.examples] == paths


def test_paths_in_a_config_are_relative_to_it(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    values = {"model": "minilm", "output": "out", "data": [{"path": "rows.jsonl"}]}
    config()
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    settings = load_config(tmp_path / "c.yaml", ["loss.scale=20", "lora.r=4"])
    assert len(TrainingData(settings.model_copy(update={"batch_size": 4})).sets[0]) == len(WORDS)
    assert (settings.loss.scale, settings.lora and settings.lora.r) == (20, 4)


def test_models_in_a_config_are_folders_beside_it(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "other").mkdir()
    loss = {
        "teacher": "base",
        "teacher_models": [{"name": "one", "model": "other"}, {"name": "two", "model": "minilm"}],
    }
    values = {"model": "base", "output": "out", "data": [{"path": "rows.jsonl"}], "loss": loss}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    settings = load_config(tmp_path / "c.yaml")
    found = [settings.model, *(teacher.model for teacher in settings.loss.teacher_models)]
    assert found == [str(tmp_path / "base"), str(tmp_path / "other"), "minilm"]


@pytest.mark.parametrize("name", ["debater-small", "demo", "minicpm2-2b", "minicpm3-4b", "smollm2-135m"])
def test_every_shipped_config_is_valid(name: str) -> None:
    path = Path(__file__).parents[2] / "configs" / f"{name}.yaml"
    assert load_config(path).thinking_steps == 8


def test_a_released_config_is_recognised_and_its_translation_is_valid(tmp_path: Path) -> None:
    released = {
        "model_name_or_path": "openbmb/MiniCPM-2B-sft-bf16", "dataset_file_path": "cache/echo-data",
        "pooling_mode": "M_token", "per_device_train_batch_size": 64, "gradient_accumulation_steps": 1,
        "learning_rate": 2e-4, "warmup_steps": 300, "stop_after_n_steps": 1000, "lora_r": 16, "max_seq_length": 512,
        "output_dir": "output/x", "bf16": True,
    }  # fmt: skip
    (tmp_path / "released.json").write_text(json.dumps(released))
    (tmp_path / "ours.yaml").write_text("model: m\noutput: o\ndata: [{path: x}]\n")
    assert is_released_config(tmp_path / "released.json")
    assert not is_released_config(tmp_path / "ours.yaml")
    translated = translate_released_config(tmp_path / "released.json")
    assert "bf16" in translated
    (tmp_path / "translated.yaml").write_text(translated)
    settings = load_config(tmp_path / "translated.yaml")
    assert (settings.batch_size, settings.max_steps, settings.thinking_steps) == (256, 1000, 8)
    assert settings.lora is not None
    assert settings.lora.alpha == 32


@pytest.mark.parametrize(
    ("more", "key", "wanted"),
    [
        ({"lora_r": "8"}, "lora", Lora(r=8, alpha=16).model_dump()),
        ({"max_steps": -1, "num_train_epochs": 1}, "max_steps", 1000),
        ({"lr_scheduler_type": "constant"}, "schedule", "linear"),
        ({"per_device_train_batch_size": "16", "gradient_accumulation_steps": 2}, "batch_size", 128),
        ({"pooling_mode": "last_token"}, "thinking", Thinking(steps=1).model_dump()),
        ({"learning_rate": "1e-4"}, "learning_rate", 1e-4),
    ],
)
def test_unusual_released_configs_translate_to_valid_ones(tmp_path: Path, more: dict, key: str, wanted: object) -> None:
    (tmp_path / "old.json").write_text(json.dumps({"model_name_or_path": "m", "dataset_file_path": "d", **more}))
    (tmp_path / "new.yaml").write_text(translate_released_config(tmp_path / "old.json"))
    assert load_config(tmp_path / "new.yaml").model_dump()[key] == wanted


def test_a_released_config_with_a_number_that_is_none_names_it(tmp_path: Path) -> None:
    old = {"model_name_or_path": "m", "dataset_file_path": "d", "per_device_train_batch_size": "many"}
    (tmp_path / "old.json").write_text(json.dumps(old))
    with pytest.raises(DebaterError, match=r"per_device_train_batch_size is 'many'"):
        translate_released_config(tmp_path / "old.json")


def test_a_preset_lies_below_the_configs_own_settings(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("preset: paper\nmodel: m\noutput: o\ndata: [{path: x}]\nloss: {scale: 20}\n")
    paper = load_config(tmp_path / "c.yaml", ["warmup_steps=7"])
    assert (paper.loss.combine, paper.loss.scale, paper.schedule, paper.warmup_steps) == ("sum", 20, "cosine", 7)
    released = load_config(tmp_path / "c.yaml", ["preset=released-code"])
    assert (released.loss.combine, released.decay_steps, released.batch_size) == ("mean", "epoch", 256)
    for recipe in (paper, released):  # as the published code
        assert not recipe.loss.mask_duplicates
        assert (recipe.max_length.query, recipe.max_length.document) == (512, 512)
    with pytest.raises(DebaterError, match="preset"):
        load_config(tmp_path / "c.yaml", ["preset=papers"])


def test_a_dry_run_says_what_training_would_do_and_writes_nothing(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    settings = config("llama", save_steps=100)
    planned = plan(settings)
    student = Run(settings, Path("unused"), "cpu", False).student
    parameters = list(student.model.parameters())
    assert planned.facts["parameters"] == sum(p.numel() for p in parameters)
    assert planned.facts["trainable"] == sum(p.numel() for p in parameters if p.requires_grad)
    assert planned.facts["rows"] == planned.facts["with_negatives"] == len(WORDS)
    assert planned.facts["ignored_fields"] == {}
    assert not (tmp_path / "out").exists()
    row = metrics(train(settings))[0]
    measured = row["tokens/s"] / row["examples/s"] * settings.batch_size
    assert planned.facts["tokens_per_step"] == pytest.approx(measured, rel=0.2)
    [example] = planned.examples
    assert "what of wing" in example["query"]
    assert "represent the above text" in example["positive"]  # as the model reads it


@pytest.mark.parametrize("digits", [18, 400])
@pytest.mark.parametrize(
    "name",
    ["max_steps", "warmup_steps", "batch_size", "thinking.steps", "decay_steps", "save_steps", "negatives", "lora.r"],
)
def test_numbers_that_can_be_no_counts_are_refused(tmp_path: Path, name: str, digits: int) -> None:
    (tmp_path / "c.yaml").write_text("model: m\noutput: o\ndata: [{path: a}]\n", encoding="utf-8")
    with pytest.raises(DebaterError, match=rf"{name} is 9+…?, but it must be|{name}: a whole number is at most"):
        load_config(tmp_path / "c.yaml", [f"{name}={'9' * digits}"])


def test_a_dry_run_beside_a_run_plans_and_names_it(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert plan(config()).facts["taken"] is None
    (tmp_path / "out" / "debater.json").write_text("{}")
    planned = plan(config())
    assert planned.facts["taken"] == f"{tmp_path / 'out'} holds a finished training run."
    assert planned.facts["memory_per_device"] > 0
    assert plan(config(), force=True).facts["taken"] is None
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(DebaterError, match="holds files that are not a training run's"):
        plan(config())


def test_a_dry_run_without_the_data_estimates_by_lengths(config: Callable[..., TrainingSettings]) -> None:
    settings = config(data=[{"path": "elsewhere.jsonl"}])
    planned = plan(settings, without_data=True)
    assert planned.facts["tokens_per_step"] == 6 * (32 + 2 * 60)
    assert planned.facts["memory_per_device"] >= plan(config()).facts["memory_per_device"]
    assert (planned.facts["rows"], planned.examples) == (0, [])


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"data": [{"path": "nowhere.jsonl"}]}, "nowhere"),
        ({"model": "nowhere"}, "nowhere"),
        ({"eval": {"task": "nowhere"}}, "nowhere"),
        ({"report_to": ["tensorbored"]}, "tensorbored"),
        ({"max_length": {"query": 2, "document": 60}}, "leaves no room"),
        ({"batch_size": 13}, "12 rows, fewer than one batch"),
        ({"max_length": {"query": 32, "document": 600}}, "max_length.document is 600, but .* at most 64 tokens"),
        ({"loss": {"teacher": "kl"}}, "no row of the data has a teacher's scores"),
        ({"max_steps": 10**9, "save_steps": 1}, "do not fit on the disk"),
    ],
)
def test_a_dry_run_fails_on_what_training_would_fail_on(
    config: Callable[..., TrainingSettings], mistake: dict, sentence: str
) -> None:
    with pytest.raises(DebaterError, match=sentence):
        plan(config(**mistake))


@pytest.mark.parametrize("family", ["bert", "llama", "minicpm3"])
def test_a_model_without_weights_has_the_shapes_of_one_with_them(
    tiny_model: Callable[..., Path], family: str, tmp_path: Path
) -> None:
    folder = tmp_path / "shapes"
    shutil.copytree(tiny_model(family), folder)
    whole = Encoder.load(folder, thinking_steps=3, device="cpu")
    (folder / "model.safetensors").unlink()
    shapes = Encoder.load(folder, thinking_steps=3, device="cpu", weights=False)
    assert {n: p.shape for n, p in shapes.model.named_parameters()} == {
        n: p.shape for n, p in whole.model.named_parameters()
    }
    assert all(p.is_meta for p in shapes.model.parameters())
    assert shapes.token_ids(["wing"], "document") == whole.token_ids(["wing"], "document")


def test_a_set_without_an_instruction_among_others_that_have_one_is_named(
    config: Callable[..., TrainingSettings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = str(tmp_path / "rows.jsonl")
    shutil.copyfile(config().data[0].path, tmp_path / "more.jsonl")
    plan(config(data=[{"path": rows, "instruction": "find:"}, {"path": str(tmp_path / "more.jsonl")}]))
    assert "No instruction is set for more.jsonl" in caplog.text


def test_a_model_folder_that_is_missing_is_named_where_it_was_looked_for(tmp_path: Path) -> None:
    folder = tmp_path / "configs"
    folder.mkdir()
    config = {"model": "../models/mine", "output": "x", "data": [{"path": "rows.jsonl"}]}
    (folder / "c.yaml").write_text(yaml.safe_dump(config))
    settings = load_config(folder / "c.yaml")
    with pytest.raises(DebaterError, match=re.escape(f"no model '{tmp_path}/models/mine': no such folder")):
        locate(settings.model)


def test_a_plan_warns_that_the_learning_rate_does_not_rise_to_its_peak(
    config: Callable[..., TrainingSettings], caplog: pytest.LogCaptureFixture
) -> None:
    plan(config(max_steps=4, warmup_steps=3), device="cpu")
    assert "peak" not in caplog.text
    plan(config(max_steps=4, warmup_steps=300), device="cpu")
    assert "it rises over 300 steps of 4" in caplog.text


def test_a_plan_warns_of_fewer_checkpoints_than_are_averaged(
    config: Callable[..., TrainingSettings], caplog: pytest.LogCaptureFixture
) -> None:
    plan(config(max_steps=6, save_steps=2, average_last=3), device="cpu")
    assert "average_last" not in caplog.text
    plan(config(max_steps=6, save_steps=50, average_last=3), device="cpu")
    assert "average_last is 3, but a run of 6 steps with save_steps 50 has 1 checkpoint to average." in caplog.text


def test_a_plan_names_the_sets_without_scores_where_rows_teach(
    config: Callable[..., TrainingSettings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [json.loads(line) for line in Path(config().data[0].path).read_text(encoding="utf-8").splitlines()]
    scored = [{**row, "positive_scores": [2.0], "negative_scores": [1.0]} for row in rows]
    (tmp_path / "scored.jsonl").write_text("".join(json.dumps(row) + "\n" for row in scored), encoding="utf-8")
    sets = [{"path": str(tmp_path / "scored.jsonl")}, {"path": str(tmp_path / "rows.jsonl")}]
    plan(config(data=sets), device="cpu")
    assert "scores" not in caplog.text
    plan(config(data=sets, loss={"teacher": "kl"}), device="cpu")
    assert "loss.teacher is kl, but no row of rows has a teacher's scores." in caplog.text


def test_an_override_is_blamed_for_what_it_makes_of_a_section(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("model: m\noutput: o\ndata: [{path: x.jsonl}]\nmax_length:\n  document: 64\n  search: 128\n")
    with pytest.raises(
        DebaterError, match=r"Override 'max_length.search=10': .*search \(10\) is below document \(64\)"
    ):
        load_config(file, ["max_length.search=10"])
    with pytest.raises(DebaterError, match=r"train.yaml, line 4: .*search \(128\) is below document \(999\)"):
        load_config(write_with(file, "document: 64", "document: 999"), ["batch_size=4"])


def write_with(file: Path, old: str, new: str) -> Path:
    """The file with something else in it."""
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    return file


def test_a_plan_says_how_much_of_a_text_search_will_read(config: Callable[..., TrainingSettings]) -> None:
    assert plan(config(), device="cpu").facts["search_length"] == 60
    longer = {"query": 32, "document": 60, "search": 62}
    assert plan(config(max_length=longer), device="cpu").facts["search_length"] == 62
