"""A check whose gathering starts a process and never ends."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from debater_search.doctor.finding import Asked, Facts, Finding


def gather(asked: Asked) -> Iterator[Facts]:
    child = subprocess.Popen(["sleep", "1000"])
    Path(asked.index or "").write_text(str(child.pid))
    yield {}
    time.sleep(1000)


def judge(facts: Facts, _: Asked) -> Iterator[Finding]:
    yield from ()
