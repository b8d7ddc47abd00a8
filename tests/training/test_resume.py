"""Nothing computed is lost: kills, resumes, folders that are not free, numbers that are none."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError

from debater_search.encoder import Encoder
from debater_search.errors import DebaterError
from debater_search.locks import writing
from debater_search.training import plan, train
from debater_search.training.journal import Journal
from debater_search.training.run_folder import clear
from debater_search.training.settings import TrainingSettings
from debater_search.training.student import Student
from tests.training.topics import metrics


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
    folder = unfinished(train(config()))
    changed = config(learning_rate=1e-3, loss={"scale": 10.0})
    with pytest.raises(DebaterError, match=r"learning_rate, loss\.scale"):
        train(changed, resume=True)
    assert train(changed, resume=True, force=True) == folder
    assert metrics(folder)[-1]["learning_rate"] < 1e-3


def test_a_run_of_a_release_without_a_setting_of_today_resumes(config: Callable[..., TrainingSettings]) -> None:
    folder = unfinished(train(config()))
    state = max(folder.glob("checkpoint-*/trainer_state.json"))
    saved = json.loads(state.read_text())
    del saved["config"]["attention"]
    state.write_text(json.dumps(saved))
    assert train(config(), resume=True) == folder


def unfinished(folder: Path) -> Path:
    """A run's folder as if it had been killed before its last step."""
    (folder / "debater.json").unlink()
    shutil.rmtree(max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2])))
    return folder


def test_a_finished_run_goes_on_with_a_changed_config_where_that_is_forced(
    config: Callable[..., TrainingSettings], caplog: pytest.LogCaptureFixture
) -> None:
    folder = train(config())
    with pytest.raises(DebaterError, match="max_steps") as mistake:
        train(config(max_steps=8), resume=True)
    assert "`resume` and `force`" in mistake.value.hint
    train(config(max_steps=8), resume=True, force=True)
    assert "nothing to resume" not in caplog.text
    assert [row["step"] for row in metrics(folder)] == list(range(1, 9))
    assert json.loads((folder / "debater.json").read_text())["provenance"]["step"] == 8


