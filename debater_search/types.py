"""The nouns of the field, shared by every floor."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, SupportsIndex, overload

from debater_search.notebook import paragraph, table
from debater_search.terminal import printable

_LINE = 80  # characters of a hit that is shown on a line
_VALUES = 10  # values of a field that are shown

Qrels = dict[str, dict[str, int]]
"""Relevance judgements: query id → document id → gain (0 = judged, not relevant)."""

Run = dict[str, dict[str, float]]
"""What a system answered: query id → document id → score (higher is better)."""


@dataclass(frozen=True, slots=True)
class Document:
    """One entry of a corpus.

    Examples:
        >>> Document("wings", "A wing carries an aircraft.", title="Wings", metadata={"year": 1955}).content
        'Wings A wing carries an aircraft.'
    """

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
    """One question, with the id that qrels and runs call it by.

    Examples:
        >>> list(engine.search_batch([Query("q1", "heat")]))
        ['q1']
    """

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
    """Why a document is a hit: its ranks by vectors, by words and by a reranker, its cosine at every thinking step.

    None if the document is not in that ranking, or the ranking was not made; of `steps`, if they are not stored.
    """

    dense: RankedScore | None
    lexical: RankedScore | None
    steps: tuple[float, ...] | None
    rerank: RankedScore | None = None


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

    def __repr__(self) -> str:
        """The hit on one line; its text and metadata are attributes."""
        return f"Hit(rank={self.rank}, id={self.id!r}, score={self.score:.4f}, {self._shown()!r})"

    def _repr_html_(self) -> str:
        return Hits([self])._repr_html_()

    def _shown(self) -> str:
        """The title, or the snippet of a document without one, cut to a line."""
        shown = self.title or self.snippet
        return shown if len(shown) <= _LINE else shown[: _LINE - 1] + "…"


class Hits(list[Hit]):
    """The hits of a query, best first: a list of `Hit`, which notebooks show as a table.

    Examples:
        >>> hits = engine.search("heat", k=2)
        >>> [hit.rank for hit in hits]
        [1, 2]
        >>> hits[0].title
        'Heat'
    """

    @overload
    def __getitem__(self, at: SupportsIndex, /) -> Hit: ...
    @overload
    def __getitem__(self, at: slice, /) -> "Hits": ...
    def __getitem__(self, at: SupportsIndex | slice, /) -> "Hit | Hits":
        return Hits(super().__getitem__(at)) if isinstance(at, slice) else super().__getitem__(at)

    def __repr__(self) -> str:
        """A line for each hit: rank, score, title and id."""
        lines = [f"{hit.rank:>3}  {hit.score:.4f}  {printable(hit._shown())} [{printable(hit.id)}]" for hit in self]
        return "\n".join(lines) or "No hits."

    def _repr_html_(self, note: str = "") -> str:
        if not self:
            return paragraph(f"No hits. {note}")
        rows = [
            (str(hit.rank), f"{hit.score:.4f}", (hit.title, hit.snippet, _listed(hit.metadata.items())), hit.id)
            for hit in self
        ]
        return table(("rank", "score", "document", "id"), rows, note=note)


def _listed(values: Iterable[tuple[str, Any]]) -> str:
    return " · ".join(f"{name}: {value}" for name, value in values)


@dataclass(frozen=True, slots=True)
class Like:
    """A query by example: documents like the one with this id.

    Examples:
        >>> len(engine.search(Like("heat"), k=2))
        2
    """

    id: str


Count = tuple[str | int | float | bool, int]
"""A value, and the number of documents that have it."""


RangeCount = tuple[int | float, int | float, int]
"""The first number of a range, the first one behind it, and the number of documents that have a number in it."""


@dataclass(frozen=True, slots=True)
class Facet:
    """The values of a field, and `of`, the number of documents that have the field.

    `values` are the ten most frequent ones; those of dates are days, months or years, in their order. More than ten
    different numbers are counted in `ranges` instead.
    """

    of: int
    values: list[Count]
    ranges: list[RangeCount] = field(default_factory=list)

    def _shown(self) -> list[str]:
        """The first values, or ranges, with their counts, and how many others there are."""
        found = [*self.values, *((f"{low} … below {high}", count) for low, high, count in self.ranges)]
        others = len(found) - _VALUES
        counts = [f"{value} ({count:,})" for value, count in found[:_VALUES]]
        return [*counts, f"{others:,} more"] if others > 0 else counts


@dataclass(frozen=True, slots=True)
class Facets:
    """Facets by the names of their fields, counted among the `documents` best ones."""

    documents: int
    fields: dict[str, Facet]

    def __repr__(self) -> str:
        """A line for each field: its most frequent values with their counts."""
        lines = [f"{name}: {', '.join(facet._shown())}" for name, facet in self.fields.items()]
        return "\n".join(map(printable, lines)) or "No facets."

    def _repr_html_(self) -> str:
        if not self.fields:
            return paragraph("No facets.")
        rows = [(name, f"{facet.of:,}", ("", ", ".join(facet._shown()))) for name, facet in self.fields.items()]
        return table(("field", "documents", "values"), rows, note=f"Among the best {self.documents:,} documents.")


@dataclass(frozen=True, slots=True)
class Answer:
    """The hits of a query, best first.

    `timings` are seconds: `encode` the query, `retrieve` a ranking, `rerank` it (only where that was asked for),
    `fetch` the documents. `generation` numbers the state of the index that was searched: 0 when it was built, one more
    with every change. `notes` are sentences about the request: a comparison of its filter can never be true, or the
    query is the id of a document. There are `facets` if some were asked for.
    """

    hits: Hits
    timings: dict[str, float]
    generation: int
    notes: tuple[str, ...] = ()
    facets: Facets | None = None

    def __repr__(self) -> str:
        """A line for each hit, and what a notebook shows below them."""
        return f"{self.hits!r}\n{printable(self._note())}"

    def _repr_html_(self) -> str:
        return self.hits._repr_html_(self._note())

    def _note(self) -> str:
        took = [f"{stage} {seconds * 1000:.0f} ms" for stage, seconds in self.timings.items()]
        return " · ".join([*self.notes, *took, f"generation {self.generation}"])


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Documents that a filter allows, a page of them; `total` are all. `generation` and `notes` are as in `Answer`."""

    documents: list[Document]
    total: int
    generation: int
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """How much there is; texts may be long."""
        return f"DocumentPage({len(self.documents):,} of {self.total:,} documents, generation {self.generation})"


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """The run of many queries; the other fields are those of `Answer`."""

    run: Run
    timings: dict[str, float]
    generation: int
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """How much there is; a run may be large."""
        return f"BatchAnswer({len(self.run):,} queries, generation {self.generation})"
