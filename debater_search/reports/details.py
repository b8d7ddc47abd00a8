"""The queries on the page: texts, judgements and answers, as an evaluation saved them beside its runs."""

import heapq
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from debater_search.data import read_corpus
from debater_search.data.rows import read_rows
from debater_search.files import file_in

Row = dict[str, Any]
Labels = Mapping[tuple[Path, str], str]
"""(folder, model) → the model's name on the page."""

SNIPPET = 300  # characters of a text
MISSED = 10  # relevant documents per query that a model did not find


@dataclass
class Details:
    """The queries of one task and their documents."""

    queries: dict[str, Row] = field(default_factory=dict)
    """Query id → its text, judged {document: gain}, answers {model: [[document, score], …]}."""
    documents: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Document id → title and text."""
    values: dict[str, dict[str, Row]] = field(default_factory=dict)
    """System that was only compared with → query id → metric → value."""

    def within(self, order: Sequence[str], size: int) -> tuple[dict[str, Row], dict[str, tuple[str, str]]]:
        """The first queries of `order` and their documents, as many as fit into `size` bytes."""
        queries: dict[str, Row] = {}
        documents: dict[str, tuple[str, str]] = {}
        for query_id in order:
            if (query := self.queries.get(query_id)) is None:
                continue
            about = {document_id for answers in query["answers"].values() for document_id, _ in answers}
            about |= query["judged"].keys()
            new = {key: self.documents[key] for key in sorted(about - documents.keys()) if key in self.documents}
            size -= len(json.dumps([query_id, query, new]))
            if size < 0:
                break
            queries[query_id] = query
            documents |= new
        return queries, documents


def read_details(task: str, folders: Sequence[Path], labels: Labels, compared: Collection[str] = ()) -> Details:
    """The queries of a task in all folders; raises DebaterError for damaged files.

    `compared`: the systems that the task's comparisons alone tell of.
    """
    details = Details()
    for folder in folders:
        own = {model: label for (place, model), label in labels.items() if place == folder}
        names = {name: name for name in compared} | own
        if (file := file_in(folder, f"{task}/queries.jsonl")) is not None:
            for _, row in read_rows(file):
                _join(details.queries, row, names)
                for system, values in fields(row, "values").items():
                    if system in compared and system not in own and isinstance(values, dict):
                        details.values.setdefault(system, {}).setdefault(str(row.get("_id")), values)
        if (file := file_in(folder, f"{task}/documents.jsonl")) is not None:
            for document in read_corpus(file):
                details.documents[document.id] = (document.title[:SNIPPET], document.text[:SNIPPET])
    return details


def _join(queries: dict[str, Row], row: Row, names: Mapping[str, str]) -> None:
    """Add a row to `queries`, merged with another folder's row of the same query."""
    judged = {str(key): gain for key, gain in fields(row, "judged").items() if isinstance(gain, int)}
    answers = {
        names[model]: [(str(pair[0]), pair[1]) for pair in best if isinstance(pair, list) and len(pair) == 2]
        for model, best in fields(row, "answers").items()
        if model in names and isinstance(best, list)
    }
    before = queries.get(str(row.get("_id")), {"answers": {}})
    answers = before["answers"] | answers
    answered = {document_id for best in answers.values() for document_id, _ in best}
    relevant = [document_id for document_id, gain in judged.items() if gain > 0]
    shown = answered | set(heapq.nlargest(MISSED, relevant, key=judged.__getitem__))
    queries[str(row.get("_id"))] = {
        "text": str(row.get("text") or "")[:SNIPPET],
        "relevant": len(relevant),
        "judged": {document_id: gain for document_id, gain in judged.items() if document_id in shown},
        "answers": answers,
    }


def fields(entry: Row, name: str) -> Row:
    """The object under that name in an entry; empty if there is none."""
    value = entry.get(name)
    return value if isinstance(value, dict) else {}
