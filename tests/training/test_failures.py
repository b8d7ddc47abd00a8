"""Numbers that are not finite, memory and disks that are full: a sentence, and the last checkpoint stays."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from debater_search.encoder import Encoder
from debater_search.errors import DebaterError
from debater_search.training import train
from debater_search.training.settings import TrainingSettings
from debater_search.training.student import Student
from tests.training.topics import metrics


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_checkpoint(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    with pytest.raises(DebaterError, match=r"not a number at step .*Its rows: .*rows\.jsonl, line \d"):
        train(config(lora=None, learning_rate=1e30, max_grad_norm=1e30, warmup_steps=0, save_steps=1, max_steps=9))
    assert list((tmp_path / "out").glob("checkpoint-*/debater.json"))


def test_weights_that_give_no_loss_are_not_called_the_last_good_checkpoint(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    spoiling = {"learning_rate": 1e30, "max_grad_norm": 1e30, "warmup_steps": 0, "save_steps": 1}
    with pytest.raises(DebaterError, match="loss is not a number at step 2") as told:
        train(config(lora=None, warm_start={"steps": 1}, **spoiling))
    out = tmp_path / "out"
    assert f"last good checkpoint is {out / 'checkpoint-0'}." in told.value.hint
    assert f"Remove {out / 'checkpoint-1'} before you `resume`" in told.value.hint


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


def test_memory_that_runs_out_lowers_the_chunks_and_a_resumed_run_keeps_them(
    config: Callable[..., TrainingSettings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    views, sizes = Student.views, []

    def small_memory(self: Student, sequences: list[list[int]], kind: str) -> torch.Tensor:
        tokens = len(sequences) * max(map(len, sequences))
        if tokens > 60:
            raise torch.OutOfMemoryError("full")
        sizes.append(tokens)
        return views(self, sequences, kind)

    settings = config(gradient_cache=3000, max_steps=3, save_steps=2)
    expected = [row["loss"] for row in metrics(train(settings, output=tmp_path / "large"))]
    monkeypatch.setattr("debater_search.training.budget.has_limited_memory", lambda student: True)
    monkeypatch.setattr("debater_search.training.budget.LEAST_TOKENS", 32)
    monkeypatch.setattr(Student, "views", small_memory)
    folder = train(settings, output=tmp_path / "small")
    assert "continuing in chunks of 46 tokens" in caplog.text
    assert max(sizes) <= 60
    assert len(metrics(folder)) == len(expected)
    assert json.loads((folder / "checkpoint-2" / "trainer_state.json").read_text())["cache_tokens"] == 46

    (folder / "debater.json").unlink()
    caplog.clear()
    before = (folder / "adapter_model.safetensors").read_bytes()
    train(settings, output=folder, resume=True)
    assert "Memory ran out" not in caplog.text
    assert (folder / "adapter_model.safetensors").read_bytes() == before


def test_memory_too_small_for_any_chunk_is_a_sentence(
    config: Callable[..., TrainingSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr("debater_search.training.budget.has_limited_memory", lambda student: True)
    monkeypatch.setattr(Student, "views", full)
    with pytest.raises(DebaterError, match="even in the smallest chunks"):
        train(config())


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left (os error 28)")],
)
def test_a_full_disk_while_saving_leaves_the_checkpoint_before(
    config: Callable[..., TrainingSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    whole = train(config(), output=tmp_path / "whole")
    save = Student.save

    def full(self: Student, folder: Path, **more: object) -> None:
        save(self, folder, **more)  # type: ignore[arg-type]
        if "checkpoint-4" in folder.name:
            raise error

    monkeypatch.setattr(Student, "save", full)
    with pytest.raises(DebaterError, match=r"checkpoint-4 cannot be written: No space left on device\.") as told:
        train(config())
    assert "`resume`" in told.value.hint
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "out").glob("*checkpoint*")) == ["checkpoint-2"]
    again = train(config(), resume=True)
    name = "adapter_model.safetensors"
    assert (again / name).read_bytes() == (whole / name).read_bytes()
