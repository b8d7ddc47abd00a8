"""Training rows of a file as a stream, before and after they are parsed."""

from collections.abc import Iterator
from pathlib import Path

from debater_search.data.files import STDIN
from debater_search.data.rows import Fields, format_of, read_rows, row_place
from debater_search.data.training import no_examples, parse_row, set_name
from debater_search.data.training_pairs import joined_rows
from debater_search.types import TrainingExample


def read_training_examples(path: str | Path, *, pick: int = 0, source: str | None = None) -> Iterator[TrainingExample]:
    """The examples of a file, one at a time, in the shapes of `parse_row`.

    Of several positives, number `pick` (modulo their count) is taken, so that a trainer can go through them epoch by
    epoch. `source` names the set; it is the file's name by default. Raises DebaterError, naming file and line, as
    `parse_row` does; and for a file without examples.
    """
    name = source if source is not None else set_name(path)
    empty = True
    for number, fields in read_training_rows(path):
        empty = False
        yield parse_row(fields, row_place(path, number)).example(pick, name)
    if empty:
        raise no_examples(path)


def read_training_rows(path: str | Path) -> Iterator[tuple[int, Fields]]:
    """Numbered rows of a file, not yet parsed; a cell without text in CSV or TSV is a field that the row lacks.

    Labelled pairs are joined: the row of a negative is among those of its query's positives, if there are any.
    """
    return _rows(path) if str(path) == STDIN else joined_rows(lambda: _rows(path), str(path))


def _rows(path: str | Path) -> Iterator[tuple[int, Fields]]:
    rows = read_rows(path)
    if format_of(path) in ("csv", "tsv"):
        return ((number, {name: cell for name, cell in fields.items() if cell}) for number, fields in rows)
    return rows
