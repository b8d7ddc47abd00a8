"""Nothing computed is lost: kills, resumes, folders that are not free, numbers that are none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from topics import metrics

from debater_search.encoder import Encoder
from debater_search.errors import DebaterError
from debater_search.training import (
    train,
)
from debater_search.training.journal import Journal
from debater_search.training.settings import TrainingSettings


def test_a_killed_run_resumed_ends_with_the_same_weights(
    config: Callable[..., TrainingSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(warm_start={"steps": 2, "batch_size": 4})
    whole = train(settings, output=tmp_path / "whole")
    step = Journal.step

    def killed(self: Journal, bar: object, phase: str, number: int, *rest: object, **more: object) -> None:
        if phase == "training" and number == 5:
            raise KeyboardInterrupt
        step(self, bar, phase, number, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Journal, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(settings, output=tmp_path / "killed")
    monkeypatch.undo()
    again = train(settings, output=tmp_path / "killed", resume=True)
    name = "adapter_model.safetensors"
    assert (again / name).read_bytes() == (whole / name).read_bytes()
    assert [row["step"] for row in metrics(again)] == [1, 2, 3, 4, 5, 6]
    assert [row["loss"] for row in metrics(again)] == [row["loss"] for row in metrics(whole)]


def test_an_output_that_is_not_free_is_left_alone(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    settings = config(max_steps=2)
    folder = train(settings)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(DebaterError, match="finished training run"):
        train(settings)
    assert train(settings, resume=True) == folder
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("how", [{"force": True}, {"resume": True}, {"resume": True, "force": True}])
def test_files_that_training_did_not_write_are_never_deleted(
    config: Callable[..., TrainingSettings], tmp_path: Path, how: dict[str, bool]
) -> None:
    output = tmp_path / "mixed"
    output.mkdir()
    (output / "metrics.jsonl").write_text("")
    (output / "thesis.txt").write_text("keep")
    with pytest.raises(DebaterError, match="not a training run's"):
        train(config(), output=output, **how)
    assert (output / "thesis.txt").read_text() == "keep"


def test_resume_with_a_changed_config_names_what_changed(config: Callable[..., TrainingSettings]) -> None:
    folder = train(config())
    (folder / "debater.json").unlink()  # as if killed before the end
    changed = config(learning_rate=1e-3, loss={"scale": 10.0})
    with pytest.raises(DebaterError, match=r"learning_rate, loss\.scale"):
        train(changed, resume=True)
    assert train(changed, resume=True, force=True) == folder
    assert metrics(folder)[-1]["learning_rate"] < 1e-3


def test_a_mistake_found_at_the_start_leaves_the_old_output(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    folder = train(config(max_steps=2))
    before = {path.name for path in folder.iterdir()}
    for mistake in ({"data": [{"path": "nowhere.jsonl"}]}, {"eval": {"task": "nowhere"}}, {"model": "nowhere"}):
        with pytest.raises(DebaterError, match="nowhere"):
            train(config(**mistake), force=True)
    assert {path.name for path in folder.iterdir()} == before


def test_resume_with_nothing_complete_starts_from_zero_and_says_so(
    config: Callable[..., TrainingSettings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = train(config(max_steps=2), output=tmp_path / "new", resume=True)
    assert "from step 0" in caplog.text
    assert (folder / "debater.json").is_file()


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_checkpoint(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    with pytest.raises(DebaterError, match="not a number at step"):
        train(config(lora=None, learning_rate=1e30, max_grad_norm=1e30, warmup_steps=0, save_steps=1, max_steps=9))
    assert list((tmp_path / "out").glob("checkpoint-*/debater.json"))


def test_a_gradient_that_is_not_a_number_stops_before_it_reaches_the_weights(
    config: Callable[..., TrainingSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = torch.nn.utils.clip_grad_norm_

    def spoiled(parameters: list[torch.Tensor], limit: float) -> torch.Tensor:
        if len(list((tmp_path / "out").glob("checkpoint-2"))):
            parameters[0].grad.fill_(float("inf"))  # type: ignore[union-attr]
        return clip(parameters, limit)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spoiled)
    with pytest.raises(DebaterError, match="gradient is not a number at step 3"):
        train(config())
    assert np.isfinite(Encoder.load(tmp_path / "out" / "checkpoint-2", device="cpu").deliberate(["wing"])).all()


def test_a_run_killed_before_it_is_marked_as_finished_has_its_picture(
    config: Callable[..., TrainingSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("debater_search.training.checkpoints.publish", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config(max_steps=1))
    assert (tmp_path / "out" / "training.png").is_file()
