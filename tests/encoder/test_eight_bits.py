"""Weights of 8 bits: what is saved with `int8` loads as float32 and finds the same."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from debater_search.encoder import Encoder
from debater_search.encoder.loading.eight_bits import quantised
from debater_search.encoder.loading.files import INT8_FILE
from debater_search.encoder.saving import save_checkpoint
from debater_search.errors import DamagedError, InvalidError
from debater_search.training.adapter import make_trainable
from debater_search.training.sections import Lora
from debater_search.training.student import Student

TEXTS = ["lift of a wing", "drag", "a much longer text on the flow over a slender body of revolution"]


@pytest.fixture
def start(tiny_model: Callable[..., Path]) -> Encoder:
    return Encoder.load(tiny_model("bert"), device="cpu", thinking_steps=4)


def cosines(one: Encoder, other: Encoder) -> np.ndarray:
    return (one.deliberate(TEXTS) * other.deliberate(TEXTS)).sum(-1)


def test_each_output_channel_has_the_scale_of_its_largest_weight() -> None:
    weight = torch.tensor([[1.0, -0.5, 0.1], [100.0, 3.0, -50.0], [0.0, 0.0, 0.0]])
    whole, scale = quantised(weight)
    assert whole.dtype == torch.int8
    assert whole.abs().amax(1).tolist() == [127, 127, 0]
    assert ((whole * scale[:, None] - weight).abs() <= scale[:, None] / 2 + 1e-6).all()


def test_a_model_is_a_quarter_as_large_and_nearly_the_same(start: Encoder, tmp_path: Path) -> None:
    start.save(tmp_path / "whole")
    start.save(tmp_path / "small", int8=True)
    loaded = Encoder.load(tmp_path / "small", device="cpu")
    assert loaded.dtype == "float32"
    assert loaded.spec == start.spec
    assert cosines(start, loaded).min() > 0.999
    sizes = {
        name: sum(p.stat().st_size for p in (tmp_path / name).glob("*.safetensors")) for name in ("whole", "small")
    }
    assert sizes["small"] < 0.5 * sizes["whole"]  # rows of 32 numbers: names and scales weigh more than in real models
    stored = load_file(tmp_path / "small" / INT8_FILE)
    words, positions = (stored[f"embeddings.{name}_embeddings.weight"].dtype for name in ("word", "position"))
    assert (words, positions) == (torch.int8, torch.float32)
    assert json.loads((tmp_path / "small" / "debater.json").read_text())["format"] == 3
    assert json.loads((tmp_path / "whole" / "debater.json").read_text())["format"] == 2


def test_what_is_loaded_and_saved_again_is_the_same_file(start: Encoder, tmp_path: Path) -> None:
    start.save(tmp_path / "first", int8=True)
    Encoder.load(tmp_path / "first", device="cpu").save(tmp_path / "second", int8=True)
    first, second = (load_file(tmp_path / name / INT8_FILE) for name in ("first", "second"))
    assert all(torch.equal(first[name], second[name]) for name in first if first[name].dtype == torch.int8)


def test_an_adapter_is_merged(start: Encoder, tmp_path: Path) -> None:
    student = Student(start)
    make_trainable(student, Lora(r=4, alpha=8, dropout=0.0), gradient_checkpointing=False)
    with torch.no_grad():
        for name, parameter in student.model.backbone.named_parameters():
            if "lora_B" in name or "trainable_tokens" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    student.save(tmp_path / "adapter")
    trained = Encoder.load(tmp_path / "adapter", device="cpu")
    trained.save(tmp_path / "small", int8=True)
    small = Encoder.load(tmp_path / "small", device="cpu")
    assert cosines(trained, small).min() > 0.999
    assert cosines(trained, Encoder.load(start.name, device="cpu", thinking_steps=4)).max() < 0.99
    assert not (tmp_path / "small" / "adapter_config.json").exists()


def test_half_precision_and_a_folder_with_other_weights_are_refused(start: Encoder, tmp_path: Path) -> None:
    start.save(tmp_path / "whole")
    with pytest.raises(InvalidError, match="holds other weights"):
        start.save(tmp_path / "whole", int8=True)
    start.model.backbone.to(torch.bfloat16)
    with pytest.raises(InvalidError, match="half precision"):
        save_checkpoint(start.model, start.parts, tmp_path / "small", None, int8=True)
    assert not list((tmp_path / "small").glob("*.safetensors"))


@pytest.mark.parametrize("damage", ["cut", "without a scale", "without a matrix"])
def test_a_damaged_file_is_told(start: Encoder, tmp_path: Path, damage: str) -> None:
    start.save(tmp_path / "small", int8=True)
    path = tmp_path / "small" / INT8_FILE
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        stored = load_file(path)
        name = "encoder.layer.1.output.dense.weight"
        gone = [f"{name}.scale"] if damage == "without a scale" else [name, f"{name}.scale"]
        save_file({key: value for key, value in stored.items() if key not in gone}, path)
    with pytest.raises(DamagedError):
        Encoder.load(tmp_path / "small", device="cpu")
