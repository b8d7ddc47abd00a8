"""The code blocks of documentation pages, and sessions that run them as a reader would.

A fenced block behind a line `<!-- run -->` is run: `sh` by bash, `python` by Python. The blocks of a page run in order,
in one folder; variables, directories and processes of one block are there in the next, as in a terminal. A page whose
first line is `<!-- slow -->` takes more than a few seconds.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
SLOW = "<!-- slow -->"
SECONDS = 900  # of one block

_BLOCK = re.compile(r"^<!-- run -->\n+```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BASH = ["bash", "--noprofile", "--norc"]
# Reads {"file", "source", "done"}, a line each; names live on from block to block.
_PYTHON = """
import json, sys
names = {"__name__": "__main__"}
for line in sys.stdin:
    block = json.loads(line)
    exec(compile(block["source"], block["file"], "exec"), names)
    sys.stdout.flush()
    open(block["done"], "w").close()
"""


@dataclass(frozen=True)
class Block:
    """A block to run: its language, its code, and the line of the page where the code begins, from 1."""

    language: str
    code: str
    line: int

    @property
    def in_place(self) -> str:
        """The code below as many empty lines as stand above it in the page, so that messages name lines of the page."""
        return "\n" * (self.line - 1) + self.code


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a page that are to be run; ValueError if a mark stands before anything else."""
    found = [Block(match[1], match[2], text[: match.start(2)].count("\n") + 1) for match in _BLOCK.finditer(text)]
    marks = len(re.findall(r"^<!-- run -->$", text, re.MULTILINE))
    if marks != len(found) or any(block.language not in ("sh", "python") for block in found):
        raise ValueError("<!-- run --> stands before a fenced block of sh or python, and nothing else.")
    yield from found


class Session:
    """Runs the blocks of a page in `folder`/work. AssertionError names page and line where one fails."""

    def __init__(self, page: str, folder: Path) -> None:
        self.page, self.folder = page, folder / "work"
        self._own = folder / "session"
        self.folder.mkdir()
        self._own.mkdir()
        self._log = self._own / "log"
        program = self._own / "bin" / "debater"
        program.parent.mkdir()
        program.write_text(
            f"#!{sys.executable}\nimport sys\nfrom debater_search.cli import main\nsys.exit(main())\n", encoding="utf-8"
        )
        program.chmod(0o755)
        path = f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._count = 0

    def run(self, block: Block) -> None:
        """Run a block to its end."""
        self._count += 1
        done = self._own / f"done-{self._count}"
        start = self._log.stat().st_size if self._log.exists() else 0
        process = self._started(block.language)
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended: said below
            process.stdin.write(self._order(block, done))
            process.stdin.flush()
        end = time.monotonic() + SECONDS
        while not done.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        if not done.exists():
            said = self._log.read_bytes()[start:].decode(errors="replace")
            why = "failed" if process.poll() is not None else f"did not end in {SECONDS} seconds"
            raise AssertionError(f"{self.page}:{block.line}: this block {why}.\n{block.code}\n{said[-4000:]}")

    def close(self) -> None:
        """End what the blocks have started, servers in the background included."""
        for process in self._running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its group outlives it while others are in it
            process.wait()

    def _started(self, language: str) -> "subprocess.Popen[str]":
        if language not in self._running:
            command = _BASH if language == "sh" else [sys.executable, "-c", _PYTHON]
            with self._log.open("ab") as log:
                self._running[language] = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True,
                    cwd=self.folder, env=self._environment, start_new_session=True,
                )  # fmt: skip
        return self._running[language]

    def _order(self, block: Block, done: Path) -> str:
        """What makes the interpreter run a block and, if it succeeds, make the file `done`."""
        if block.language == "python":
            return json.dumps({"file": self.page, "source": block.in_place, "done": str(done)}) + "\n"
        script = self._own / "scripts" / str(self._count) / Path(self.page).name
        script.parent.mkdir(parents=True)
        script.write_text(block.in_place, encoding="utf-8")
        return f"set -eo pipefail; . '{script}' </dev/null; set +eo pipefail; touch '{done}'\n"
