"""What the agents' tools give; the docstrings are in the schemas that agents read."""

from typing import Any

from pydantic import BaseModel, SerializerFunctionWrapHandler, model_serializer

from debater_search.serving.schemas import FieldBody


class FoundHit(BaseModel):
    """A document that a search found. `snippet` is the sentence that answers best; get_document has the whole text."""

    rank: int
    id: str
    score: float
    title: str
    snippet: str
    metadata: dict[str, Any]


class Found(BaseModel):
    """The hits of a search, best first; `notes` say what is odd about the request."""

    index: str
    hits: list[FoundHit]
    notes: list[str]


class AgentField(FieldBody):
    """A metadata field: numbers and dates have `min` and `max`, others their most frequent `values`."""

    @model_serializer(mode="wrap")
    def _without_nulls(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What the field has: nulls would only fill an agent's context."""
        return {name: value for name, value in handler(self).items() if value is not None}


class AgentIndex(BaseModel):
    """An index: what it holds, its metadata fields, and filters that work."""

    name: str
    documents: int
    corpus: str
    modes: list[str]
    fields: list[AgentField]
    more_fields: int
    filter_examples: list[str]


class AgentIndexes(BaseModel):
    """The indexes that can be searched."""

    indexes: list[AgentIndex]
    damaged: dict[str, str]
    """Those that cannot be read."""
