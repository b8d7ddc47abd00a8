"""A run that was killed or finished goes on, and ends in the same weights."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from debater_search.errors import DebaterError, InvalidError
from debater_search.training import plan, train
from debater_search.training.journal import Journal
from debater_search.training.settings import TrainingSettings
from tests.training.runs import unfinished
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


@pytest.mark.parametrize("fewer", [{"max_steps": 3}, {"epochs": 1.5}], ids=["max_steps", "epochs"])
@pytest.mark.parametrize("finished", [True, False], ids=["finished", "killed"])
def test_fewer_steps_than_a_resumed_run_has_done_are_refused(
    config: Callable[..., TrainingSettings], fewer: dict[str, float], finished: bool
) -> None:
    folder = train(config())
    done = 6 if finished else 4
    if not finished:
        unfinished(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    sentence = f"has {done} steps already, and by {min(fewer)} it would have 3"
    with pytest.raises(InvalidError, match=sentence) as told:
        train(config(**fewer), resume=True, force=True)
    assert f"{done} steps end the run where it is" in told.value.hint
    assert {path: path.read_bytes() for path in before} == before


def test_a_killed_run_ends_at_its_last_checkpoint_where_max_steps_says_so(
    config: Callable[..., TrainingSettings], caplog: pytest.LogCaptureFixture
) -> None:
    folder = unfinished(train(config()))
    caplog.set_level("INFO")
    train(config(max_steps=4), resume=True, force=True)
    assert "No step is left to train: the run ends at step 4." in caplog.text
    assert json.loads((folder / "debater.json").read_text())["provenance"]["step"] == 4


def test_a_dry_run_refuses_fewer_steps_than_the_run_has_done(config: Callable[..., TrainingSettings]) -> None:
    train(config(max_steps=2))
    with pytest.raises(InvalidError, match="2 steps already"):
        plan(config(max_steps=1), resume=True, force=True)


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


def test_resume_with_nothing_complete_starts_from_zero_and_says_so(
    config: Callable[..., TrainingSettings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = train(config(max_steps=2), output=tmp_path / "new", resume=True)
    assert "from step 0" in caplog.text
    assert (folder / "debater.json").is_file()


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


def test_a_run_killed_before_it_is_marked_as_finished_has_its_picture(
    config: Callable[..., TrainingSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("debater_search.training.checkpoints.publish", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config(max_steps=1))
    assert (tmp_path / "out" / "training.png").is_file()


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
from debater_search.training import plan, train
from debater_search.training.settings import TrainingSettings
train(TrainingSettings.model_validate_json(open(sys.argv[1]).read()), resume=True)
"""


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


def steps_go_by(run: subprocess.Popen[bytes], lines: Path, count: int) -> None:
    """Wait until a run has written so many steps, or has ended; seconds say nothing on a busy machine."""
    size = lines.stat().st_size if lines.exists() else 0
    while count and run.poll() is None:
        time.sleep(0.01)
        now = lines.stat().st_size if lines.exists() else 0
        count, size = count - (now > size), now


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(
    config: Callable[..., TrainingSettings], tmp_path: Path, development: Path
) -> None:
    rng = random.Random(7)
    settings = config(
        max_steps=30,
        save_steps=3,
        gradient_cache=200,
        homogeneous=False,
        warm_start={"steps": 5, "batch_size": 4},
        eval={"task": str(development), "every": 10},
    )
    whole = train(settings, output=tmp_path / "whole")
    (tmp_path / "settings.json").write_text(settings.model_dump_json())
    kills = 0
    while not (tmp_path / "out" / "debater.json").exists():
        run = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "settings.json")], stderr=subprocess.DEVNULL
        )
        steps_go_by(run, tmp_path / "out" / "metrics.jsonl", rng.randint(2, 20))
        time.sleep(rng.uniform(0, 0.5))
        if run.poll() is None:
            run.kill()
            kills += 1
        assert run.wait() in (0, -signal.SIGKILL)
    name = "adapter_model.safetensors"
    assert kills > 0
    assert (tmp_path / "out" / name).read_bytes() == (whole / name).read_bytes()
    rows = [[(row["step"], row["loss"]) for row in metrics(folder)] for folder in (tmp_path / "out", whole)]
    assert rows[0] == rows[1]
