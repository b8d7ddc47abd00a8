"""What an index must answer, by brute force: the documents that it should hold, compared with what it gives."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from debater_search.indexing import verify
from debater_search.search import SearchEngine
from debater_search.types import Document
from tests.fakes import FakeEncoder

Documents = Mapping[str, Document]
QUERIES = ("wing of unique3.", "flutter number 7", "the series flies", "changed title 4")
TOLERANCE = 2e-5


def documents_of(index: Path) -> dict[str, Document]:
    """The documents that an index holds; DebaterError if it is none."""
    engine = SearchEngine.open(index, encoder=FakeEncoder())
    try:
        return {document.id: document for document in engine.documents}
    finally:
        engine.close()


def fault_of(index: Path, documents: Documents, *, checked: bool = True, tolerance: float = TOLERANCE) -> str | None:
    """What is wrong with an index that should hold these documents; None if all of it is right.

    With `checked` it must also be sound for `verify`; without it only what searches show counts. Raises DebaterError
    if it cannot be opened or read.
    """
    engine = SearchEngine.open(index, encoder=FakeEncoder())
    try:
        stored = shown_by(engine, len(documents)) if not checked else {d.id: d for d in engine.documents}
        if stored != dict(documents):
            differing = sorted(id for id in {*stored, *documents} if stored.get(id) != documents.get(id))
            return f"{len(stored)} documents instead of {len(documents)}, other ones are {differing[:5]}"
        return (
            _wrong_scores(engine, documents, tolerance)
            or _wrong_words(engine, documents)
            or (f"verify finds damage: {verify(index).damaged}" if checked and not verify(index).sound else None)
        )
    finally:
        engine.close()


def shown_by(engine: SearchEngine, count: int) -> dict[str, Document]:
    """The documents as a search shows them."""
    hits = engine.search("wing", count + 1)
    return {hit.id: Document(hit.id, hit.text, hit.title, hit.metadata) for hit in hits}


def expected_scores(documents: Documents, query: str) -> dict[str, float]:
    """The cosine of each document with a query."""
    encoder, ids = FakeEncoder(), list(documents)
    scores = encoder.encode_documents([documents[id] for id in ids]) @ encoder.encode_queries([query])[0]
    return dict(zip(ids, scores.tolist(), strict=True))


def _wrong_scores(engine: SearchEngine, documents: Documents, tolerance: float) -> str | None:
    """How dense rankings differ from brute force; exact, as all indexes of campaigns are small."""
    for query in QUERIES:
        expected = expected_scores(documents, query)
        found = engine.search_batch([query], len(documents), mode="dense")["0"]
        best = sorted(expected.values(), reverse=True)
        if len(found) != len(documents):
            return f"{len(found)} hits of {len(documents)} documents for {query!r}"
        if not set(found) <= set(expected):
            return f"{sorted(set(found) - set(expected))[:3]} are found, and are not there"
        if wrong := [id for id, score in found.items() if abs(score - expected[id]) > tolerance]:
            return f"{wrong[0]} scores {found[wrong[0]]} instead of {expected[wrong[0]]} for {query!r}"
        if np.abs(np.array(list(found.values())) - best).max() > tolerance:
            return f"better documents are missing for {query!r}"
    return None


def _wrong_words(engine: SearchEngine, documents: Documents) -> str | None:
    """How the lexical index differs from the documents, in words of a few of them."""
    for word in ("unique3", "unique17", "flutter", "took", "changed", "title", "aircraft", "nowhere"):
        expected = {id for id, d in documents.items() if word in re.findall(r"\w+", d.content.lower())}
        found = set(engine.search_batch([word], len(documents), mode="lexical")["0"])
        if found != expected:
            return f"the word {word} is found in {sorted(found)[:5]} instead of {sorted(expected)[:5]}"
    return None
