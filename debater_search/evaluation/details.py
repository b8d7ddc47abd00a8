"""The texts behind a score: beside a task's runs, its queries with each model's best answers, and these documents."""

import heapq
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from debater_search.data import read_corpus
from debater_search.data.files import write_lines
from debater_search.data.rows import read_rows
from debater_search.evaluation.metrics import COMPARED, best
from debater_search.evaluation.results import Result
from debater_search.types import Document, Qrels

QUERIES_NAME = "queries.jsonl"
DOCUMENTS_NAME = "documents.jsonl"

TOP = 10  # answers of each model
TEXT = 500  # characters of a document
RELEVANT = 20  # relevant documents per query, found or not

Row = dict[str, Any]


def save_details(
    folder: str | Path,
    results: Sequence[Result],
    qrels: Qrels,
    texts: Mapping[str, str],
    documents: Callable[[set[str]], Iterable[Document]] = lambda _: (),
    *,
    compared: Sequence[Result] = (),
) -> None:
    """Write `<task>/queries.jsonl` and `<task>/documents.jsonl` for the results of one task.

    A query's row holds its text (if `texts` has it), its judgements and the best ten answers of each model, including
    models saved earlier. Documents are these answers and the relevant documents, cut to 500 characters: `documents`
    is called with their ids and gives at least those; it is read until all are found. Without it rows hold ids only.
    Of systems that are only `compared` with, a row has the values too: results.json does not hold them.

    Examples:
        >>> from debater_search.evaluation import evaluate, load_task, save_details
        >>> task = load_task("task")
        >>> result = evaluate(task, encoder, output="results")
        >>> texts = {query.id: query.text for query in task.queries("test")}
        >>> save_details("results", [result], task.qrels("test"), texts)
    """
    place = Path(folder) / results[0].task
    rows = _queries(place / QUERIES_NAME, results, compared, qrels, texts)
    if not rows:
        return
    _write(place / QUERIES_NAME, rows)
    shown = _shown(rows)
    found = _documents(place / DOCUMENTS_NAME, shown, documents(shown))
    if found:
        _write(place / DOCUMENTS_NAME, found)


def _queries(
    file: Path, results: Sequence[Result], compared: Sequence[Result], qrels: Qrels, texts: Mapping[str, str]
) -> list[Row]:
    """A row for each scored query, merged into the row that `file` already has."""
    before = {row.get("_id"): row for _, row in read_rows(file)} if file.exists() else {}
    rows = []
    for query_id in dict.fromkeys(query_id for result in results for query_id in result.per_query):
        known = before.get(query_id, {})
        answers = {result.model: _best(result.run.get(query_id, {})) for result in (*results, *compared)}
        values = {one.model: {name: one.per_query[query_id][name] for name in COMPARED} for one in compared}
        values = {**known.get("values", {}), **values}
        rows.append(
            {
                "_id": query_id,
                "text": texts.get(query_id) or known.get("text", ""),
                "judged": qrels[query_id],
                "answers": {**known.get("answers", {}), **answers},
            }
            | ({"values": values} if values else {})
        )
    return rows


def _best(documents: Mapping[str, float]) -> list[tuple[str, float]]:
    """The best ten, in the order that was scored."""
    return [(document_id, float(f"{documents[document_id]:.9g}")) for document_id in best(documents, TOP)]


def _shown(rows: Sequence[Row]) -> set[str]:
    """The ids of all answers and relevant documents."""
    shown = {document_id for row in rows for answers in row["answers"].values() for document_id, _ in answers}
    for row in rows:
        relevant = [document_id for document_id, gain in row["judged"].items() if gain > 0]
        shown.update(heapq.nlargest(RELEVANT, relevant, key=row["judged"].__getitem__))
    return shown


def _documents(file: Path, wanted: set[str], documents: Iterable[Document]) -> list[Row]:
    """Ids, titles and beginnings of the wanted documents among `documents`, or else in `file`."""
    before = read_corpus(file) if file.exists() else ()
    found = {document.id: document for document in before if document.id in wanted}
    missing = set(wanted)
    for document in documents:
        if document.id in missing:
            found[document.id] = document
            missing.remove(document.id)
            if not missing:
                break
    return [
        {"_id": document.id, "title": document.title[:TEXT], "text": document.text[:TEXT].strip()}
        for document in found.values()
    ]


def _write(file: Path, rows: Iterable[Row]) -> None:
    write_lines(file, (json.dumps(row, ensure_ascii=False) for row in rows))
