"""Several processes on one machine by torch elastic, or this process in a group that torchrun has started."""

import json
import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from debater_search.errors import KINDS, InvalidError, UnavailableError
from debater_search.processes import is_main_process, share_of_threads
from debater_search.training.checks import require_shares
from debater_search.training.settings import TrainingSettings

PATIENCE = timedelta(minutes=30)
"""How long processes wait for each other: evaluation and saving make some wait for others."""


def processes_for(settings: TrainingSettings, asked: int | None, device: str) -> int:
    """How many processes to start: as many as asked, or one a card. Raises InvalidError as `require_shares`."""
    cards = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    processes = asked if asked is not None else max(1, cards)
    if processes > 1 and device.startswith("cuda:"):
        raise InvalidError(f"{device} is one GPU, and there are {processes} processes.", "Use `device` cuda.")
    if cards:
        _require_cards(processes, cards)
    require_shares(settings, processes)
    return processes


def _require_cards(processes: int, cards: int) -> None:
    if processes > cards:
        raise InvalidError(
            f"There are more processes ({processes}) than GPUs ({cards}) on this machine.",
            "Lower `processes`, or use `device` cpu.",
        )


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Be one of the group that the environment describes; gives the device that is this process's own.

    A process that fails leaves the group without waiting for the others: they may be in a collective call that this
    process never joins, and under NCCL both would wait until `PATIENCE` ends.
    """
    cards = device in ("auto", "cuda") and torch.cuda.is_available()
    own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if cards else "cpu" if device == "auto" else device
    if cards:
        _require_cards(int(os.environ.get("LOCAL_RANK", "0")) + 1, torch.cuda.device_count())
        torch.cuda.set_device(own)
    logger = logging.getLogger("debater_search")
    level = logger.level
    if not is_main_process():
        logger.setLevel(logging.CRITICAL)
    dist.init_process_group("nccl" if cards else "gloo", timeout=PATIENCE)
    try:
        yield own
    except BaseException:
        if dist.get_backend() == "nccl":
            with suppress(Exception):  # the error that is on its way matters more
                dist.distributed_c10d._abort_process_group()
        raise
    else:
        dist.destroy_process_group()
    finally:
        logger.setLevel(level)


def launch(processes: int, job: dict[str, Any]) -> None:
    """Run `train(**job)` in as many processes of this machine; returns when all are done.

    When one fails the others are stopped. Raises the DebaterError that a process raised, one that names a process that
    was killed, the OSError or MemoryError of one, or RuntimeError with the traceback of a bug.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what failed is said once, by us
    with tempfile.TemporaryDirectory(prefix="debater-train-") as temporary, _environment(processes), _own_signals():
        place = Path(temporary)
        (place / "job.json").write_text(json.dumps(job), encoding="utf-8")
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=str(place / "logs")),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "debater_search.training.worker", temporary)
        except SignalException as stopped:
            raise KeyboardInterrupt from stopped
        except ChildFailedError as failed:
            killed = {rank: failure.exitcode for rank, failure in failed.failures.items() if failure.exitcode < 0}
            raise explained(place, processes, killed) from None


def explained(place: Path, processes: int, killed: dict[int, int]) -> Exception:
    """What went wrong: the first process to fail says it, unless one was killed and could say nothing."""
    for rank, code in killed.items():
        if -code != signal.SIGTERM:  # that is how the others are stopped
            return UnavailableError(
                f"Process {rank} of {processes} was killed ({signal.Signals(-code).name}); the others were stopped.",
                "Perhaps memory ran out: lower gradient_cache or `processes`. Go on with `resume`.",
            )
    told = sorted(place.glob("error-*.json"), key=lambda path: path.stat().st_mtime_ns)
    if not told:
        return UnavailableError("A process ended without a word; the others were stopped.", "Go on with `resume`.")
    error = json.loads(told[0].read_text(encoding="utf-8"))
    if "message" in error:
        return KINDS[error["kind"]](error["message"], error["hint"])
    if "os_error" in error:
        return OSError(*error["os_error"])
    if "memory" in error:
        return MemoryError(error["memory"])
    return RuntimeError(f"process {told[0].stem.removeprefix('error-')} of {processes} failed:\n{error['traceback']}")


@contextmanager
def _environment(processes: int) -> Iterator[None]:
    """Threads shared among the processes; what the user has set stays."""
    ours = share_of_threads(processes)
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]


@contextmanager
def _own_signals() -> Iterator[None]:
    """Elastic sets signal handlers and leaves them; put back those that were there."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
