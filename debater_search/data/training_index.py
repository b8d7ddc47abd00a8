"""One pass over the JSON lines of a training set: where each good row lies, and what is wrong with the others."""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

from debater_search.data.files import place
from debater_search.data.training import TrainingRow
from debater_search.data.training_sources import MAX_LINE, TrainingSource, parse_line
from debater_search.errors import DebaterError, InvalidError

RECORD = struct.Struct("<qqq")
"""A good row in the index: offset and length of its line in bytes, and the line's number."""

BAD_SHOWN = 5
IGNORED_SHOWN = 20

State = list[list[str | int]]
"""Path, size and modification time (ns) of every file that a set is made of."""


@dataclass
class Contents:
    """What the pass found; kept beside the index."""

    unit: str
    plain: bool
    state: State
    rows: int = 0
    """Good ones."""
    scored: int = 0
    """Good ones in which a teacher scored every text."""
    with_negatives: int = 0
    """Good ones with negatives of their own."""
    ignored: list[str] = field(default_factory=list)
    """Names of fields that are not read."""
    bad: int = 0
    first_bad: list[str] = field(default_factory=list)
    """Messages of the first bad rows, without the path that each begins with: it may be called otherwise next time."""
    hint: str = ""
    """What the first bad row needs."""
    size: int = 0
    """Of the JSON lines, in bytes."""
    sha256: str = ""
    """Of the JSON lines."""

    def note_bad(self, message: str, hint: str) -> None:
        """Count a bad row and keep its message, if it is among the first."""
        self.bad += 1
        self.hint = self.hint or hint
        if len(self.first_bad) < BAD_SHOWN:
            self.first_bad.append(message)


def index_lines(
    source: TrainingSource, contents: Contents, index: BinaryIO, spool: BinaryIO | None, report: Callable[[int], None]
) -> None:
    """Check every row of `source`, write a RECORD for each good one and fill in `contents`.

    The lines are copied to `spool`, if there is one; `report` is told of every line's bytes.
    """
    digest = hashlib.sha256()
    number, continued = 0, False  # a line too long comes in pieces
    for piece in source.lines():
        number += not continued
        cut = len(piece) >= MAX_LINE and not piece.endswith(b"\n")
        if not continued and piece.strip():
            try:
                row = _row(piece, number, cut, source)
            except DebaterError as error:
                contents.note_bad(error.message.removeprefix(source.path), error.hint)
            else:
                index.write(RECORD.pack(contents.size, len(piece), number))
                contents.rows += 1
                contents.scored += row.scored
                contents.with_negatives += bool(row.negatives)
                if row.ignored and len(contents.ignored) < IGNORED_SHOWN:
                    contents.ignored = list(dict.fromkeys((*contents.ignored, *row.ignored)))[:IGNORED_SHOWN]
        continued = cut
        digest.update(piece)
        if spool is not None:
            spool.write(piece)
        contents.size += len(piece)
        report(len(piece))
    contents.sha256 = digest.hexdigest()


def _row(line: bytes, number: int, cut: bool, source: TrainingSource) -> TrainingRow:
    if cut:
        at = place(source.path, number, source.unit)
        raise InvalidError(f"{at}: the line is longer than {MAX_LINE >> 20} MiB.", "Is this the right file?")
    return parse_line(line, number, source.path, source.unit)
