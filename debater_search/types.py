"""The nouns of the field, shared by every floor."""

from dataclasses import asdict, dataclass, field
from typing import Any

Qrels = dict[str, dict[str, int]]
"""Relevance judgements: query id → document id → gain (0 = judged, not relevant)."""

Run = dict[str, dict[str, float]]
"""What a system answered: query id → document id → score (higher is better)."""


@dataclass(frozen=True, slots=True)
class Document:
    """One entry of a corpus."""

    id: str
    text: str = ""
    title: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """What an encoder reads: title and text joined by a blank."""
        return f"{self.title} {self.text}".strip()


@dataclass(frozen=True, slots=True)
class Span:
    """Where a passage stands in its document: `text[start:stop]`, preceded by the first `title` characters of title."""

    title: int
    start: int
    stop: int

    def of(self, document: Document) -> Document:
        """The passage as a document of its own, with the id of the whole."""
        return Document(document.id, document.text[self.start : self.stop], document.title[: self.title])


@dataclass(frozen=True, slots=True)
class Query:
    """One question, with the id that qrels and runs call it by."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One row of training data: a query, a text that answers it, texts that do not; with a teacher's scores, if any."""

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    source: str = ""
    positive_score: float | None = None
    negative_scores: tuple[float, ...] = ()
    """Aligned with `negatives`, or empty."""
    instruction: str | None = None
    """The row's own, instead of the set's; "" is none."""


@dataclass(frozen=True, slots=True)
class RankedScore:
    """The rank of a document in one ranking, from 1, and its score there."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a document is a hit: its ranks by vectors and by words, and its cosine at every stored thinking step.

    None if the document is not in that ranking, or the ranking was not made.
    """

    dense: RankedScore | None
    lexical: RankedScore | None
    steps: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class Hit:
    """One search result; `rank` starts at 1. It has an `explanation` where one was asked for."""

    rank: int
    id: str
    score: float
    title: str = ""
    text: str = ""
    snippet: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    explanation: Explanation | None = None

    def as_dict(self) -> dict[str, Any]:
        """The hit as plain JSON types; without `explanation` where there is none."""
        fields = asdict(self)
        if self.explanation is None:
            del fields["explanation"]
        return fields


@dataclass(frozen=True, slots=True)
class Like:
    """A query by example: documents like the one with this id."""

    id: str


Count = tuple[str | int | float | bool, int]
"""A value, and the number of documents that have it."""


@dataclass(frozen=True, slots=True)
class Facet:
    """The values of a field, the most frequent first, and `of`, the number of documents that have the field."""

    of: int
    values: list[Count]


@dataclass(frozen=True, slots=True)
class Facets:
    """Facets by the names of their fields, counted among the `documents` best ones."""

    documents: int
    fields: dict[str, Facet]


@dataclass(frozen=True, slots=True)
class Answer:
    """The hits of a query, best first.

    `timings` are seconds: `encode` the query, `retrieve` a ranking, `fetch` the documents. `generation` numbers the
    state of the index that was searched: 0 when it was built, one more with every change. `notes` are sentences about
    the request, such as that a comparison of its filter can never be true. There are `facets` if some were asked for.
    """

    hits: list[Hit]
    timings: dict[str, float]
    generation: int
    notes: tuple[str, ...] = ()
    facets: Facets | None = None


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """The run of many queries; the other fields are those of `Answer`."""

    run: Run
    timings: dict[str, float]
    generation: int
    notes: tuple[str, ...] = ()
