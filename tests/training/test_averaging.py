"""The final checkpoint as the mean of the last ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from debater_search.encoder import Encoder
from debater_search.errors import InvalidError
from debater_search.training import train
from debater_search.training.adapter import make_trainable
from debater_search.training.averaging import average_weights
from debater_search.training.sections import Lora
from debater_search.training.settings import TrainingSettings
from debater_search.training.student import Student


def student(folder: Path, seed: int, lora: Lora | None, **more: Any) -> Student:
    """A model whose weights that learn are random."""
    made = Student(Encoder.load(folder, device="cpu", merged=False, thinking_steps=2))
    make_trainable(made, lora, gradient_checkpointing=False)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in made.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return made


@pytest.mark.parametrize("lora", [None, Lora(r=2)])
def test_weights_are_the_mean_of_all(tiny_model: Callable[..., Path], tmp_path: Path, lora: Lora | None) -> None:
    each = [student(tiny_model("bert"), seed, lora) for seed in range(3)]
    for number, made in enumerate(each):
        made.save(tmp_path / str(number))
    wanted = torch.stack([torch.cat([p.flatten() for p in made.model.parameters()]) for made in each]).mean(0)
    average_weights(each[2], [tmp_path / "0", tmp_path / "1"])
    got = torch.cat([p.flatten() for p in each[2].model.parameters()])
    assert torch.allclose(got, wanted, atol=1e-6)


def test_weights_of_another_model_are_refused(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    student(tiny_model("bert"), 0, Lora(r=4)).save(tmp_path)
    with pytest.raises(InvalidError, match="do not fit the model"):
        average_weights(student(tiny_model("bert"), 1, Lora(r=2)), [tmp_path])


def test_a_run_ends_in_the_mean_of_its_last_checkpoints(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    more = {"max_steps": 3, "save_steps": 1, "thinking_steps": 1, "batch_size": 2}
    alone = train(config(**more), output=tmp_path / "alone")
    mean = train(config(average_last=2, **more), output=tmp_path / "mean")
    name = "adapter_model.safetensors"
    last, before = load_file(alone / name), load_file(alone / "checkpoint-2" / name)
    assert all(torch.allclose(t, (last[n] + before[n]) / 2, atol=1e-7) for n, t in load_file(mean / name).items())
    (mean / "debater.json").unlink()  # killed at the end: resumed from checkpoint-2
    assert train(config(average_last=2, **more), output=mean, resume=True) == mean
    assert all(torch.allclose(t, (last[n] + before[n]) / 2, atol=1e-7) for n, t in load_file(mean / name).items())


def test_a_mean_of_checkpoints_does_not_carry_what_was_measured_of_the_last(
    config: Callable[..., TrainingSettings], development: Path
) -> None:
    more = {"max_steps": 2, "save_steps": 1, "batch_size": 2, "eval": {"task": str(development), "every": 1}}
    folder = train(config(average_last=2, **more))
    metrics = [
        json.loads((place / "debater.json").read_text())["provenance"]["metrics"]
        for place in (folder / "checkpoint-2", folder)
    ]
    assert metrics[0].keys() == {"before training", "training", "evaluation"}
    assert metrics[1] == {}


def test_the_checkpoints_of_a_mean_are_removed_only_once_they_are_averaged(
    config: Callable[..., TrainingSettings],
) -> None:
    folder = train(config(average_last=3, save_total_limit=2, max_steps=3, save_steps=1))
    names = [*(f"checkpoint-{step}" for step in (2, 3)), ""]
    *last, mean = (load_file(folder / name / "adapter_model.safetensors") for name in names)
    assert not (folder / "checkpoint-1").exists()
    assert not any(torch.allclose(mean[n], (last[0][n] + last[1][n]) / 2, atol=1e-7) for n in mean if "lora_B" in n)


def test_more_than_are_kept_cannot_be_averaged(config: Callable[..., TrainingSettings]) -> None:
    assert config(average_last=3, save_total_limit=2)
    with pytest.raises(ValidationError, match="needs 3 checkpoints"):
        config(average_last=4, save_total_limit=2)
