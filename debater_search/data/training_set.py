"""A training set of any size as a sequence: rows are read from the disk when they are asked for."""

import logging
import os
import weakref
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np

from debater_search.data.training import no_examples
from debater_search.data.training_cache import INDEX, ROWS, is_current, open_entry, read_contents
from debater_search.data.training_index import RECORD
from debater_search.data.training_sources import parse_line, place_of_line, training_source
from debater_search.errors import DebaterError, InvalidError, MissingError, UnavailableError
from debater_search.types import TrainingExample

logger = logging.getLogger(__name__)


def open_training_set(
    path: str | Path, *, corpus: str | Path | None = None, max_bad: int = 0, source: str | None = None
) -> "TrainingSet":
    """Open the training rows at `path`, having checked every one of them.

    `path` is a file (JSON lines, CSV, TSV, Parquet, each also .gz or .zst), a folder in BEIR layout with
    qrels/train.tsv (all positives of a query make one row), judgements of hits, whose documents are those of `corpus`
    (an index or a corpus), or `org/name` or `org/name:config` of a Hugging Face hub.
    The shapes of rows are those of `training.parse_row`. `source` names the set in its examples.
    The first opening reads everything once; what it learns is kept in the cache until the data changes.
    Up to `max_bad` rows that cannot be used are left out, with a warning. Raises DebaterError if there are more, naming
    the first ones with file and line; if there is no good row; and if the data cannot be read.
    """
    found = training_source(path, corpus)
    rows = TrainingSet(open_entry(found), found.path, source if source is not None else found.name)
    if rows.bad.count > max_bad:
        raise InvalidError(
            f"Rows of {path} that cannot be used: {rows.bad}",
            f"{rows.bad.hint} To leave such rows out, set max_bad (now {max_bad}).".strip(),
        )
    if rows.bad.count:
        logger.warning("Rows of %s that are left out: %s", path, rows.bad)
    if not len(rows):
        raise no_examples(path)
    return rows


@dataclass(frozen=True)
class BadRows:
    """Rows that cannot be used and are left out."""

    count: int
    first: tuple[str, ...]
    """Messages of the first ones, each with file and line."""
    hint: str = ""
    """What the first one needs."""

    def __str__(self) -> str:
        return " ".join([f"{self.count:,}.", *self.first, *(["…"] if self.count > len(self.first) else [])])


class TrainingSet:
    """Rows of training data by position. It holds no row in memory; may be pickled, forked, and read by threads.

    Attributes:
        source: what its examples call it.
        fingerprint: sha256 in hex of its rows as JSON lines; of a plain .jsonl file, the file's own.
        bad: what was left out.
        scored: how many rows have a teacher's score for every text.
        with_negatives: how many rows have negatives of their own.
        ignored: names of fields that are not read.
    """

    def __init__(self, entry: Path, path: str, source: str) -> None:
        """Open an entry of the cache (`open_training_set` makes it). Raises DebaterError if the data has changed."""
        contents = read_contents(entry)
        if contents is None:
            raise MissingError(f"The index of a training set, {entry}, is gone.", "Start again: it is made anew.")
        self._entry, self._contents, self._path, self.source = entry, contents, path, source
        self.fingerprint, self.scored = contents.sha256, contents.scored
        self.with_negatives, self.ignored = contents.with_negatives, tuple(contents.ignored)
        self.bad = BadRows(contents.bad, tuple(path + message for message in contents.first_bad), contents.hint)
        if contents.plain and not is_current(contents):
            raise self._changed()
        self._index = self._open(entry / INDEX)
        self._lines = self._open(Path(str(contents.state[0][0])) if contents.plain else entry / ROWS)

    def __len__(self) -> int:
        """Good rows."""
        return self._contents.rows

    def __reduce__(self) -> tuple[Any, ...]:
        return TrainingSet, (self._entry, self._path, self.source)

    def example(self, row: int, pick: int = 0) -> TrainingExample:
        """Row `row`, counted from 0, with its positive number `pick` (modulo their count).

        Raises IndexError where there is no such row, and DebaterError if the file was changed since it was opened.
        """
        line, number = self._line(row)
        try:
            return parse_line(line, number, self._path, self._contents.unit).example(pick, self.source)
        except DebaterError as error:  # every row was good once
            raise self._changed() from error

    def place(self, row: int) -> str:
        """How messages call a row: its file and line, or the query's id in a BEIR folder."""
        line, number = self._line(row)
        return place_of_line(line, number, self._path, self._contents.unit)

    def longest(self, count: int) -> list[int]:
        """The `count` rows of the most bytes, the longest first; all rows if there are fewer."""
        columns = RECORD.size // np.dtype("<i8").itemsize
        with mmap(self._index, 0, access=ACCESS_READ) as index:
            lengths = np.frombuffer(index, "<i8", columns * len(self)).reshape(-1, columns)[:, 1].copy()
        return [int(row) for row in np.argsort(-lengths, kind="stable")[:count]]

    def _line(self, row: int) -> tuple[bytes, int]:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        # by pread: no file position that threads and forks would share, no pages that count as this process's memory
        offset, length, number = RECORD.unpack(os.pread(self._index, RECORD.size, row * RECORD.size))
        return os.pread(self._lines, length, offset), number

    def _open(self, path: Path) -> int:
        """A descriptor that lives as long as this object, so that files removed meanwhile can still be read."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise UnavailableError(
                f"{path} cannot be read: {error.strerror or error}.", "Check its permissions."
            ) from error
        weakref.finalize(self, os.close, descriptor)
        return descriptor

    def _changed(self) -> InvalidError:
        return InvalidError(f"{self._path} was changed after it had been opened.", "Start again.")
