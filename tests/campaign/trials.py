"""What all campaigns share: numbered trials, work in child processes that may die, results as JSON lines.

The number of a trial seeds everything random in it, so that a trial that failed can be run again alone.
"""

import json
import os
import pickle
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Protocol

from debater_search.errors import DebaterError

PATIENCE = 60.0
"""Seconds after which a child hangs."""


@dataclass
class Outcome:
    """What a trial did, in words that can be counted; what went wrong, if anything; how many inputs it tried."""

    what: str
    failure: str | None = None
    inputs: int = 1
    note: str = ""


class Campaign(Protocol):
    """A kind of bad day."""

    name: str
    target: int
    """Inputs after which the campaign is done."""

    def prepare(self, place: Path) -> None:
        """Make what all trials start from, in an empty folder."""

    def trial(self, random: Random, place: Path) -> Outcome:
        """One bad day, in an empty folder."""


@dataclass
class Ended:
    """How a child ended: with a value, with a DebaterError (`refused`), with a bug (`crashed`), or by a signal."""

    value: Any = None
    refused: str | None = None
    crashed: str | None = None
    signal: int | None = None

    @property
    def killed(self) -> bool:
        """Whether it was killed as it was to be."""
        return self.signal == signal.SIGKILL

    @property
    def failure(self) -> str | None:
        """What no child may do: end in a traceback, crash or hang."""
        return self.crashed or (f"signal {self.signal}" if self.signal not in (None, signal.SIGKILL) else None)


def run(campaign: Campaign, results: Path, *, seconds: float, only: int | None = None) -> None:
    """Run trials from where the results end, until the target or the time is reached; each is a line of `results`."""
    done = read_results(results) if only is None else []
    inputs = sum(line["inputs"] for line in done)
    results.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"campaign-{campaign.name}-") as scratch:
        place = Path(scratch)
        os.environ["XDG_CACHE_HOME"] = str(place / "cache")
        (place / "prepared").mkdir()
        campaign.prepare(place / "prepared")
        until = time.monotonic() + seconds
        for number in count(len(done)) if only is None else (only,):
            if inputs >= campaign.target or time.monotonic() > until:
                return
            (place / "trial").mkdir()
            started = time.monotonic()
            outcome = campaign.trial(Random(f"{campaign.name} {number}"), place / "trial")
            shutil.rmtree(place / "trial")
            inputs += outcome.inputs
            line = {"trial": number, **asdict(outcome), "seconds": round(time.monotonic() - started, 3)}
            if outcome.failure:
                print(json.dumps(line, indent=2), file=sys.stderr)
            if only is None:
                with results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")


def read_results(results: Path) -> list[dict[str, Any]]:
    """The lines that earlier runs wrote; one that a kill cut off is dropped."""
    if not results.exists():
        return []
    whole = results.read_bytes().rpartition(b"\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def child(
    work: Callable[[], Any],
    *,
    after: float | None = None,
    step: int | None = None,
    patience: float = PATIENCE,
) -> Ended:
    """Do `work` in a fork of this process; kill it `after` seconds or at its `step`-th step on the disk."""
    started = start(work, step=step)
    return finish(*started, after=after, patience=patience)


def start(work: Callable[[], Any], *, step: int | None = None) -> tuple[int, Path]:
    """Begin `work` in a fork; returns its process and the file of its result, for `finish`."""
    descriptor, name = tempfile.mkstemp(prefix="campaign-result-")
    os.close(descriptor)
    process = os.fork()
    if process == 0:
        _in_the_child(work, Path(name), step)
    return process, Path(name)


def finish(process: int, result: Path, *, after: float | None = None, patience: float = PATIENCE) -> Ended:
    """Wait for a child; kill it `after` seconds. One that takes longer than `patience` hangs."""
    begun = time.monotonic()
    hangs = False
    while not (found := os.waitpid(process, os.WNOHANG))[0]:
        waited = time.monotonic() - begun
        hangs = after is None and waited > patience
        if hangs or (after is not None and waited > after):
            os.kill(process, signal.SIGKILL)
        time.sleep(0.0005 if after is not None else 0.002)
    content = result.read_bytes()
    result.unlink()
    status = os.waitstatus_to_exitcode(found[1])
    if hangs:
        return Ended(crashed=f"it hangs: more than {patience:.0f} s")
    if status < 0:
        return Ended(signal=-status)
    return pickle.loads(content)  # our own child's


def _in_the_child(work: Callable[[], Any], result: Path, step: int | None) -> None:
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)
    if step is not None:
        _kill_at(step)
    try:
        ended = Ended(value=work())
    except DebaterError as error:
        ended = Ended(refused=f"{type(error).__name__}: {error.message}")
    except BaseException:
        ended = Ended(crashed=traceback.format_exc(limit=-8)[-3000:])
    result.write_bytes(pickle.dumps(ended))
    os._exit(0)


def _kill_at(step: int) -> None:
    """Kill this process at its `step`-th call to the file system or statement to a database."""
    steps: Iterator[int] = count(1)

    def count_one(_: object = None) -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: Any) -> None:
        if event.startswith(("os.", "shutil.", "sqlite3.connect")) or event == "open":
            count_one()

    def connect(*arguments: Any, **settings: Any) -> sqlite3.Connection:
        connection = opened(*arguments, **settings)
        connection.set_trace_callback(count_one)
        return connection

    opened, sqlite3.connect = sqlite3.connect, connect  # type: ignore[assignment]
    sys.addaudithook(hook)
