"""What the FAISS backend keeps in a `VectorRecord`."""

from typing import Any, Self

from pydantic import BaseModel, ValidationError

from debater_search.errors import DamagedError
from debater_search.store.manifest import MEND, FileName, VectorRecord
from debater_search.vectors.dropped import Part


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