def test_a_finished_run_goes_on_from_its_end(
    config: Callable[..., TrainingSettings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "debater_search")
    steady = {"schedule": "constant", "save_steps": 4}
    whole = train(config(max_steps=5, **steady), output=tmp_path / "whole")
    folder = train(config(max_steps=3, **steady))
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-3"]
    train(config(max_steps=5, **steady), resume=True, force=True)
    assert "run again" not in caplog.text
    assert [row["step"] for row in metrics(folder)] == [1, 2, 3, 4, 5]
    name = "adapter_model.safetensors"
    assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_steps_that_are_run_again_are_named(
    config: Callable[..., TrainingSettings], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "debater_search")
    unfinished(train(config()))
    train(config(), resume=True)
    assert "Steps 5 to 6 are run again: they were done after the last checkpoint." in caplog.text


def test_a_run_that_stopped_early_is_published_and_not_run_on_where_it_was_killed_at_its_end(
    config: Callable[..., TrainingSettings], development: Path
) -> None:
    evaluation = {"task": str(development), "every": 1, "patience": 1}
    settings = config(max_steps=40, save_steps=50, learning_rate=1e-9, eval=evaluation)
    folder = train(settings)
    before = metrics(folder)
    assert len(before) < 40
    (folder / "debater.json").unlink()
    train(settings, resume=True)
    assert metrics(folder) == before
    train(config(max_steps=len(before) + 1, save_steps=50, eval={**evaluation, "patience": 9}), resume=True, force=True)
    assert len(metrics(folder)) == len(before) + 1


def test_a_finished_run_without_checkpoints_is_kept_where_going_on_is_forced(
    config: Callable[..., TrainingSettings],
) -> None:
    folder = train(config(max_steps=1))
    shutil.rmtree(folder / "checkpoint-1")
    with pytest.raises(DebaterError, match="no checkpoint to go on from"):
        train(config(max_steps=2), resume=True, force=True)
    assert (folder / "debater.json").is_file()


def test_fewer_steps_than_a_resumed_run_has_done_end_it_where_it_is(config: Callable[..., TrainingSettings]) -> None:
    folder = unfinished(train(config()))
    train(config(max_steps=3), resume=True, force=True)
    assert json.loads((folder / "debater.json").read_text())["provenance"]["step"] == 4


def test_resume_with_changed_data_names_the_set(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    folder = unfinished(train(config()))
    rows = tmp_path / "rows.jsonl"
    rows.write_text(rows.read_text().replace("wing", "wong"))
    with pytest.raises(DebaterError, match=r"Data has changed since .*checkpoint-4 was written: rows"):
        train(config(), resume=True)
    assert train(config(), resume=True, force=True) == folder


@pytest.mark.parametrize(
    "change", [{"lora": {"r": 2, "alpha": 4}}, {"lora": None}, {"family": "llama"}, {"thinking_steps": 2}]
)
def test_weights_that_do_not_fit_a_changed_config_are_a_sentence(
    config: Callable[..., TrainingSettings], change: dict[str, object]
) -> None:
    unfinished(train(config(max_steps=3)))
    with pytest.raises(DebaterError, match="do not fit the model"):
        train(config(**change), resume=True, force=True)  # type: ignore[arg-type]


def test_full_weights_do_not_go_on_as_an_adapter(config: Callable[..., TrainingSettings]) -> None:
    unfinished(train(config(lora=None, max_steps=3, learning_rate=1e-3)))
    with pytest.raises(DebaterError, match="do not fit the model"):
        train(config(), resume=True, force=True)


def test_full_weights_resumed_end_with_the_same_bytes(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    settings = config("llama", lora=None, learning_rate=1e-3)
    whole = train(settings, output=tmp_path / "whole")
    again = train(settings, output=unfinished(train(settings)), resume=True)
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


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


def test_a_changed_chunk_size_is_not_overruled_by_the_checkpoint(
    config: Callable[..., TrainingSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(train(config(gradient_cache=200)))
    budgets: list[int | None] = []

    def noted(_student: object, _longest: object, budget: int | None, *_: object) -> int | None:
        budgets.append(budget)
        return budget

    monkeypatch.setattr("debater_search.training.run.fitting_budget", noted)
    unfinished(train(config(gradient_cache=100), resume=True, force=True))
    train(config(gradient_cache=False), resume=True, force=True)
    assert budgets == [100, None]


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


def test_resume_with_nothing_complete_starts_from_zero_and_says_so(
    config: Callable[..., TrainingSettings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = train(config(max_steps=2), output=tmp_path / "new", resume=True)
    assert "from step 0" in caplog.text
    assert (folder / "debater.json").is_file()


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


def test_a_log_is_whole_also_where_going_on_is_killed(
    config: Callable[..., TrainingSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = unfinished(train(config()))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config(), resume=True)
    monkeypatch.undo()
    assert [row["step"] for row in metrics(folder)] == [1, 2, 3, 4, 5, 6]


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


def test_a_half_written_checkpoint_is_ignored(config: Callable[..., TrainingSettings], tmp_path: Path) -> None:
    whole = train(config(), output=tmp_path / "whole")
    folder = unfinished(train(config()))
    shutil.copytree(folder / "checkpoint-4", folder / ".checkpoint-6.tmp")  # not renamed: a kill while writing
    (folder / "checkpoint-4" / "trainer_state.json").unlink()  # without it nothing can go on from there
    again = train(config(), resume=True)
    name = "adapter_model.safetensors"
    assert (again / name).read_bytes() == (whole / name).read_bytes()


SCRIPT = """
import sys
from debater_search.training import train
from debater_search.training.settings import TrainingSettings
train(TrainingSettings.model_validate_json(open(sys.argv[1]).read()), resume=True)
"""


def test_a_second_run_in_the_same_folder_is_told_who_writes_there(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    folder = train(config())
    (folder / "debater.json").unlink()
    with writing(folder), pytest.raises(DebaterError, match=f"is being written to by process {os.getpid()} since"):
        train(config(), resume=True)
    assert train(config(), resume=True) == folder


def test_a_warm_start_goes_on_where_it_was_killed(
    config: Callable[..., TrainingSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(warm_start={"steps": 7, "batch_size": 4})
    whole = train(settings, output=tmp_path / "whole")
    assert not list(whole.glob("warm-*"))
    step, steps = Journal.step, []

    def killed(self: Journal, bar: object, phase: str, number: int, *rest: object, **more: object) -> None:
        steps.append((phase, number))
        if (phase, number) == ("warm start", 6):
            raise KeyboardInterrupt
        step(self, bar, phase, number, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Journal, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(settings, output=tmp_path / "killed")
    assert [path.name for path in (tmp_path / "killed").glob("warm-*")] == ["warm-4"]
    monkeypatch.setattr(Journal, "step", step)
    again = train(settings, output=tmp_path / "killed", resume=True)
    name = "adapter_model.safetensors"
    assert (again / name).read_bytes() == (whole / name).read_bytes()
    for phase in ("warm start", "training"):
        assert [r["loss"] for r in metrics(again, phase)] == [r["loss"] for r in metrics(whole, phase)]


def test_a_killed_warm_start_goes_on_as_training_where_a_changed_config_leaves_it_out(
    config: Callable[..., TrainingSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = "debater_search.training.run_folder.drop_warm"
    monkeypatch.setattr(drop, lambda *_, **__: shutil.rmtree(tmp_path / "out" / "checkpoint-0", ignore_errors=True))
    unfinished(train(config(warm_start={"steps": 3, "batch_size": 4}, max_steps=1)))
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "out").glob("*-*")] == ["warm-2"]
    folder = train(config(), resume=True, force=True)
    assert [row["step"] for row in metrics(folder)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(
    config: Callable[..., TrainingSettings], tmp_path: Path, development: Path
) -> None:
    rng = random.Random(7)
    settings = config(
        max_steps=60,
        save_steps=3,
        gradient_cache=200,
        homogeneous=False,
        warm_start={"steps": 5, "batch_size": 4},
        eval={"task": str(development), "every": 20},
    )
    whole = train(settings, output=tmp_path / "whole")
    (tmp_path / "settings.json").write_text(settings.model_dump_json())
    kills = 0
    while not (tmp_path / "out" / "debater.json").exists():
        run = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "settings.json")], stderr=subprocess.DEVNULL
        )
        try:
            assert run.wait(timeout=rng.uniform(5, 14)) == 0
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
            kills += 1
    name = "adapter_model.safetensors"
    assert kills > 0
    assert (tmp_path / "out" / name).read_bytes() == (whole / name).read_bytes()
    rows = [[(row["step"], row["loss"]) for row in metrics(folder)] for folder in (tmp_path / "out", whole)]
    assert rows[0] == rows[1]


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
