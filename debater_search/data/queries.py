"""Queries: JSON lines, CSV, TSV or Parquet with an id and a text each, or the `queries` file of a BEIR folder."""

from pathlib import Path

from debater_search.data.fields import ID_FIELDS, TEXT_FIELDS, read_id, read_text, without_nul
from debater_search.data.files import STDIN
from debater_search.data.rows import find_in_folder, read_rows, require_new_id, row_place
from debater_search.errors import DebaterError
from debater_search.types import Query

QUERY_ID_FIELDS = (*ID_FIELDS, "qid")
QUERY_TEXT_FIELDS = (*TEXT_FIELDS, "query")


def read_queries(path: str | Path) -> list[Query]:
    """All queries of a file or BEIR folder, in its order (`-` is JSON lines on standard input).

    Raises DebaterError for a bad row, an empty text, a repeated id (file and lines) and a file without queries.
    """
    file = _queries_file(path)
    queries: list[Query] = []
    first_seen: dict[str, int] = {}
    for number, fields in read_rows(file):
        where = row_place(file, number)
        query_id = read_id(fields, QUERY_ID_FIELDS, where)
        text = without_nul(read_text(fields, QUERY_TEXT_FIELDS, where)).strip()
        if not text:
            raise DebaterError(f"{where}: the query {query_id!r} is empty.", "Remove it or give it a text.")
        require_new_id(file, query_id, number, first_seen)
        queries.append(Query(query_id, text))
    if not queries:
        raise DebaterError(f"There are no queries in {file}.", "Name another file.")
    return queries


def _queries_file(path: str | Path) -> str | Path:
    if str(path) == STDIN or not Path(path).is_dir():
        return path
    file = find_in_folder(path, "queries")
    if file is None:
        raise DebaterError(f"The folder {path} has no queries.jsonl.", "Name the file with the queries.")
    return file
