"""A probe gathers facts in a process of its own, so that a library that crashes or hangs cannot end the examination.

`python -m debater_search.doctor.probe MODULE ASKED` runs the `gather` of a check and writes what it yields as lines of
JSON. Facts that were written before a crash are kept.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import IO

from debater_search.doctor.finding import Asked, Facts
from debater_search.errors import DebaterError

_ERROR = "error"  # key of a line that says why the gathering ended


@dataclass(frozen=True)
class Failure:
    """Why a probe did not end well, in a sentence; with the hint of a DebaterError."""

    message: str
    hint: str = ""


class Probe:
    """The gathering of one check, started at once; `result` waits for it."""

    def __init__(self, module: str, asked: Asked, seconds: float) -> None:
        self._seconds = seconds
        packages = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        # -P: a file of the working directory must not take the place of a library.
        command = [sys.executable, "-P", "-m", __name__, module, json.dumps(asdict(asked))]
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(packages)},
            start_new_session=True,  # whatever it starts is ended with it
        )
        self._lines: list[bytes] = []
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def result(self) -> tuple[Facts, Failure | None]:
        """What was found out, and why there is no more of it, if the probe failed."""
        try:
            code = self._process.wait(max(0.0, self._started + self._seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.stop()
            return self._facts(), Failure(f"The check did not end within {self._seconds:.0f} seconds.")
        self._reader.join(timeout=5)
        facts = self._facts()
        if error := facts.pop(_ERROR, None):
            return facts, Failure(**error)
        if code < 0:
            return facts, Failure(f"The check crashed ({signal.Signals(-code).name}).")
        return facts, Failure(f"The check ended with exit code {code}.") if code else None

    def stop(self) -> None:
        """End it, with all that it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):  # it waits for a disk that does not answer
                self._process.wait(5)
        self._reader.join(timeout=1)

    def _read(self, stream: IO[bytes]) -> None:
        self._lines.extend(iter(stream.readline, b""))

    def _facts(self) -> Facts:
        facts: Facts = {}
        for line in list(self._lines):
            if line.endswith(b"\n"):
                facts |= json.loads(line)
        return facts


def main(module: str, asked: str) -> None:
    """Gather the facts of a check and write them to standard output; libraries that print there write to stderr."""
    voice = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        for facts in import_module(module).gather(Asked(**json.loads(asked))):
            _tell(voice, facts)
    except DebaterError as error:
        _tell(voice, {_ERROR: {"message": error.message, "hint": error.hint}})
    except Exception as error:
        _tell(voice, {_ERROR: {"message": f"{type(error).__name__}: {error}"}})
    voice.flush()
    os._exit(0)  # what libraries do at the end of a process is not examined


def _tell(voice: IO[str], facts: Facts) -> None:
    voice.write(json.dumps(facts) + "\n")
    voice.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
