"""The bodies of requests, and of answers for the description of the API. Fields that are not named here are refused."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=500)]
_MOST = "The server refuses k + offset above its max_k, by default 100."


class Strict(BaseModel):
    """A body of a request: no other fields, and no guessing at types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SearchRequest(Strict):
    """What to search for, and how; either `query` or `like`."""

    query: Annotated[str | None, Field(description="The query.")] = None
    like: Annotated[str | None, Field(max_length=10_000, description="Find documents like the one with this id.")] = (
        None
    )
    k: Annotated[int, Field(ge=1, le=10_000, description=f"Hits. {_MOST}")] = 10
    offset: Annotated[int, Field(ge=0, le=10_000, description=f"Hits to skip. {_MOST}")] = 0
    mode: Annotated[
        Literal["dense", "lexical", "hybrid"] | None,
        Field(description="By vectors, by words or by both. Default: dense; lexical for an index of words only."),
    ] = None
    weights: Annotated[
        list[Annotated[float, Field(gt=0, le=1e6)]] | None,
        Field(min_length=2, max_length=2, description="Weights of the dense and the lexical ranking in mode hybrid."),
    ] = None
    where: Annotated[str | None, Field(max_length=100_000, description="A filter, such as year >= 1958.")] = None
    rescore: Annotated[Literal["max", "mean"] | None, Field(description="Reorder by stored thinking steps.")] = None
    rerank: Annotated[
        int | None, Field(ge=1, le=1000, description="Reorder this many hits by the server's reranker.")
    ] = None
    facets: Annotated[list[Name], Field(max_length=20, description="Fields whose values are counted.")] = []
    explain: Annotated[bool, Field(description="Say why each document is a hit.")] = False
    instruction: Annotated[
        str | None, Field(max_length=2_000, description="Put before the query. Default: the model's own.")
    ] = None


class ErrorDetail(BaseModel):
    """What is wrong, and what to do."""

    code: str
    message: str
    hint: str
    type: str
    request_id: str


class ErrorBody(BaseModel):
    """The shape of every error."""

    error: ErrorDetail


class RankedScoreBody(BaseModel):
    """A place in one ranking."""

    rank: int
    score: float


class ExplanationBody(BaseModel):
    """Why a document is a hit."""

    dense: RankedScoreBody | None
    lexical: RankedScoreBody | None
    rerank: RankedScoreBody | None
    steps: list[float] | None


class MarksBody(BaseModel):
    """Where title and snippet hold words of the query: first character, and the one behind the last."""

    title: list[tuple[int, int]]
    snippet: list[tuple[int, int]]


class HitBody(BaseModel):
    """A hit."""

    rank: int
    id: str
    score: float
    title: str
    snippet: str
    marks: MarksBody
    metadata: dict[str, Any]
    explanation: ExplanationBody | None = None
    relevant: bool | None = None


class FacetBody(BaseModel):
    """How often values come among the `of` best documents, of which `documents` have the field.

    Dates are counted by day, month or year, numbers with more than ten values in `ranges`: the first number, the first
    one behind the range, the count.
    """

    of: int
    documents: int
    values: list[tuple[str | int | float | bool, int]]
    ranges: list[tuple[int | float, int | float, int]]


class MillisecondsBody(BaseModel):
    """Where the time went."""

    queue: float
    encode: float
    retrieve: float
    rerank: float
    fetch: float


class SearchAnswer(BaseModel):
    """The hits of a search, best first."""

    index: str
    generation: int
    hits: list[HitBody]
    facets: dict[str, FacetBody]
    truncated: bool
    notes: list[str]
    ms: MillisecondsBody


class IndexBody(BaseModel):
    """An index in a list."""

    name: str
    documents: int
    generation: int
    model: str | None
    dim: int | None
    modes: list[str]


class IndexesAnswer(BaseModel):
    """The indexes that a key may see."""

    indexes: list[IndexBody]


class FieldBody(BaseModel):
    """A metadata field: numbers and dates have `min` and `max`, others their most frequent `values`.

    `lists` is true where a document has more than one value.
    """

    name: str
    type: str
    documents: int
    min: int | float | str | None = None
    max: int | float | str | None = None
    values: list[tuple[str | int | float | bool, int]] | None = None
    distinct: int | None = None
    lists: bool | None = None


class IndexFacts(IndexBody):
    """What is in an index, as `debater info` says it."""

    model_config = ConfigDict(extra="allow")

    fields: list[FieldBody]
    warnings: list[str]
    max_k: int
    """The largest k + offset of a search."""
    reranks: bool
    """Whether the server has a reranker."""
    judgements: bool
    """Whether this key may judge hits."""


class ListedDocument(BaseModel):
    """A document without its text; the snippet is its first sentence."""

    id: str
    title: str
    snippet: str
    metadata: dict[str, Any]


class DocumentsAnswer(BaseModel):
    """Documents that a filter allows, of `total`."""

    index: str
    generation: int
    total: int
    documents: list[ListedDocument]
    notes: list[str]


class DocumentBody(BaseModel):
    """A document, and a part of its text: `characters` from `offset` on, of `total_characters`."""

    index: str
    generation: int
    id: str
    title: str
    text: str
    offset: int
    characters: int
    total_characters: int
    metadata: dict[str, Any]


class ChangeAnswer(BaseModel):
    """What a committed change did, in documents; `documents` are in the index now.

    `warnings` name fields of which a few values are no numbers or no dates as the others are, and dates, prices and
    lists that are kept as text. In an index of more than 10,000 documents they are not looked for.
    """

    index: str
    generation: int
    documents: int
    added: int
    updated: int
    deleted: int
    unchanged: int
    encoded: int
    warnings: list[str]


class Health(BaseModel):
    """Whether the server is alive, or ready; if not, why."""

    status: str
    reason: str | None = None
