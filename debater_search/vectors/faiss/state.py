"""What the FAISS backend keeps in a `VectorRecord`."""

from typing import Any, Self

from pydantic import BaseModel

from debater_search.store.manifest import FileName, VectorRecord
from debater_search.vectors.dropped import Part
from debater_search.vectors.state import state_of


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
        return state_of(cls, record)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types, for a record."""
        return self.model_dump(mode="json")
