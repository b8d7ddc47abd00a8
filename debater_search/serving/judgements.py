"""Judgements of hits, kept in a file that only grows.

Each is one JSON line (`debater_search.data.judgements`), which is on the disk before it is acknowledged.
"""

import fcntl
import json
import logging
import os
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

from debater_search.data.files import decoded, place
from debater_search.data.judgements import parse_judgement, query_text, read_judgements
from debater_search.data.rows import json_row
from debater_search.errors import InvalidError, UnavailableError
from debater_search.files import fsync

log = logging.getLogger(__name__)

Said = dict[str, bool]
"""Document id → whether it is relevant."""


class JudgementLog:
    """The file. Threads, and other servers on the same file, may append and read at the same time."""

    def __init__(self, path: Path) -> None:
        """Read the file, or make it.

        Raises:
            DebaterError: it cannot be read or written, or a line is no judgement (file and line are named).

        """
        if path.exists() and not path.is_file():
            raise InvalidError(f"{path} is not a regular file.", "Name a .jsonl file for the judgements.")
        self.path = path
        self._said: dict[tuple[str, str], Said] = defaultdict(dict)
        self._lock = Lock()
        self._read, self._lines = 0, 0  # bytes and lines of the file that `_said` knows
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock, self._opened() as file:
                self._mend(file)
            fsync(path.parent)  # the file may be new
            for _ in read_judgements(path):  # so that a bad line is named before the server listens
                pass
            with self._lock, path.open("rb") as file:
                self._catch_up(file)
        except OSError as error:
            raise _unavailable(path, error) from error

    def said(self, index: str, query: str) -> Said:
        """What was last said of the hits of a query, as far as the file can be read."""
        with self._lock:
            with suppress(OSError):  # no search fails for it
                if self.path.stat().st_size != self._read:
                    with self.path.open("rb") as file:
                        self._catch_up(file)
            return dict(self._said.get((index, query_text(query)), {}))

    def add(self, index: str, query: str, id: str, relevant: bool | None, key: str | None) -> dict[str, Any]:
        """Append a judgement, and return its line; UnavailableError if it cannot be written."""
        time = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        line = {"time": time, "index": index, "query": query_text(query), "id": id, "relevant": relevant, "key": key}
        try:
            with self._lock, self._opened() as file:
                self._mend(file)
                end = file.seek(0, os.SEEK_END)
                try:
                    file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(end)  # half a line would be taken for damage
                    raise
                self._catch_up(file)
        except OSError as error:
            raise _unavailable(self.path, error) from error
        return line

    def _opened(self) -> BinaryIO:
        """The file, held by this process alone until it is closed."""
        file: BinaryIO = open(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b", buffering=0)  # noqa: SIM115
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def _mend(self, file: BinaryIO) -> None:
        """Remove half a line at the end, which a killed server left; end a whole one that lacks its line end."""
        end = file.seek(0, os.SEEK_END)
        if not end:
            return
        file.seek(end - 1)
        if file.read(1) == b"\n":
            return
        start = _last_line(file, end)
        file.seek(start)
        try:
            parse_judgement(json_row(file.read(end - start).decode(), ""), "")
        except (InvalidError, UnicodeDecodeError):
            file.truncate(start)
        else:
            file.seek(0, os.SEEK_END)
            file.write(b"\n")

    def _catch_up(self, file: BinaryIO) -> None:
        """Learn the whole lines that were added since; those that another program wrote wrongly are left out."""
        if file.seek(0, os.SEEK_END) < self._read:  # another file is there now
            self._said.clear()
            self._read = self._lines = 0
        file.seek(self._read)
        for line in file.read().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                return  # another server is writing it
            self._read, self._lines = self._read + len(line), self._lines + 1
            if line.strip():
                self._learn(line)

    def _learn(self, line: bytes) -> None:
        where = place(self.path, self._lines)
        try:
            one = parse_judgement(json_row(decoded(line, self.path, self._lines), where), where)
        except InvalidError as error:
            log.warning("%s", error)
            return
        said = self._said[one.index, one.query]
        said.pop(one.id, None)
        if one.relevant is not None:
            said[one.id] = one.relevant


def _last_line(file: BinaryIO, end: int) -> int:
    """Where the last line begins."""
    step = 1 << 16
    for start in range(max(0, end - step), -step, -step):
        file.seek(max(0, start))
        found = file.read(min(step, end - max(0, start))).rfind(b"\n")
        if found >= 0:
            return max(0, start) + found + 1
    return 0


def _unavailable(path: Path, error: OSError) -> UnavailableError:
    return UnavailableError(f"Judgements cannot be saved in {path.name}: {error.strerror or error}.", "Check the disk.")
