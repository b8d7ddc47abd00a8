"""A check whose gathering ends as `model` says; by default with a message full of paths."""

import os
from collections.abc import Iterator
from pathlib import Path

from debater_search.doctor.finding import Asked, Facts, Finding
from debater_search.errors import MissingError


def gather(asked: Asked) -> Iterator[Facts]:
    yield {}
    if asked.model == "hint":
        raise MissingError("It is gone.", "Look elsewhere.")
    if asked.model == "exit":
        os._exit(3)
    raise ImportError(f"{Path.home()}/venv/lib/libfaiss.so: undefined symbol; /opt/deep/lib.so too")


def judge(facts: Facts, _: Asked) -> Iterator[Finding]:
    yield from ()
