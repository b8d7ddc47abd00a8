"""Judgements of hits, as people gave them while they searched: JSON lines, of which the last one about a hit counts.

    {"time": "2026-11-29T20:00:00Z", "index": "papers", "query": "lift of a wing", "id": "1", "relevant": true}

`relevant` is true, false, or null, which takes a judgement back. `key` may name the key that it came with. A server
appends such lines (`debater serve --judgements`); evaluation reads them as qrels, training and mining as rows.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from debater_search.coerce import without_nul
from debater_search.data.corpus import read_corpus
from debater_search.data.files import called, decoded, open_stream, place, require_exists
from debater_search.data.rows import Fields, format_of, json_row
from debater_search.errors import DebaterError, InvalidError
from debater_search.files import from_json
from debater_search.store.documents import DocumentStore
from debater_search.store.folders import open_manifest
from debater_search.store.manifest import MANIFEST_NAME
from debater_search.types import Document

logger = logging.getLogger(__name__)

FIELDS = ("index", "query", "id", "relevant")
"""What every line has."""

_LONGEST = 1 << 20  # bytes of the line that tells whether a file holds judgements; longer ones are something else


@dataclass(frozen=True, slots=True)
class Judgement:
    """What somebody said of a hit; `relevant` None takes back what was said before."""

    index: str
    query: str
    id: str
    relevant: bool | None


@dataclass(slots=True)
class JudgedQuery:
    """A query, and which documents are relevant to it or not; `number` counts the queries of the file from 1."""

    number: int
    text: str
    documents: dict[str, bool] = field(default_factory=dict)


def query_text(query: str) -> str:
    """The text under which judgements of a query are kept: blanks at its ends, or more than one, do not count."""
    return " ".join(without_nul(query).split())


def read_judgements(path: str | Path) -> Iterator[tuple[int, Judgement]]:
    """Every judgement of a file with its line, in order.

    An unfinished last line, which a killed server leaves, is skipped: it was never acknowledged. Raises InvalidError,
    naming file and line, for whatever else is not a judgement.
    """
    with open_stream(path) as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                where = place(path, number)
                try:
                    judgement = parse_judgement(json_row(decoded(line, path, number), where), where)
                except DebaterError:
                    if line.endswith(b"\n"):
                        raise
                    logger.warning("%s is unfinished and left out.", where)
                    return
                yield number, judgement


def parse_judgement(fields: Fields, where: str) -> Judgement:
    """The judgement in the fields of a line; raises InvalidError that begins with `where`."""
    if missing := [name for name in FIELDS if name not in fields]:
        raise InvalidError(f"{where}: a judgement has no {missing[0]!r}.", f"Every line needs {', '.join(FIELDS)}.")
    texts = {name: fields[name] for name in FIELDS[:3]}
    for name, value in texts.items():
        if not isinstance(value, str) or not value.strip():
            raise InvalidError(f"{where}: {name!r} is not a text, or is empty.", "Correct or remove the line.")
    if fields["relevant"] is not None and not isinstance(fields["relevant"], bool):
        raise InvalidError(f"{where}: 'relevant' is neither true, false nor null.", "Null takes a judgement back.")
    return Judgement(texts["index"], query_text(texts["query"]), texts["id"], fields["relevant"])


def holds_judgements(path: str | Path) -> bool:
    """Whether the first row of a file has the fields of a judgement; raises DebaterError if it cannot be read."""
    require_exists(path)
    if not Path(path).is_file() or format_of(path) != "jsonl":
        return False
    with open_stream(path) as stream:
        while line := stream.readline(_LONGEST):
            if line.strip():
                try:
                    fields = from_json(line.decode("utf-8-sig"))
                except ValueError:
                    return False
                return isinstance(fields, dict) and fields.keys() >= set(FIELDS)
    return False


def judged_queries(path: str | Path, corpus: str | Path) -> list[JudgedQuery]:
    """The judged queries of a file, in its order, as judged at its end.

    If the file has judgements of several indexes, those of the index that `corpus` is count; by its folder's name.
    Raises InvalidError for a bad line, and if nothing in the file is about this corpus.
    """
    by_index: dict[str, dict[str, JudgedQuery]] = {}
    for _, judgement in read_judgements(path):
        queries = by_index.setdefault(judgement.index, {})
        query = queries.setdefault(judgement.query, JudgedQuery(len(queries) + 1, judgement.query))
        query.documents.pop(judgement.id, None)
        if judgement.relevant is not None:
            query.documents[judgement.id] = judgement.relevant
    if not by_index:
        raise InvalidError(f"There are no judgements in {called(path)}.", "Name another file.")
    name = Path(corpus).resolve().name
    if len(by_index) > 1 and name not in by_index:
        raise InvalidError(
            f"{called(path)} has judgements of {len(by_index)} indexes, and none of {name!r}.",
            f"They are of {', '.join(sorted(by_index)[:10])}.",
        )
    found = by_index[name] if name in by_index else next(iter(by_index.values()))
    return [query for query in found.values() if query.documents]


def judged_rows(path: str | Path, corpus: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Training rows: per query the texts of its relevant documents, and of those that are not.

    Queries without a relevant document make no row; documents that the corpus does not have are counted in a warning.
    """
    queries = judged_queries(path, corpus)
    wanted = {document_id for query in queries for document_id in query.documents}
    texts = {document.id: document.content for document in documents_among(corpus, wanted) if document.content}
    if lost := len(wanted) - len(texts):
        logger.warning(
            "Judged documents without a text in %s: %s of %s.", called(corpus), f"{lost:,}", f"{len(wanted):,}"
        )
    for query in queries:
        judged = {
            relevant: [texts[id] for id, said in query.documents.items() if said is relevant and id in texts]
            for relevant in (True, False)
        }
        negatives = [text for text in judged[False] if text not in judged[True]]  # copies of one text
        if judged[True]:
            row: dict[str, Any] = {"query_id": query.text, "query": query.text, "positive": judged[True]}
            yield query.number, row | ({"negative": negatives} if negatives else {})


def documents_among(corpus: str | Path, ids: set[str]) -> Iterable[Document]:
    """The documents with these ids in an index or a corpus, one after another."""
    if not is_index(corpus):
        yield from (document for document in read_corpus(corpus) if document.id in ids)
        return
    documents = open_documents(corpus)
    try:
        yield from documents.read(sorted(documents.positions(sorted(ids)).values()))
    finally:
        documents.close()


def is_index(folder: str | Path) -> bool:
    """Whether a folder is an index."""
    return (Path(folder) / MANIFEST_NAME).is_file()


def open_documents(index: str | Path) -> DocumentStore:
    """The documents of an index; raises DebaterError if it is damaged."""
    manifest = open_manifest(Path(index))
    return DocumentStore(Path(index) / manifest.documents, manifest.generation)


def files_of(corpus: str | Path) -> tuple[Path, ...]:
    """The files that an index's or corpus's documents are read from: a change in one is a change of its texts."""
    if is_index(corpus):
        return ((Path(corpus) / MANIFEST_NAME).absolute(),)
    require_exists(corpus)
    folder = Path(corpus)
    return (
        (folder.absolute(),)
        if folder.is_file()
        else tuple(sorted(p.absolute() for p in folder.rglob("*") if p.is_file()))
    )
