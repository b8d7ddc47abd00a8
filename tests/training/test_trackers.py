"""What trackers are told, read back from what they wrote."""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event

from debater_search.errors import DebaterError
from debater_search.training import TrainingSettings, trackers, train
from debater_search.training.trackers import Trackers, require_trackers

CONFIG = {"model": "minilm", "loss": {"scale": 30.0}, "data": [{"path": "a.jsonl"}], "seed": 42}


def training(step: int, contrast: float) -> dict[str, Any]:
    return {"phase": "training", "step": step, "loss": 1.0, "contrast": contrast, "learning_rate": 1e-4,
            "examples/s": 12.5}  # fmt: skip


def events(folder: Path) -> Iterator[Event]:
    """Of TensorBoard's files: records of a length, its checksum, the event, its checksum."""
    for path in sorted((folder / "tensorboard").iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            yield Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    return [(value.tag, event.step, round(value.simple_value, 5)) for event in events(folder)
            for value in event.summary.value if value.HasField("simple_value")]  # fmt: skip


def test_tensorboard_files_hold_what_was_logged(tmp_path: Path) -> None:
    tracked = Trackers(["tensorboard"], tmp_path, CONFIG)
    tracked.log({"phase": "warm start", "step": 1, "distance": 0.25}, 1)
    tracked.log(training(1, 0.5), 1)
    tracked.log({"phase": "evaluation", "step": 1, "ndcg@10": 0.375, "steps": [0.125, 0.375]}, 1)
    tracked.close()
    assert scalars(tmp_path) == [
        ("train/warm_start/distance", 1, 0.25),
        ("train/loss", 1, 1.0),
        ("train/contrast", 1, 0.5),
        ("train/learning_rate", 1, 0.0001),
        ("train/examples_per_second", 1, 12.5),
        ("eval/ndcg_10", 1, 0.375),
        ("eval/thinking_step_01", 1, 0.125),
        ("eval/thinking_step_02", 1, 0.375),
    ]


def test_tensorboard_shows_the_config_of_the_run_and_nothing_else(tmp_path: Path) -> None:
    Trackers(["tensorboard"], tmp_path, CONFIG).close()
    [text] = [value.tensor.string_val[0] for event in events(tmp_path) for value in event.summary.value]
    assert json.loads(text) == {"model": "minilm", "loss.scale": 30.0, "data.0.path": "a.jsonl", "seed": 42}


def test_a_run_that_goes_on_has_every_step_once(tmp_path: Path) -> None:
    for kept, more in (((), (1, 2, 3)), ((1, 2), (3, 4))):  # stopped after 3 steps, gone on with from a checkpoint at 2
        tracked = Trackers(["tensorboard"], tmp_path, CONFIG)
        tracked.replay([training(step, step) for step in kept])
        for step in more:
            tracked.log(training(step, step), step)
        tracked.close()
    assert [step for tag, step, _ in scalars(tmp_path) if tag == "train/contrast"] == [1, 2, 3, 4]


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    tracked = Trackers([], tmp_path, CONFIG)
    tracked.log(training(1, 1.0), 1)
    tracked.close()
    assert not list(tmp_path.iterdir())


def test_a_tracker_that_is_not_installed_is_named_with_its_package() -> None:
    with pytest.raises(DebaterError, match="report_to names comet_ml, which cannot be used here") as error:
        require_trackers(["comet_ml"])
    assert "pip install comet-ml" in error.value.hint


def test_a_misspelt_tracker_is_refused_with_the_nearest() -> None:
    with pytest.raises(DebaterError, match="no tracker 'wandbb'") as error:
        require_trackers(["wandbb"])
    assert "Did you mean wandb?" in error.value.hint


class Broken:
    """A tracker that fails where it is told to."""

    fails = ""

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any, **__: Any) -> None:
            if name == self.fails:
                raise OSError("no route to host")

        return call


def test_a_tracker_that_does_not_start_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trackers.INTEGRATION_TO_CALLBACK, "wandb", Broken)
    monkeypatch.setattr(Broken, "fails", "on_train_begin")
    with pytest.raises(DebaterError, match="The tracker wandb does not start: no route to host"):
        Trackers(["tensorboard", "wandb"], tmp_path, CONFIG)


def test_a_tracker_that_fails_on_the_way_does_not_end_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(trackers.INTEGRATION_TO_CALLBACK, "wandb", Broken)
    monkeypatch.setattr(Broken, "fails", "on_log")
    tracked = Trackers(["wandb", "tensorboard"], tmp_path, CONFIG)
    for step in (7, 8):
        tracked.log(training(step, 1.0), step)
    tracked.close()
    assert [r.getMessage() for r in caplog.records] == [
        "The tracker wandb is left out from step 7 on: no route to host"
    ]
    assert [step for tag, step, _ in scalars(tmp_path) if tag == "train/loss"] == [7, 8]


def test_a_resumed_run_leaves_tensorboard_files_that_say_what_its_log_says(
    config: Callable[..., TrainingSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(max_steps=5, save_steps=2)
    real = Trackers.log

    def killed(self: Trackers, entry: dict[str, Any], step: int) -> None:
        real(self, entry, step)
        if step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trackers, "log", killed)
        with pytest.raises(KeyboardInterrupt):
            train(settings, device="cpu")
    folder = train(settings, device="cpu", resume=True)
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    written = [(step, value) for tag, step, value in scalars(folder) if tag == "train/contrast"]
    assert written == [(entry["step"], round(entry["contrast"], 5)) for entry in entries]
    assert [step for step, _ in written] == [1, 2, 3, 4, 5]
