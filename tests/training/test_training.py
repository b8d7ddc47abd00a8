"""The trainer from config to checkpoint, on random models of a few thousand parameters."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from debater_search.encoder import Encoder
from debater_search.errors import InvalidError
from debater_search.training import plan, train
from debater_search.training.adapter import make_trainable, projections
from debater_search.training.horizon import Horizon
from debater_search.training.run import Run
from debater_search.training.run_folder import keep_newest
from debater_search.training.sections import Lora
from debater_search.training.settings import TrainingSettings
from debater_search.training.starting import load_start
from debater_search.training.student import Student
from tests.training.topics import metrics


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_training_lowers_the_loss(config: Callable[..., TrainingSettings], family: str) -> None:
    folder = train(config(family, max_steps=40, save_steps=100, lora={"r": 8, "alpha": 16, "dropout": 0}))
    losses = [row["loss"] for row in metrics(folder)]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


class WithoutFloat64(TorchFunctionMode):
    """A device that has no double precision, as Apple's GPUs."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.dtype == torch.float64:
            raise TypeError(f"{func} made a float64 tensor")
        return made


@pytest.mark.parametrize("more", [{}, {"readout": "residual", "loss": {"teacher": "base", "teacher_lexical": 0.3}}])
def test_training_needs_no_double_precision(config: Callable[..., TrainingSettings], more: dict[str, Any]) -> None:
    with WithoutFloat64():
        train(config("bert", max_steps=2, save_steps=2, warm_start={"steps": 1, "batch_size": 4}, **more))


def test_a_run_leaves_checkpoint_metrics_and_picture(config: Callable[..., TrainingSettings]) -> None:
    settings = config(warm_start={"steps": 2, "batch_size": 4})
    folder = train(settings)
    assert {"debater.json", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json"} <= {
        path.name for path in folder.iterdir()
    }
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == [f"checkpoint-{step}" for step in (0, 2, 4, 6)]
    assert len(metrics(folder, "warm start")) == 2
    row = metrics(folder)[-1]
    assert {"step", "contrast", "distill", "learning_rate", "examples/s", "tokens/s"} <= set(row)
    made_by = json.loads((folder / "debater.json").read_text())["provenance"]
    assert made_by["config"]["learning_rate"] == settings.learning_rate
    assert made_by["step"] == 6
    assert set(made_by) == {"config", "data", "rows", "hub_data", "versions", "step", "metrics"}


def test_the_rate_rises_and_decays_over_the_steps_really_run(config: Callable[..., TrainingSettings]) -> None:
    rates = [row["learning_rate"] for row in metrics(train(config(max_steps=10)))]
    assert rates[0] == 0
    assert max(rates) == rates[2] == 1e-2
    assert rates[-1] == pytest.approx(1e-2 / 8)


def test_epochs_and_a_share_of_warmup_follow_the_data(config: Callable[..., TrainingSettings]) -> None:
    settings = config(epochs=2.5, warmup_ratio=0.4, save_steps=100)  # twelve rows: two steps per epoch
    assert plan(settings).facts["steps"] == 5
    rates = [row["learning_rate"] for row in metrics(train(settings))]
    assert rates == pytest.approx([0, 0.5e-2, 1e-2, 1e-2 * 2 / 3, 1e-2 / 3])


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, Horizon(6, 2, 6)),
        ({"epochs": 1e-9}, Horizon(1, 2, 1)),
        ({"epochs": 3, "decay_steps": "epoch"}, Horizon(30, 2, 30)),
        ({"epochs": 0.5, "decay_steps": "epoch"}, Horizon(5, 2, 10)),
        ({"decay_steps": 50, "warmup_ratio": 0.0}, Horizon(6, 0, 50)),
    ],
)
def test_steps_are_those_that_the_settings_ask_for(
    config: Callable[..., TrainingSettings], more: dict[str, Any], wanted: Horizon
) -> None:
    assert Horizon.of(config(**more), 10) == wanted


