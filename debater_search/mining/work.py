"""Unfinished mining, beside its output: rows are appended block by block, and a state file commits each block.

What was written after the last commit is cut off when the same command runs again, so that a run that was killed ends
in the same bytes as one that was not.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import Field

from debater_search.errors import DamagedError, DebaterError, InvalidError
from debater_search.files import atomic
from debater_search.locks import LOCK_NAME, writing
from debater_search.store.manifest import Manifest, read_manifest, write_manifest

_ROWS, _STATE = "rows.jsonl", "state.json"


class Job(Manifest):
    """What makes two runs the same: questions, corpus and model by their fingerprints, and the settings."""

    questions: str
    corpus: str
    encoder: str | None
    reranker: str | None = None
    settings: dict[str, Any]


class State(Manifest):
    """How far a job is: rows and bytes that are committed, and what the rules dropped so far."""

    job: Job
    rows: int = 0
    bytes: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)


@contextmanager
def alone_at(output: Path) -> Iterator[None]:
    """Be the only process that mines for an output; its folder of unfinished work is there while the block runs.

    Raises:
        DebaterError: another process is at work there, as `locks.writing` says it.

    """
    folder = folder_of(output).absolute()
    made = [folder, *(parent for parent in folder.parents if not parent.exists())]
    with ExitStack() as lock:
        lock.callback(_remove_empty, made)  # once the lock is gone
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # the process before has just removed it
                lock.enter_context(writing(folder))
                break
        yield


def _remove_empty(folders: Sequence[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


class Work:
    """A job under way, in the folder of `alone_at`; what else is worth keeping may lie there too."""

    def __init__(self, output: Path, job: Job, *, force: bool = False) -> None:
        """Find what an earlier run of this job committed, or begin.

        Raises:
            DebaterError: unfinished work of another job is there, or what is there is damaged (without `force`).

        """
        self.output, self.folder = output, folder_of(output)
        self.rows = self.folder / _ROWS
        found = self._read_state(force)
        if found and found.job != job and found.rows and not force:
            raise InvalidError(
                f"{output} has the unfinished work of another call ({_difference(found.job, job)}).",
                "Call it again with those arguments, choose another `output`, or start over with `force`.",
            )
        whole = found and self.rows.exists() and self.rows.stat().st_size >= found.bytes
        if found and found.job == job and whole:
            self.state = found
        else:
            self.state = State(job=job)
            (self.folder / _STATE).unlink(missing_ok=True)  # before rows of another job take the place of its own

    def append(self, lines: Sequence[str], dropped: Counter[str]) -> None:
        """Add a block of rows; they are safe when this returns."""
        block = "".join(f"{line}\n" for line in lines).encode("utf-8")
        with self.rows.open("ab") as file:
            file.truncate(self.state.bytes)
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
        self.state.rows += len(lines)
        self.state.bytes += len(block)
        self.state.dropped = dict(Counter(self.state.dropped) + dropped)
        write_manifest(self.folder / _STATE, self.state)

    def finish(self) -> None:
        """Put the rows at the output's place, and empty the folder."""
        with atomic(self.output) as temporary:
            self.rows.replace(temporary)
        for path in self.folder.iterdir():
            if path.name != LOCK_NAME:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _read_state(self, force: bool) -> State | None:
        path = self.folder / _STATE
        if not path.exists():
            return None
        try:
            return read_manifest(path, State)
        except DebaterError as error:
            if force:
                return None
            raise DamagedError(error.message, "Start over with `force`.") from None


def folder_of(output: Path) -> Path:
    """Where the unfinished work for an output lies."""
    return output.with_name(f".{output.name}.mining")


def _difference(found: Job, job: Job) -> str:
    parts = ("questions", "corpus", "encoder", "reranker")
    names = [name for name in parts if getattr(found, name) != getattr(job, name)]
    names += [name for name, value in job.settings.items() if found.settings.get(name) != value]
    return f"different: {', '.join(name.replace('_', ' ') for name in names) or 'version'}"
