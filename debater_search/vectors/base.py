"""The seam between the engine and the program that keeps its vectors.

A `VectorBackend` writes: it builds an index, adds vectors to it and drops vectors from it. All that it must remember is
in a `VectorRecord`, which the index's manifest keeps; the manifest's rename commits the change. A `VectorIndex` reads.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from debater_search.coerce import require_whole
from debater_search.errors import InvalidError
from debater_search.store.manifest import VectorRecord


@dataclass(frozen=True)
class Selection:
    """The vectors that a search may find: only those at `positions`, or, with `exclude`, all others.

    `positions` are int64, ascending and distinct. Positions that the index does not have, or has dropped, are ignored.
    """

    positions: np.ndarray
    exclude: bool = False


@dataclass(frozen=True)
class VectorSettings:
    """How an index is built: its type (`auto`, or a name that the backend knows), and what bounds the choice.

    `memory` is in bytes, None for half of the machine's. An approximate index is tuned until its recall@10 reaches
    `recall`. `uri` is where a backend keeps vectors that do not lie in the folder of the index. `why` is the
    reason for which the first build of an index chose `type`; it is empty where the user asked for the type.
    """

    type: str = "auto"
    memory: int | None = None
    recall: float = 0.95
    uri: str | None = None
    why: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.recall, Real) or not 0 < self.recall <= 1:
            shown = f"{self.recall:g}" if isinstance(self.recall, Real) else repr(self.recall)
            raise InvalidError(f"The target recall must be above 0 and at most 1, not {shown}.", "The default is 0.95.")
        if self.memory is not None:
            require_whole(self.memory, "memory", 1)


class VectorIndex(Protocol):
    """Vectors numbered from 0 in the order in which they were added, searched by inner product."""

    def __len__(self) -> int:
        """How many vectors a search can find; dropped vectors do not count."""
        ...

    def search(
        self, queries: np.ndarray, k: int, within: Selection | None = None, *, exact: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the k best vectors for each query.

        Args:
            queries: float32 [q, dim].
            k: hits per query, 1 or more.
            within: the vectors that may be found; None for all. Dropped vectors are never found.
            exact: compare with every vector that may be found, whatever the type of the index. Without it a backend
                says in its own documentation how much an approximate type finds, filtered or not.

        Returns:
            Scores, float32, and positions, int64: both [q, min(k, number of vectors that may be found)], best first,
            equal scores in the order of their positions. A type that is exact keeps this order across the cut at k.

        """
        ...


class VectorBackend(Protocol):
    """Writes vector indexes into the folder of an index, and opens them. It has no state besides the record.

    A change writes new files and returns a new record; it never touches the files that the old record names, so that
    a change that is given up leaves the old index as it was. `generation` numbers the changes and names their files.
    """

    name: str
    takes: Literal["positions", "tree"]
    """The form in which a filter reaches a search: as the positions that pass it, or as the filter's tree."""
    remote: bool
    """Whether the vectors lie outside the folder of the index, where no hash of a file covers them."""

    def validate(self, settings: VectorSettings, dim: int | None) -> None:
        """Raise DebaterError for settings that cannot be built, before anything is encoded.

        `dim` is None while it is not known: then only for settings that are wrong whatever it is.
        """
        ...

    def build(
        self, folder: Path, chunks: Iterable[np.ndarray], dim: int, settings: VectorSettings, generation: int
    ) -> VectorRecord:
        """Build an index of all chunks, float32 [n, dim] each, which may be read more than once.

        Raises:
            DebaterError: the settings cannot be followed with these vectors.

        """
        ...

    def extend(self, folder: Path, record: VectorRecord, chunks: Iterable[np.ndarray], generation: int) -> VectorRecord:
        """Add vectors, whose positions follow those that the record has given out."""
        ...

    def drop(self, folder: Path, record: VectorRecord, positions: np.ndarray, generation: int) -> VectorRecord:
        """Drop the vectors at these positions, int64; no search finds them again. Positions are never reused.

        Raises:
            ValueError: a position was never given out.

        """
        ...

    def open(self, folder: Path, record: VectorRecord, device: str = "cpu") -> VectorIndex:
        """Open an index; on `device` "cuda" or "cuda:N" it is searched there, if the backend can.

        Raises:
            DamagedError: a file is missing, or is not what the record says.

        """
        ...

    def check(self, folder: Path, record: VectorRecord) -> list[str]:
        """Read everything and return the names of the files that are missing or differ from the record."""
        ...

    def remove(self, folder: Path, record: VectorRecord) -> None:
        """Delete what belongs to this record; what is gone already is no error."""
        ...

    def remove_lost(self, folder: Path, record: VectorRecord | None) -> None:
        """Remove what killed changes left outside the folder; with `record`, all but what belongs to it."""
        ...

    def settings(self, record: VectorRecord) -> VectorSettings:
        """The settings with which `build` makes an index like this one again."""
        ...

    def describe(self, record: VectorRecord) -> dict[str, Any]:
        """Facts about an index for people, in plain JSON types."""
        ...