def test_only_the_newest_checkpoints_and_the_best_are_kept(
    config: Callable[..., TrainingSettings], development: Path
) -> None:
    evaluation = {"task": str(development), "every": 2}
    folder = train(config(save_steps=1, save_total_limit=2, max_steps=5, eval=evaluation))
    assert sorted(path.name for path in folder.glob("*[0-9]")) == ["checkpoint-4", "checkpoint-5"]
    assert (folder / "best").is_dir()


def test_checkpoints_without_a_state_do_not_count_as_kept(tmp_path: Path) -> None:
    for step in (2, 4, 6, 8):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if step != 8:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    keep_newest(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-4", "checkpoint-6", "checkpoint-8"]
    keep_newest(tmp_path, 5)
    assert len([*tmp_path.iterdir()]) == 3


def test_a_checkpoint_loads_in_plain_peft(config: Callable[..., TrainingSettings]) -> None:
    from peft import PeftModel
    from transformers import AutoModel

    folder = train(config("llama"))
    ours = Encoder.load(folder, device="cpu")
    texts = ["wing and lift"]
    [ids] = ours.token_ids(texts, "document")
    base = AutoModel.from_pretrained(
        json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    )
    with torch.no_grad():
        states = PeftModel.from_pretrained(base, folder)(input_ids=torch.tensor([ids])).last_hidden_state[0, -3:]
    assert abs(ours.deliberate(texts)[0] - torch.nn.functional.normalize(states, dim=-1).numpy()).max() < 1e-5


def test_trained_thinking_tokens_are_part_of_the_adapter(config: Callable[..., TrainingSettings]) -> None:
    from safetensors.torch import load_file

    settings = config()
    start = Encoder.load(settings.model, thinking_steps=3, device="cpu")
    weights = load_file(train(settings) / "adapter_model.safetensors")
    [tokens] = [tensor for name, tensor in weights.items() if "trainable_tokens" in name]
    before = start.model.backbone.get_input_embeddings().weight[1:4]
    assert tokens.shape == before.shape
    assert not torch.allclose(tokens, before, atol=1e-4)


def test_last_layers_alone_are_adapted_and_the_rest_stays_as_it_starts(config: Callable[..., TrainingSettings]) -> None:
    from safetensors.torch import load_file

    settings = config(readout="residual", thinking_weight=0.5, lora={"r": 4, "dropout": 0, "last_layers": 1})
    start = Encoder.load(settings.model, thinking_steps=3, device="cpu")
    folder = train(settings)
    weights = load_file(folder / "adapter_model.safetensors")
    learned = {name.partition(".layer.")[2].partition(".")[0] for name in weights if "lora_B" in name}
    assert learned == {str(start.model.backbone.config.num_hidden_layers - 1)}
    assert all(tensor.any() for name, tensor in weights.items() if "lora_B" in name)
    trained = Encoder.load(folder, device="cpu")
    assert trained.spec.thinking_weight == 0.5
    before, after = (encoder.model.backbone.get_input_embeddings().weight[1:4] for encoder in (start, trained))
    assert torch.equal(before, after)


def test_published_reserved_tokens_keep_their_embeddings(
    config: Callable[..., TrainingSettings], minicpm_base: Path
) -> None:
    run = Run(config(model=str(minicpm_base), thinking_steps=8), Path("unused"), "cpu", False)
    trainable = [name for name, p in run.student.model.named_parameters() if p.requires_grad]
    assert trainable
    assert all("lora_" in name for name in trainable)


@pytest.mark.parametrize("family", ["bert", "llama", "minicpm3"])
def test_lora_is_on_every_projection(tiny_model: Callable[..., Path], family: str) -> None:
    encoder = Encoder.load(tiny_model(family), device="cpu")
    inside = [n for n, m in encoder.model.backbone.named_modules() if isinstance(m, torch.nn.Linear)]
    assert {n for n in inside if any(n.endswith(f".{p}") for p in projections(encoder.model.backbone))} == set(inside)
    student = Student(encoder)
    make_trainable(student, Lora(r=2, alpha=4, dropout=0), gradient_checkpointing=False)
    adapted = {n for n, _ in student.model.backbone.named_modules() if n.endswith("lora_A")}
    assert len(adapted) == len(inside)


def test_training_goes_on_from_an_adapter_that_is_not_merged(config: Callable[..., TrainingSettings]) -> None:
    first = config(max_steps=2)
    folder = train(first)
    start = load_start(config(model=str(folder)), "cpu")
    before = Encoder.load(first.model, device="cpu", thinking_steps=3).model.backbone.state_dict()
    layer = start.model.backbone.base_model.model.encoder.layer[0].attention.self.query
    assert torch.equal(layer.base_layer.weight, before["encoder.layer.0.attention.self.query.weight"])
    merged = Student(Encoder.load(folder, device="cpu"))
    with pytest.raises(InvalidError, match="merged into its base model"):
        make_trainable(merged, Lora(), gradient_checkpointing=False)


def test_full_weights_are_trained_and_saved_without_lora(config: Callable[..., TrainingSettings]) -> None:
    folder = train(config(lora=None, learning_rate=1e-3))
    assert (folder / "model.safetensors").is_file()
    assert not (folder / "adapter_config.json").exists()
    assert Encoder.load(folder, device="cpu").thinking_steps == 3


def test_a_checkpoint_can_be_trained_on_with_fewer_steps(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    first = train(config(max_steps=1))
    second = train(config(model=str(first), thinking_steps=1, max_steps=1), output=tmp_path / "second")
    assert Encoder.load(second, device="cpu").deliberate(["wing"]).shape == (1, 1, 32)


def test_full_weights_of_an_adapter_are_not_trained_and_that_is_said(
    config: Callable[..., TrainingSettings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = train(config(max_steps=1))
    second = train(config(model=str(first), lora=None, max_steps=1), output=tmp_path / "second")
    assert "adapter" in caplog.text
    assert (second / "adapter_config.json").is_file()


def test_an_adapter_is_trained_on_as_it_is_and_that_is_said_where_the_config_asks_for_another(
    config: Callable[..., TrainingSettings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lora = {"r": 4, "alpha": 8, "dropout": 0, "last_layers": 1}
    first = train(config(lora=lora, max_steps=1))
    train(config(model=str(first), lora=lora, max_steps=1), output=tmp_path / "same")
    assert "adapter" not in caplog.text
    second = train(config(model=str(first), lora=lora | {"r": 2, "last_layers": None}), output=tmp_path / "second")
    assert "with r 4, last_layers 1, not what lora asks for" in caplog.text
    tokens = [Encoder.load(f, device="cpu").model.backbone.get_input_embeddings().weight[1:4] for f in (first, second)]
    assert torch.equal(*tokens)


def test_a_saved_adapter_names_its_projections_in_one_order(config: Callable[..., TrainingSettings]) -> None:
    names = json.loads((train(config(max_steps=1)) / "adapter_config.json").read_text())["target_modules"]
    assert len(names) > 1
    assert names == sorted(names)


def test_a_warm_start_without_thinking_tokens_is_left_out(
    config: Callable[..., TrainingSettings], caplog: pytest.LogCaptureFixture
) -> None:
    folder = train(config(thinking_steps=1, warm_start={"steps": 2}, max_steps=1))
    assert "warm_start is left out" in caplog.text
    assert metrics(folder, "warm start") == []


def test_a_checkpoint_is_a_start_for_more_training(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    first = train(config())
    second = train(config(model=str(first)), output=tmp_path / "second")
    vectors = [Encoder.load(folder, device="cpu").deliberate(["wing"]) for folder in (first, second)]
    assert vectors[0].shape == vectors[1].shape == (1, 3, 32)
    assert abs(vectors[0] - vectors[1]).max() > 1e-4


def test_the_checkpoint_knows_its_search_instruction(config: Callable[..., TrainingSettings]) -> None:
    encoder = Encoder.load(train(config(search_instruction="find:", max_steps=2)), device="cpu")
    assert encoder.token_ids(["wing"], "query") == encoder.token_ids(["wing"], "query", "find:")


def test_warm_start_brings_the_last_step_to_the_base_models_embedding(
    config: Callable[..., TrainingSettings],
) -> None:
    folder = train(config(warm_start={"steps": 60, "batch_size": 12, "learning_rate": 1e-2}, max_steps=1))
    distance = [row["distance"] for row in metrics(folder, "warm start")]
    assert distance[-1] < 0.5 * distance[0]
