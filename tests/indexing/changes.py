"""Changes for tests that kill them: python changes.py KILL INDEX PLACE CHANGE POINT…, or changes.py RUN INDEX."""

import itertools
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from debater_search.indexing import add, build, compact, delete, update
from debater_search.types import Document
from tests.fakes import FakeEncoder, tiny_corpus

CORPUS = tiny_corpus()


def fresh(id: str, text: str = "Flutter took its place.") -> Document:
    return Document(id, text, "Changed", {"year": 50})


CHANGES: dict[str, Callable[[Path], object]] = {
    "add": lambda index: add(index, [fresh("n1"), fresh("d7", "another text")], encoder=FakeEncoder()),
    "delete": lambda index: delete(index, ["d3", "n0"]),
    "update": lambda index: update(index, [fresh("d8"), *CORPUS[10:], fresh("n2")], encoder=FakeEncoder()),
    "compact": compact,
}
SEQUENCE = 3 * ["add", "delete", "compact", "update", "add", "compact", "delete", "update"]


def build_and_change(index: Path) -> Path:
    """An index with additions, deletions, and files of an earlier generation for the next writer to remove."""
    build(CORPUS, FakeEncoder(), index, shard_size=10)
    add(index, [fresh("n0"), fresh("d5")], encoder=FakeEncoder())
    delete(index, ["d0"])
    return index


def killed_at(point: int, change: Callable[[Path], object], index: Path) -> int:
    """Run a change in a process that is killed at its `point`-th step on the disk; returns how it ended.

    A step is a call to the file system or a statement to a database.
    """
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = point

    def step(_: object = None) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def count(event: str, arguments: Any) -> None:
        if event.startswith(("os.", "shutil.", "sqlite3.connect")) or (
            event == "open" and str(index) in str(arguments)
        ):
            step()

    def connect(*arguments: Any, **settings: Any) -> sqlite3.Connection:
        connection = opened(*arguments, **settings)
        connection.set_trace_callback(step)
        return connection

    opened, sqlite3.connect = sqlite3.connect, connect
    sys.addaudithook(count)
    change(index)
    os._exit(0)


def kill(original: Path, place: Path, change: str, points: list[int]) -> None:
    """Kill a change at these of its steps (none: at all), each on a copy PLACE/POINT of the index."""
    # What a change imports is imported before the forks, which would each do it.
    import faiss  # noqa: F401
    import numpy as np
    import pyarrow.parquet

    pyarrow.array(np.zeros(1))
    for point in points or itertools.count(1):
        copy = Path(shutil.copytree(original, place / f"{point}"))
        if not killed_at(point, CHANGES[change], copy) and not points:
            break


if __name__ == "__main__":
    if sys.argv[1] == "KILL":
        kill(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], [int(point) for point in sys.argv[5:]])
    else:
        print("changing", flush=True)
        for name in SEQUENCE:
            CHANGES[name](Path(sys.argv[2]))
