"""What the FAISS backend keeps in a `VectorRecord`, and the files of positions that it has dropped."""

from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from debater_search.errors import DamagedError
from debater_search.store.manifest import MEND, FileName, VectorRecord


class Part(BaseModel):
    """A file and the rows that it holds: vectors that were added, or positions that were dropped."""

    file: FileName
    rows: Annotated[int, Field(gt=0)]


class FaissState(BaseModel):
    """The FAISS factory string of the base and why it was chosen, search parameters as tuned, recall, and files.

    `recall` is against exact search, per depth, as measured when the base was built; recall@10 was tuned to reach
    `target`. The vectors of `segments` follow those of the base, in flat indexes; `dropped` lists positions.
    """

    factory: str
    reason: str
    parameters: dict[str, float]
    target: float
    recall: dict[int, float]
    base: FileName
    segments: list[Part] = []
    dropped: list[Part] = []

    @classmethod
    def of(cls, record: VectorRecord) -> Self:
        """The state in a record; DamagedError if it is not one of this backend."""
        try:
            return cls.model_validate(record.state)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise DamagedError(f"The manifest is damaged: vectors.state.{where}: {first['msg']}.", MEND) from None

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types, for a record."""
        return self.model_dump(mode="json")


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
