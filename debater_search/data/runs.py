"""TREC run files: `query Q0 document rank score tag`, a line for each document that a system answered with."""

import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path

from debater_search.coerce import has_control_character, whole_id
from debater_search.data.files import called, numbered_lines, place, write_lines
from debater_search.errors import InvalidError
from debater_search.types import Run

logger = logging.getLogger(__name__)

DEPTH = 1000  # documents a query, retrieved and written


def read_run(path: str | Path) -> Run:
    """The run in a file; as in trec_eval scores decide and ranks do not, with a warning where the two disagree.

    Raises InvalidError, naming file and line, for whatever is not a line of a run.
    """
    run: Run = {}
    before: dict[str, tuple[float, float]] = {}  # rank and score of each query's last line
    disagree = set()
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        query_id, document_id, rank, score = _answer(line, path, number)
        documents = run.setdefault(query_id, {})
        if document_id in documents:
            raise InvalidError(
                f"{place(path, number)}: query {query_id!r} has document {document_id!r} twice.",
                "Keep one line for each document.",
            )
        documents[document_id] = score
        last_rank, last_score = before.get(query_id, (rank, score))
        if (rank > last_rank and score > last_score) or (rank < last_rank and score < last_score):
            disagree.add(query_id)
        before[query_id] = rank, score
    if not run:
        raise InvalidError(f"There is no run in {path}.", "Name another file.")
    if disagree:
        logger.warning(
            "Queries of %s whose ranks disagree with the scores: %d of %d. Scores decide, as in trec_eval.",
            called(path),
            len(disagree),
            len(run),
        )
    return run


def read_tag(path: str | Path) -> str | None:
    """The last column of a run's first line, which names the system; None if that is no line of a run."""
    line = next((line for _, line in numbered_lines(path) if line.strip()), "")
    columns = _columns(line)
    return columns[5].strip() if len(columns) == 6 else None


def write_run(run: Run, path: str | Path, *, tag: str = "debater", depth: int = DEPTH) -> None:
    """Write the best `depth` documents of every query, best first; 9 significant digits hold a float32 score.

    `tag` names the system in the last column, without its blanks: `a + b` is written `a+b`, and `a b` is written `a-b`.
    The file appears whole or not at all. Columns are parted by blanks, or by tabs where an id holds a blank.
    Raises InvalidError for an id with a line end or another control character, which would make a line of its own.
    """
    write_lines(path, _lines(run, _without_blanks(tag), depth))


def _lines(run: Run, tag: str, depth: int) -> Iterator[str]:
    for query_id, documents in run.items():
        for id in (query_id, *documents):
            if has_control_character(id):
                raise InvalidError(f"The id {id!r} holds a control character: no run can hold it.", "Rename it.")
        best = sorted(documents.items(), key=lambda answer: -answer[1])[:depth]
        for rank, (document_id, score) in enumerate(best, start=1):
            blanks = len(query_id.split()) != 1 or len(document_id.split()) != 1
            columns = (query_id, "Q0", document_id, str(rank), f"{score:.9g}", tag)
            yield ("\t" if blanks else " ").join(columns)


def _without_blanks(tag: str) -> str:
    """The tag as one column, whatever blanks and control characters it has."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", "-", re.sub(r"\s*\+\s*", "+", tag.strip())) or "debater"


def _columns(line: str) -> list[str]:
    return line.split("\t") if line.count("\t") == 5 else line.split()


def _answer(line: str, path: str | Path, number: int) -> tuple[str, str, float, float]:
    """Query, document, rank (NaN where it is no number: nobody reads it) and score."""
    columns = _columns(line)
    if len(columns) != 6:
        raise InvalidError(
            f"{place(path, number)}: {len(columns)} columns, where a TREC run has six.",
            "They are: query Q0 document rank score tag.",
        )
    query_id, _, document_id, rank_text, score_text, _ = columns
    try:
        score = float(score_text)
    except ValueError as error:
        raise InvalidError(
            f"{place(path, number)}: the score {score_text!r} is not a number.", "Write the run again."
        ) from error
    if not math.isfinite(score):
        called_so = "NaN" if math.isnan(score) else "infinite"
        raise InvalidError(
            f"{place(path, number)}: the score is {called_so}.", "Look for the fault in the system that made this run."
        )
    try:
        rank = float(rank_text)
    except ValueError:
        rank = math.nan
    return whole_id(query_id.strip()), whole_id(document_id.strip()), rank, score
