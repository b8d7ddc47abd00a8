"""A check that finds something and then crashes."""

import os
import signal
from collections.abc import Iterator

from debater_search.doctor.finding import Asked, Facts, Finding, ok


def gather(_: Asked) -> Iterator[Facts]:
    print("a library says something")
    yield {"found": "something"}
    os.kill(os.getpid(), signal.SIGSEGV)


def judge(facts: Facts, _: Asked) -> Iterator[Finding]:
    yield ok("crashing", facts["found"])
