"""The bodies of requests to models, and of their answers, in the shapes of other services."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from debater_search.serving.schemas import Name, Strict


class EmbeddingsRequest(Strict):
    """Texts to encode, as OpenAI's clients send them."""

    model: Name
    input: Annotated[
        Any, Field(description="A text or a list of texts.", json_schema_extra={"type": ["string", "array"]})
    ]
    input_type: Annotated[Literal["query", "document"] | None, Field(description="Default: document.")] = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int | None, Field(ge=1, le=100_000)] = None
    user: Annotated[str | None, Field(max_length=1_000, description="Not read.")] = None


class RerankRequest(Strict):
    """Texts to order by a query, as Cohere's and Jina's clients send them."""

    model: Annotated[Name | None, Field(description="Default: the server's reranker.")] = None
    query: Annotated[str, Field(min_length=1)]
    documents: Annotated[list[str], Field(min_length=1, max_length=1000)]
    top_n: Annotated[int | None, Field(ge=1, le=1000)] = None
    return_documents: bool = False


class UsageBody(BaseModel):
    """Tokens that the model read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingBody(BaseModel):
    """One vector: numbers, or float32 in base64, little-endian."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingsAnswer(BaseModel):
    """Vectors in the order of the texts."""

    object: Literal["list"]
    data: list[EmbeddingBody]
    model: str
    usage: UsageBody
    truncated: bool


class RerankUsage(BaseModel):
    """Tokens that the model read."""

    total_tokens: int


class RerankedText(BaseModel):
    """A text, where `return_documents` asks for it."""

    text: str


class RerankedBody(BaseModel):
    """A text by its place in the request."""

    index: int
    relevance_score: float
    document: RerankedText | None = None


class RerankAnswer(BaseModel):
    """The texts, best first."""

    results: list[RerankedBody]
    model: str
    usage: RerankUsage
