"""Relevance judgements: BEIR's TSV (`query-id corpus-id score`) and TREC's four columns, each also compressed."""

import logging
import re
from pathlib import Path

from debater_search.data.files import called, numbered_lines, place
from debater_search.errors import DebaterError
from debater_search.types import Qrels

logger = logging.getLogger(__name__)

MAX_GAIN = 10_000  # trec_eval reserves memory by the largest gain

_GAIN = re.compile(r"[+-]?[0-9]{1,9}")
_HEADERS = ("query-id", "query_id")


def read_qrels(path: str | Path) -> Qrels:
    """All judgements of a file, negative gains as they are: trec_eval counts them as 0 and as not judged.

    Lines that repeat a judgement and gains below 0 are counted in a warning. Raises DebaterError, naming file and line,
    for whatever is not a judgement, or contradicts one.
    """
    qrels: Qrels = {}
    repeated = negative = 0
    for number, line in numbered_lines(path):
        if not line.strip() or (number == 1 and line.split()[0] in _HEADERS):
            continue
        where = place(path, number)
        query_id, document_id, gain = _judgement(line, where)
        gains = qrels.setdefault(query_id, {})
        if gains.get(document_id, gain) != gain:
            raise DebaterError(
                f"{where}: query {query_id!r} and document {document_id!r} are judged {gain} here "
                f"and {gains[document_id]} before.",
                "Keep one of the two judgements.",
            )
        repeated += document_id in gains
        negative += gain < 0
        gains[document_id] = gain
    if not qrels:
        raise DebaterError(f"There are no judgements in {path}.", "Name another file.")
    if repeated:
        logger.warning("Lines of %s that repeat a judgement: %d. Each counts once.", called(path), repeated)
    if negative:
        logger.warning(
            "Gains below 0 in %s: %d. They count as 0 and as not judged, as in trec_eval.", called(path), negative
        )
    return qrels


def _judgement(line: str, where: str) -> tuple[str, str, int]:
    # BEIR's columns are parted by tabs, so that its ids may hold blanks; TREC's by any white space
    columns = [column.strip() for column in line.rstrip("\r\n").split("\t")]
    if len(columns) != 3:
        columns = line.split()
    if len(columns) not in (3, 4):
        raise DebaterError(
            f"{where}: {len(columns)} columns, where judgements have three (BEIR) or four (TREC).",
            "BEIR: query-id, corpus-id, score, parted by tabs. TREC: query, 0, document, gain.",
        )
    query_id, document_id, gain = columns[0], columns[-2], columns[-1]
    if not query_id or not document_id:
        raise DebaterError(f"{where}: an id is empty.", "Every judgement names a query and a document.")
    if not _GAIN.fullmatch(gain) or abs(int(gain)) > MAX_GAIN:
        raise DebaterError(
            f"{where}: the gain {gain!r} is not a whole number up to {MAX_GAIN:,}.", "Gains are 0, 1, 2, …"
        )
    return query_id, document_id, int(gain)
