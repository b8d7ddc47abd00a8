"""Relevance judgements: BEIR's `query-id corpus-id score`, TREC's four columns, or any columns that a header names."""

import csv
import logging
import re
from collections.abc import Callable
from pathlib import Path

from debater_search.coerce import whole_id
from debater_search.data.files import called, numbered_lines, place
from debater_search.errors import InvalidError
from debater_search.types import Qrels

logger = logging.getLogger(__name__)

MAX_GAIN = 10_000  # trec_eval reserves memory by the largest gain

_GAIN = re.compile(r"([+-]?[0-9]{1,9})(?:\.0+)?")
_NAMES = {
    "query": ("queryid", "qid", "topicid", "topic", "query"),
    "document": ("corpusid", "docid", "documentid", "docno", "passageid", "pid", "did", "document", "doc", "corpus"),
    "gain": ("score", "relevance", "rel", "label", "gain", "grade", "judgment", "judgement", "relevancelabel"),
}
"""What headers call the columns, in small letters without signs; the first one that is there counts."""

Split = Callable[[str], list[str]]
Judgement = tuple[str, str, str]


def read_qrels(path: str | Path) -> Qrels:
    """All judgements of a file, negative gains as they are: trec_eval counts them as 0 and as not judged.

    Columns are in the order that a header names, and without one in the order of BEIR or TREC; an id of 7.0 is 7.
    Lines that repeat a judgement and gains below 0 are counted in a warning. Raises InvalidError, naming file and line,
    for whatever is not a judgement, or contradicts one.
    """
    qrels: Qrels = {}
    repeated = negative = 0
    columns: Callable[[str, str], Judgement] | None = None
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        where = place(path, number)
        if columns is None:
            columns = _with_header(line, where)
            if columns is not None:
                continue
            columns = _without_header
        query_id, document_id, gain = _checked(*columns(line, where), where)
        gains = qrels.setdefault(query_id, {})
        if gains.get(document_id, gain) != gain:
            raise InvalidError(
                f"{where}: query {query_id!r} and document {document_id!r} are judged {gain} here "
                f"and {gains[document_id]} before.",
                "Keep one of the two judgements.",
            )
        repeated += document_id in gains
        negative += gain < 0
        gains[document_id] = gain
    if not qrels:
        raise InvalidError(
            f"There are no judgements in {path}.",
            "Put judgements into it, or name another file or, for a task, another `split`.",
        )
    if repeated:
        logger.warning("Lines of %s that repeat a judgement: %d. Each counts once.", called(path), repeated)
    if negative:
        logger.warning(
            "Gains below 0 in %s: %d. They count as 0 and as not judged, as in trec_eval.", called(path), negative
        )
    return qrels


def _with_header(line: str, where: str) -> Callable[[str, str], Judgement] | None:
    """What reads the lines below a header; None if the first line is no header but a judgement."""
    split = _splitter(line)
    names = [re.sub(r"[\W_]", "", cell.lower()) for cell in split(line)]
    found = {role: next((names.index(alias) for alias in _NAMES[role] if alias in names), None) for role in _NAMES}
    query, document, gain = found["query"], found["document"], found["gain"]
    if query is not None and document is not None and gain is not None:
        return lambda row, at: _named(split(row), len(names), (query, document, gain), at)
    if any(_GAIN.fullmatch(cell) for cell in split(line)) or (query is None and document is None):
        return None  # ids may be words; what is no gain either is refused as a judgement
    missing = next(role for role, column in found.items() if column is None)
    raise InvalidError(
        f"{where}: the header {line.strip()!r} names no column of the {missing}.",
        f"Name it {', '.join(_NAMES[missing][:3])} or so, or leave the header out.",
    )


def _splitter(line: str) -> Split:
    """How the lines of a file are cut, as its first line shows."""
    if "\t" in line:
        return lambda row: [cell.strip() for cell in row.rstrip("\r\n").split("\t")]
    if "," in line and len(line.split()) == 1:
        return _commas
    return str.split


def _commas(row: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([row]), [])]
    except csv.Error:  # a field longer than any id
        return []


def _named(cells: list[str], count: int, columns: tuple[int, int, int], where: str) -> Judgement:
    if len(cells) == count + 1:  # the number of the row comes first, without a name in the header
        cells = cells[1:]
    if len(cells) != count:
        raise InvalidError(
            f"{where}: {len(cells)} columns, where the header names {count}.", "Write a cell for each column."
        )
    query, document, gain = columns
    return cells[query], cells[document], cells[gain]


def _without_header(line: str, where: str) -> Judgement:
    # BEIR's columns are parted by tabs, so that its ids may hold blanks; TREC's by any white space
    columns = [column.strip() for column in line.rstrip("\r\n").split("\t")]
    if len(columns) != 3:
        columns = line.split()
    if len(columns) == 1 and line.count(",") in (2, 3):
        columns = _commas(line)
    if len(columns) not in (3, 4):
        raise InvalidError(
            f"{where}: {len(columns)} columns, where judgements have three (BEIR) or four (TREC).",
            "BEIR: query-id, corpus-id, score, parted by tabs. TREC: query, 0, document, gain.",
        )
    return columns[0], columns[-2], columns[-1]


def _checked(query_id: str, document_id: str, gain: str, where: str) -> tuple[str, str, int]:
    if not query_id or not document_id:
        raise InvalidError(f"{where}: an id is empty.", "Every judgement names a query and a document.")
    number = _GAIN.fullmatch(gain)
    if number is None or abs(int(number[1])) > MAX_GAIN:
        raise InvalidError(
            f"{where}: the gain {gain!r} is not a whole number up to {MAX_GAIN:,}.", "Gains are 0, 1, 2, …"
        )
    return whole_id(query_id), whole_id(document_id), int(number[1])
