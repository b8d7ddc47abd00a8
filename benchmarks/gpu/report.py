"""Sections that run each in a process of its own, for a limited time, and what they say."""

import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

Result = dict[str, Any]
LEAST = 5.0
"""Seconds below which a section is not begun."""


@dataclass(frozen=True)
class Setting:
    """Where and how large everything is measured."""

    device: str
    tiny: bool
    folder: str
    """For files; gone afterwards."""

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    def sized(self, full: int, tiny: int) -> int:
        return tiny if self.tiny else full


class Report:
    """Takes what a section finds, and writes it down at once, so that it stays if the section fails later."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def check(self, what: str, value: float, limit: float) -> None:
        """A difference that must not be above a limit (NaN is above every limit)."""
        self._write("checks", {"what": what, "value": value, "limit": limit, "holds": bool(value <= limit)})

    def row(self, **cells: Any) -> None:
        """A row of the section's table."""
        self._write("rows", cells)

    def note(self, text: str) -> None:
        """What was left out, and why."""
        self._write("notes", text)

    def fail(self, error: BaseException) -> None:
        text = f"{type(error).__name__}: {error}".strip()
        self._write("error", {"error": text, "traceback": traceback.format_exc()})

    def _write(self, kind: str, what: Any) -> None:
        self._out.write(json.dumps([kind, what]) + "\n")
        self._out.flush()


@dataclass(frozen=True)
class Section:
    name: str
    work: Callable[[Setting, Report], None]
    seconds: float
    """The longest that it may take."""


def run(section: Section, setting: Setting, left: float) -> Result:
    """Run a section in a process of its own; `left`: the seconds that all sections still have.

    The process is a fork: what is imported is there, and a GPU is first used in it, so that an error of the GPU ends
    with it.
    """
    found: Result = {"name": section.name, "checks": [], "rows": [], "notes": [], "error": None, "seconds": 0.0}
    limit = left if setting.tiny else min(section.seconds, left)
    if limit < LEAST:
        found["notes"].append("Left out: no time is left.")
        return found
    sys.stdout.flush()
    began = time.monotonic()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _work(section, setting, writing)
    os.close(writing)
    lines, late = _lines(reading, began + limit)
    os.killpg(child, signal.SIGKILL) if late else None
    _, status = os.waitpid(child, 0)
    for line in lines:
        kind, what = json.loads(line)
        if kind == "error":
            found |= what
        else:
            found[kind].append(what)
    if late:
        found["error"] = f"stopped after {limit:.0f} s"
    elif status and found["error"] is None:
        found["error"] = f"the process ended with {os.waitstatus_to_exitcode(status)}"
    found["seconds"] = round(time.monotonic() - began, 1)
    return found


def _work(section: Section, setting: Setting, writing: int) -> None:
    os.setpgid(0, 0)  # with the processes that it starts
    with os.fdopen(writing, "w", encoding="utf-8") as out:
        report = Report(out)
        try:
            section.work(setting, report)
        except BaseException as error:
            report.fail(error)
    os._exit(0)


def _lines(reading: int, end: float) -> tuple[list[str], bool]:
    """What a child writes until it ends; True if it is still there at `end`, in seconds of the monotonic clock."""
    parts = []
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]:
            part = os.read(pipe.fileno(), 1 << 16)
            if not part:
                return b"".join(parts).decode().splitlines(), False
            parts.append(part)
    whole, _, _ = b"".join(parts).decode().rpartition("\n")  # without a line that it had begun
    return whole.splitlines(), True


def show(result: Result) -> None:
    """Print a section as Markdown."""
    print(f"\n## {result['name']} ({result['seconds']:.0f} s)\n")
    if result["rows"]:
        columns = list(dict.fromkeys(name for row in result["rows"] for name in row))
        print(f"| {' | '.join(columns)} |\n|--|" + "--:|" * (len(columns) - 1))
        for row in result["rows"]:
            print(f"| {' | '.join(_cell(row.get(name)) for name in columns)} |")
    if result["rows"] and result["checks"]:
        print()
    if result["checks"]:
        print("| check | difference | at most | |\n|--|--:|--:|--|")
    for check in result["checks"]:
        holds = "holds" if check["holds"] else "**FAILS**"
        print(f"| {check['what']} | {check['value']:.1e} | {check['limit']:.0e} | {holds} |")
    for note in result["notes"]:
        print(f"\n{note}")
    if result["error"]:
        print(f"\n**FAILED**: {result['error']}")
    sys.stdout.flush()


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
