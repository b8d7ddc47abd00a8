"""How hits look: for people, with the query's words highlighted; for programs, as JSON."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from debater_search.cli.output import Output
from debater_search.terminal import printable
from debater_search.types import Explanation, Hit

if TYPE_CHECKING:
    from rich.text import Text

    from debater_search.search import QueryMarks

MATCH = "bold yellow"


def hits_document(query: Mapping[str, str], hits: Sequence[Hit], timings: Mapping[str, float]) -> dict[str, Any]:
    """What `search --json` prints for a text (`query`) or for the id of a document (`like`)."""
    return {**query, "hits": [hit.as_dict() for hit in hits], "timings": dict(timings)}


def show_hits(out: Output, marks: "QueryMarks", hits: Sequence[Hit]) -> None:
    """Print rank, score, title and id of each hit, and below them its snippet and, if it has one, its explanation."""
    from rich.text import Text

    if not hits:
        return out.show("No document matches.")
    rank_width = len(str(hits[-1].rank))
    scores = [f"{hit.score:.4f}" for hit in hits]
    score_width = max(map(len, scores))
    indent = rank_width + score_width + 4
    for hit, score in zip(hits, scores, strict=True):
        lead = Text(f"{hit.rank:>{rank_width}}  ") + Text(f"{score:>{score_width}}  ", style="cyan")
        head = highlighted(hit.title, marks, style="bold") + Text(" " if hit.title else "")
        out.beside(lead, head + Text(f"[{printable(hit.id)}]", style="dim"))
        below = [highlighted(hit.snippet, marks)] if hit.snippet else []
        if hit.explanation:
            below.append(Text(explained(hit.explanation), style="dim"))
        for line in below:
            out.beside(" " * indent, line)
    return None


def explained(explanation: Explanation) -> str:
    """Ranks by vectors, by words and by a reranker, and the cosine at each thinking step, on one line."""
    ranks = [("dense", explanation.dense), ("lexical", explanation.lexical)]
    if explanation.rerank:
        ranks.append(("rerank", explanation.rerank))
    parts = [f"{name} {found.score:.4f} (rank {found.rank})" if found else f"{name} –" for name, found in ranks]
    if explanation.steps:
        parts.append("steps " + " ".join(f"{score:.4f}" for score in explanation.steps))
    return " · ".join(parts)


def highlighted(text: str, marks: "QueryMarks", style: str = "") -> "Text":
    """`text` on one line, with the words of a query marked in it, whatever their endings."""
    from rich.text import Text

    marked = Text(printable(text), style=style)
    for span in marks.spans(marked.plain):
        marked.stylize(MATCH, *span)
    return marked
