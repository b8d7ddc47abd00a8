"""Training on several processes: the gradients, the weights and the failures of one."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import load_file

from debater_search.errors import DebaterError, InvalidError
from debater_search.training import gather, plan, run_folder, train, trainer
from debater_search.training.launch import explained, joined, processes_for
from debater_search.training.settings import TrainingSettings
from tests.training.groups import LORA, ROOT, settings_of, torchrun
from tests.training.shares import SHARES, batch, loss_of
from tests.training.topics import WORDS, metrics

WAYS = [
    {"family": family, "lora": lora, "cache_tokens": cache, "parallel": parallel}
    for family, lora in (("bert", LORA), ("llama", None), ("llama", LORA))
    for cache in (None, 70)
    for parallel in ("ddp", "fsdp")
]
TAUGHT = {
    "family": "bert",
    "lora": LORA,
    "cache_tokens": 70,
    "parallel": "ddp",
    "more": {"readout": "residual", "loss": {"teacher": "base", "teacher_lexical": 0.3}},
}


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows with none, one or two hard negatives, of very different lengths."""
    path = tmp_path_factory.mktemp("uneven") / "rows.jsonl"
    rows = [
        {
            "query": f"what of {word}",
            "positive": f"{word} {'x ' * (7 * n % 23)}",
            "negative": [WORDS[n - 1], "far"][: n % 3],
        }
        for n, word in enumerate(WORDS)
    ]
    path.write_text("".join(json.dumps({k: v for k, v in row.items() if v}) + "\n" for row in rows))
    return path


def gradients_of(processes: int, folder: Path, jobs: list[dict[str, Any]]) -> dict[str, tuple[dict, dict]]:
    """Gradients and facts of every job, from a group of processes started by torchrun."""
    folder.mkdir()
    (folder / "jobs.json").write_text(json.dumps(jobs))
    torchrun(processes, str(ROOT / "tests" / "training" / "group.py"), str(folder))
    out = {}
    for job in jobs:
        path = folder / f"{job['name']}.safetensors"
        with safe_open(path, "pt") as file:
            out[job["name"]] = (load_file(path), json.loads(file.metadata()["facts"]))
    return out


def require_equal_gradients(
    processes: int, tiny_model: Callable[..., Path], rows: Path, folder: Path, ways: list[dict[str, Any]]
) -> None:
    jobs = [
        {
            "name": str(n),
            "cache_tokens": way["cache_tokens"],
            "settings": settings_of(way, rows, tiny_model(way["family"])),
        }
        for n, way in enumerate(ways)
    ]
    alone, together = (gradients_of(n, folder / str(n), jobs) for n in (1, processes))
    for job, way in zip(jobs, ways, strict=True):
        (expected, facts), (got, shared_facts) = alone[job["name"]], together[job["name"]]
        largest = max(float(g.abs().max()) for g in expected.values())
        assert largest > 0
        assert got.keys() == expected.keys()
        assert max(float((got[n] - expected[n]).abs().max()) for n in got) <= 1e-5 * largest, way
        assert shared_facts["loss"] == pytest.approx(facts["loss"], abs=1e-5)
        assert [times for _, times in shared_facts["reduced"]] == [1] * len(expected), way


def test_two_processes_make_the_gradients_of_one_each_reduced_once(
    tiny_model: Callable[..., Path], uneven: Path, tmp_path: Path
) -> None:
    require_equal_gradients(
        2, tiny_model, uneven, tmp_path, [*WAYS[::3], TAUGHT]
    )  # DDP and FSDP2, cached and not, LoRA and full


@pytest.mark.slow
def test_four_processes_make_the_gradients_of_one_each_reduced_once(
    tiny_model: Callable[..., Path], uneven: Path, tmp_path: Path
) -> None:
    require_equal_gradients(4, tiny_model, uneven, tmp_path, [*WAYS, TAUGHT])


