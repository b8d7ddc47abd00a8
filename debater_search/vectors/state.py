"""What a backend keeps in a record, read back as the model it was written from."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from debater_search.errors import DamagedError
from debater_search.refusals import dotted, refusal
from debater_search.store.manifest import MEND, VectorRecord

S = TypeVar("S", bound=BaseModel)


def state_of(kind: type[S], record: VectorRecord) -> S:
    """The state in a record; DamagedError if it is not of this kind."""
    try:
        return kind.model_validate(record.state)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = dotted(("vectors", "state", *first["loc"]))
        raise DamagedError(f"The manifest is damaged: {refusal(first, place)}.", MEND) from None
