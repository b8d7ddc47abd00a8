"""Lists of positions that an index has dropped, in small files that a record names, for any backend."""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, Field

from debater_search.errors import DamagedError
from debater_search.files import atomic
from debater_search.store.generations import delta_name
from debater_search.store.manifest import MEND, FileInfo, FileName, VectorRecord
from debater_search.vectors.ranking import contains

_DROPPED = "dropped.npy"


class Part(BaseModel):
    """A file and the rows that it holds: vectors that were added, or positions that were dropped."""

    file: FileName
    rows: Annotated[int, Field(gt=0)]


def with_dropped(
    folder: Path, record: VectorRecord, listed: list[Part], positions: np.ndarray, generation: int
) -> tuple[VectorRecord, list[Part]]:
    """The record and its lists once `positions` are dropped too, by a file that this generation writes.

    The last lists are merged with the new one while they are small beside it (`trailing`). The state of the record is
    the caller's.

    Raises:
        ValueError: a position was never given out.

    """
    new = np.unique(np.asarray(positions, np.int64))
    if len(new) and (new[0] < 0 or new[-1] >= record.rows):
        raise ValueError(f"positions to drop must be from 0 to {record.rows - 1}")
    new = new[~contains(read_positions(folder, listed, record.rows), new)]
    if not len(new):
        return record, listed
    merged = trailing(listed, len(new))
    together = np.union1d(read_positions(folder, merged, record.rows), new)
    name = f"{delta_name(generation)}/{_DROPPED}"
    (folder / name).parent.mkdir(exist_ok=True)
    with atomic(folder / name) as temporary:
        write_positions(temporary, together)
    counts = {"dropped": record.dropped + len(new), "files": replaced(folder, record, merged, name)}
    parts = [*listed[: len(listed) - len(merged)], Part(file=name, rows=len(together))]
    return record.model_copy(update=counts), parts


def replaced(folder: Path, record: VectorRecord, gone: list[Part], name: str) -> dict[FileName, FileInfo]:
    """The files of a record once the file `name` stands in place of those of `gone`."""
    left = {part.file for part in gone}
    return {file: info for file, info in record.files.items() if file not in left} | {name: FileInfo.of(folder / name)}


def trailing(parts: list[Part], rows: int) -> list[Part]:
    """The last parts that are merged with `rows` new ones: those that hold fewer than twice as many.

    So each part holds at least twice the rows of the part after it, and there are at most log2 of all rows of them.
    """
    merged: list[Part] = []
    for part in reversed(parts):
        if part.rows >= 2 * rows:
            break
        merged.insert(0, part)
        rows += part.rows
    return merged


def write_positions(path: Path, positions: np.ndarray) -> None:
    """Write positions, int64, as a NumPy file."""
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.asarray(positions, "<i8"), allow_pickle=False)


def read_positions(folder: Path, parts: list[Part], rows: int) -> np.ndarray:
    """All positions of these files, int64, ascending.

    Raises:
        DamagedError: a file is missing, or does not list different positions of an index of `rows` rows.

    """
    found = [np.empty(0, np.int64)]
    for part in parts:
        path = folder / part.file
        try:
            with path.open("rb") as file:
                positions = np.lib.format.read_array(file, allow_pickle=False)
        except FileNotFoundError:
            raise DamagedError(f"{path} is missing.", MEND) from None
        except Exception:  # NumPy reads the header as Python: damage raises errors of many kinds
            raise DamagedError(f"{path} is damaged: NumPy cannot read it.", MEND) from None
        if positions.shape != (part.rows,) or positions.dtype != np.int64:
            raise DamagedError(f"{path} is damaged: it does not hold {part.rows:,} positions.", MEND)
        found.append(positions)
    every = np.sort(np.concatenate(found))
    if len(every) and (every[0] < 0 or every[-1] >= rows or (every[1:] == every[:-1]).any()):
        raise DamagedError(f"{folder / parts[0].file} is damaged: it lists positions that do not exist.", MEND)
    return every
