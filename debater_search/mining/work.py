"""Unfinished mining, beside its output: rows are appended block by block, and a state file commits each block.

What was written after the last commit is cut off when the same command runs again, so that a run that was killed ends
in the same bytes as one that was not.
"""

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from debater_search.errors import DebaterError
from debater_search.files import atomic
from debater_search.store.manifest import Manifest, read_manifest, write_manifest

_ROWS, _STATE = "rows.jsonl", "state.json"


class Job(Manifest):
    """What makes two runs the same: questions, corpus and model by their fingerprints, and the settings."""

    questions: str
    corpus: str
    encoder: str | None
    settings: dict[str, Any]


class State(Manifest):
    """How far a job is: rows and bytes that are committed, and what the rules dropped so far."""

    job: Job
    rows: int = 0
    bytes: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)


class Work:
    """The folder of a job under way; `folder` may hold more that is worth keeping until the job is done."""

    def __init__(self, output: Path, job: Job, *, force: bool = False) -> None:
        """Open the folder of an earlier run of this job, or begin.

        Raises:
            DebaterError: unfinished work of another job is there, or what is there is damaged (without `force`).

        """
        self.output, self.folder = output, folder_of(output)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rows = self.folder / _ROWS
        self.state = self._read_state(force) or State(job=job)
        if self.state.job != job:
            if self.state.rows and not force:
                raise DebaterError(
                    f"{output} has the unfinished work of another command ({_difference(self.state.job, job)}).",
                    "Run that command again, choose another --output, or start over with --force.",
                )
            self.state = State(job=job)
        if not self.rows.exists() or self.rows.stat().st_size < self.state.bytes:
            self.state = State(job=job)
        with self.rows.open("ab") as file:
            file.truncate(self.state.bytes)
        self._commit()

    def append(self, lines: Sequence[str], dropped: Counter[str]) -> None:
        """Add a block of rows; they are safe when this returns."""
        block = "".join(f"{line}\n" for line in lines).encode("utf-8")
        with self.rows.open("ab") as file:
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
        self.state.rows += len(lines)
        self.state.bytes += len(block)
        self.state.dropped = dict(Counter(self.state.dropped) + dropped)
        self._commit()

    def finish(self) -> None:
        """Put the rows at the output's place, and remove the folder."""
        with atomic(self.output) as temporary:
            self.rows.replace(temporary)
        shutil.rmtree(self.folder)

    def _commit(self) -> None:
        write_manifest(self.folder / _STATE, self.state)

    def _read_state(self, force: bool) -> State | None:
        path = self.folder / _STATE
        if not path.exists():
            return None
        try:
            return read_manifest(path, State)
        except DebaterError as error:
            if force:
                return None
            raise DebaterError(error.message, "Start over with --force.") from None


def folder_of(output: Path) -> Path:
    """Where the unfinished work for an output lies."""
    return output.with_name(f".{output.name}.mining")


def _difference(found: Job, job: Job) -> str:
    names = [name for name in ("questions", "corpus", "encoder") if getattr(found, name) != getattr(job, name)]
    names += [name for name, value in job.settings.items() if found.settings.get(name) != value]
    return f"different: {', '.join(name.replace('_', ' ') for name in names) or 'version'}"
