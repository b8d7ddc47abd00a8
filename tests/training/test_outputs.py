"""Folders that training may write to, and what in them it leaves alone."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from debater_search.encoder import Encoder
from debater_search.errors import DebaterError
from debater_search.locks import writing
from debater_search.training import plan, train
from debater_search.training.journal import Journal
from debater_search.training.run_folder import clear
from debater_search.training.settings import TrainingSettings
from tests.training.runs import unfinished


def test_an_output_that_is_not_free_is_left_alone(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    settings = config(max_steps=2)
    folder = train(settings)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(DebaterError, match="finished training run") as told:
        train(settings)
    assert "`resume` and `force` to go on with more steps" in told.value.hint
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


@pytest.mark.parametrize("removed", range(1, 5))
def test_a_run_killed_while_it_clears_the_old_one_is_neither_finished_nor_resumed_from_a_part(
    config: Callable[..., TrainingSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: int
) -> None:
    whole = train(config(), output=tmp_path / "whole")
    folder, left, unlink = train(config()), [removed], os.unlink

    def killed(path: object, *rest: object, **more: object) -> None:
        if "events" not in str(path):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
        unlink(path, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "unlink", killed)
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: path.exists() and killed(path))
    with pytest.raises(KeyboardInterrupt):
        clear(folder)
    monkeypatch.undo()
    name = "adapter_model.safetensors"
    assert (train(config(), resume=True) / name).read_bytes() == (whole / name).read_bytes()


def test_a_run_goes_on_beside_files_that_it_did_not_write(config: Callable[..., TrainingSettings]) -> None:
    folder = unfinished(train(config()))
    (folder / "notes.txt").write_text("keep")
    assert train(config(), resume=True) == folder
    assert (folder / "notes.txt").read_text() == "keep"
    with pytest.raises(DebaterError, match="not a training run's"):
        train(config(), force=True)


def test_a_model_that_no_run_made_is_not_cleared_by_resume(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    Encoder.load(config().model, device="cpu").save(tmp_path / "out")
    with pytest.raises(DebaterError, match="finished training run"):
        train(config(), resume=True)
    assert (tmp_path / "out" / "debater.json").is_file()


@pytest.mark.parametrize("inside", ["", "checkpoint-2"])
def test_the_model_to_train_is_not_cleared_with_the_output(
    config: Callable[..., TrainingSettings], inside: str
) -> None:
    folder = train(config(max_steps=3))
    with pytest.raises(DebaterError, match="lies in the output folder"):
        train(config(model=str(folder / inside)), force=True)
    assert Encoder.load(folder / inside, device="cpu").thinking_steps == 3


def test_an_output_that_is_a_file_is_refused_before_anything_is_read(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("keep")
    for start in (train, plan):
        with pytest.raises(DebaterError, match="file is a file"):
            start(config(data=[{"path": "nowhere.jsonl"}]), output=tmp_path / "file", force=True)  # type: ignore[operator]


def test_a_mistake_found_at_the_start_leaves_the_old_output(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    folder = train(config(max_steps=2))
    before = {path.name for path in folder.iterdir()}
    for mistake in ({"data": [{"path": "nowhere.jsonl"}]}, {"eval": {"task": "nowhere"}}, {"model": "nowhere"}):
        with pytest.raises(DebaterError, match="nowhere"):
            train(config(**mistake), force=True)
    assert {path.name for path in folder.iterdir()} == before


def test_a_second_run_in_the_same_folder_is_told_who_writes_there(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    folder = train(config())
    (folder / "debater.json").unlink()
    with writing(folder), pytest.raises(DebaterError, match=f"is being written to by process {os.getpid()} since"):
        train(config(), resume=True)
    assert train(config(), resume=True) == folder


def test_a_finished_model_stays_whole_until_the_run_that_goes_on_publishes(
    config: Callable[..., TrainingSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = train(config(max_steps=2))
    finished = Encoder.load(folder, device="cpu").fingerprint
    step = Journal.step

    def killed(self: Journal, bar: object, phase: str, number: int, *rest: object, **more: object) -> None:
        if number == 5:
            raise KeyboardInterrupt
        step(self, bar, phase, number, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Journal, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config(), resume=True, force=True)
    monkeypatch.undo()
    assert Encoder.load(folder, device="cpu").fingerprint == finished
    with pytest.raises(DebaterError, match="begun training run"):
        train(config())
    with pytest.raises(DebaterError, match="max_steps"):
        train(config(max_steps=2), resume=True)
    train(config(), resume=True)  # the config that it goes on with is the run's own now
    assert json.loads((folder / "debater.json").read_text())["provenance"]["step"] == 6


def test_the_folder_of_an_unfinished_run_is_no_model_and_names_its_last_checkpoint(
    config: Callable[..., TrainingSettings],
) -> None:
    folder = unfinished(train(config()))  # an adapter is there, as a kill while publishing leaves it
    with pytest.raises(DebaterError, match=r"is unfinished\. Go on .*, or use .*checkpoint-4\."):
        Encoder.load(folder, device="cpu", pooling="cls")
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "metrics.jsonl").touch()
    with pytest.raises(DebaterError, match=r"is unfinished\. Go on with debater train --resume\."):
        Encoder.load(folder, device="cpu")