def require_equal_weights(processes: int, settings: TrainingSettings, folder: Path) -> None:
    alone, together = (train(settings, output=folder / str(n), processes=n) for n in (1, processes))
    name = "adapter_model.safetensors" if settings.lora else "model.safetensors"
    expected, got = load_file(alone / name), load_file(together / name)
    difference = torch.cat([(got[n] - expected[n]).abs().flatten() for n in expected])
    assert got.keys() == expected.keys()
    assert difference.max() <= 2e-3
    assert (difference <= 1e-5).float().mean() >= 0.999
    losses = [[row["loss"] for row in metrics(run)] for run in (alone, together)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    scores = [[row["steps"] for row in metrics(run, "evaluation")] for run in (alone, together)]
    assert len(scores[0]) == 1
    assert scores[0] == scores[1]


@pytest.fixture
def longer(tiny_model: Callable[..., Path], uneven: Path, development: Path) -> Callable[..., TrainingSettings]:
    """Six AdamW steps after a warm start, measured at the end."""

    def make(family: str, lora: dict | None, parallel: str, cache: int | None) -> TrainingSettings:
        way = {"lora": lora, "parallel": parallel}
        more = {
            "gradient_cache": cache or False,
            "learning_rate": 1e-3,
            "warmup_steps": 1,
            "max_steps": 6,
            "save_steps": 3,
            "warm_start": {"steps": 2, "batch_size": 5},
            "eval": {"task": str(development), "every": 6},
        }
        return TrainingSettings.model_validate(settings_of(way, uneven, tiny_model(family), **more))

    return make


def test_six_steps_on_two_processes_end_with_the_weights_of_one(
    longer: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    require_equal_weights(2, longer("bert", LORA, "ddp", 70), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize(("lora", "chunk"), [(LORA, None), (None, 70)])  # `cache` is a fixture
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_six_steps_on_any_number_of_processes_end_with_the_weights_of_one(
    longer: Callable[..., TrainingSettings],
    tmp_path: Path,
    processes: int,
    lora: dict | None,
    chunk: int | None,
    parallel: str,
) -> None:
    require_equal_weights(processes, longer("llama", lora, parallel, chunk), tmp_path)


def test_the_loss_of_uneven_and_empty_shares_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    torchrun(2, str(ROOT / "tests" / "training" / "shares.py"), str(tmp_path))
    found = [load_file(tmp_path / f"{rank}.safetensors") for rank in range(2)]
    for name, (queries, negatives) in SHARES.items():
        whole = [rows.requires_grad_() for rows in batch(sum(queries), sum(negatives))]
        value = loss_of(name)(*whole)
        value.backward()
        for each in found:
            assert each[f"{name}.value"].item() == pytest.approx(value.item(), abs=1e-9), name
        for number, rows in enumerate(whole):
            gradient = torch.cat([each[f"{name}.{number}"] for each in found])
            assert torch.allclose(gradient, rows.grad, atol=1e-9), name


def children_of(pid: int) -> list[int]:
    return [int(line) for line in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_when_one_process_is_killed_the_others_stop_and_resume_ends_with_the_same_bytes(
    longer: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    settings = longer("bert", {**LORA, "dropout": 0.2}, "fsdp", None).model_copy(update={"max_steps": 8, "eval": None})
    whole = train(settings, output=tmp_path / "whole", processes=2)
    killed = tmp_path / "killed"
    before = set(children_of(os.getpid()))

    def kill_one() -> None:
        while not (killed / "checkpoint-3" / "debater.json").exists():
            time.sleep(0.01)
        workers = set(children_of(os.getpid())) - before
        os.kill(max(workers), signal.SIGKILL)
        stopped.append(time.monotonic())

    stopped: list[float] = []
    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(DebaterError, match=r"of 2 was killed \(SIGKILL\); the others were stopped"):
        train(settings, output=killed, processes=2)
    killer.join()
    assert time.monotonic() - stopped[0] < 30
    again = train(settings, output=killed, processes=2, resume=True)
    name = "adapter_model.safetensors"
    assert (again / name).read_bytes() == (whole / name).read_bytes()


def test_a_mistake_that_only_processes_find_is_told_as_one(
    longer: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    settings = longer("bert", LORA, "ddp", None).model_copy(update={"model": str(tmp_path / "nowhere")})
    with pytest.raises(DebaterError, match="nowhere"):
        train(settings, output=tmp_path / "out", processes=2)


@pytest.mark.parametrize("start", [train, plan])
def test_processes_without_work_are_refused(
    longer: Callable[..., TrainingSettings], tmp_path: Path, start: Callable[..., Any]
) -> None:
    settings = longer("bert", LORA, "ddp", None)  # batches of 10, of 5 in the warm start
    for processes, sentence in (
        (11, r"more processes \(11\) than queries in a batch \(10\)"),
        (6, r"more processes \(6\) than texts in a step of the warm start \(5\)"),
        (0, "processes is 0"),
    ):
        with pytest.raises(DebaterError, match=sentence):
            start(settings, output=tmp_path / "out", processes=processes)


@pytest.mark.parametrize(
    ("device", "cards", "sentence"),
    [("auto", 1, r"more processes \(2\) than GPUs \(1\)"), ("cuda:1", 2, "cuda:1 is one GPU")],
)
def test_processes_that_would_share_a_gpu_are_refused(
    longer: Callable[..., TrainingSettings], monkeypatch: pytest.MonkeyPatch, device: str, cards: int, sentence: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    settings = longer("bert", LORA, "ddp", None)
    with pytest.raises(InvalidError, match=sentence):
        processes_for(settings, 2, device)
    assert processes_for(settings, 2, "cpu") == 2


def test_under_torchrun_processes_that_would_share_a_gpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(InvalidError, match="than GPUs"), joined("auto"):
        pass


def test_under_torchrun_one_process_speaks_and_too_many_are_refused(
    longer: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    settings = longer("bert", LORA, "ddp", None).model_copy(update={"warm_start": None, "max_steps": 1, "eval": None})
    (tmp_path / "c.json").write_text(settings.model_dump_json())
    program = tmp_path / "debater.py"
    program.write_text("import sys\nfrom debater_search.cli import main\nsys.exit(main())\n")
    command = [str(program), "train", str(tmp_path / "c.json"), "--json"]
    done = torchrun(2, *command, "--output", str(tmp_path / "out"))
    assert json.loads(done.stdout) == {"checkpoint": str(tmp_path / "out")}
    assert done.stderr.count("Training ") == 1
    refused = torchrun(2, *command, "batch_size=1", "--output", str(tmp_path / "new"), code=1)
    assert "more processes (2) than queries in a batch (1)" in refused.stderr


@pytest.mark.parametrize("complete", [True, False])
def test_all_processes_resume_from_the_checkpoint_that_the_first_one_chooses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complete: bool
) -> None:
    for step in (2, 6):  # this process, on a machine of its own, has a newer one
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / run_folder.STATE_FILE).write_text("{}")
    (tmp_path / "checkpoint-4").mkdir()
    if complete:
        (tmp_path / "checkpoint-4" / run_folder.STATE_FILE).write_text("{}")
    monkeypatch.setattr(gather, "of_first", lambda own: "checkpoint-4")
    if complete:
        assert trainer._checkpoint_of_all(tmp_path) == tmp_path / "checkpoint-4"
    else:
        with pytest.raises(InvalidError, match=r"Some processes do not find the checkpoint .*checkpoint-4"):
            trainer._checkpoint_of_all(tmp_path)


def test_a_process_that_fails_does_not_wait_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(dist, "init_process_group", lambda *_, **__: calls.append("joined"))
    monkeypatch.setattr(dist, "get_backend", lambda: "nccl")
    monkeypatch.setattr(dist, "destroy_process_group", lambda: calls.append("destroyed"))  # waits for all under NCCL
    monkeypatch.setattr(dist.distributed_c10d, "_abort_process_group", lambda: calls.append("aborted"))
    with joined("cpu"):
        pass
    with pytest.raises(ZeroDivisionError), joined("cpu"):
        raise ZeroDivisionError
    assert calls == ["joined", "destroyed", "joined", "aborted"]


def test_what_a_file_did_to_a_process_is_no_bug(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "debater_search.training.worker", str(tmp_path)]  # there is no job.json
    done = subprocess.run(command, env={**os.environ, "RANK": "0", "PYTHONPATH": str(ROOT)}, timeout=120)
    assert done.returncode == 1
    error = explained(tmp_path, 2, {})
    assert isinstance(error, FileNotFoundError)
    assert error.filename == str(tmp_path / "job.json")
