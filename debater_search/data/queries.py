"""Queries: JSON lines, CSV, TSV or Parquet with an id and a text each, or the `queries` file of a BEIR folder."""

from pathlib import Path

from debater_search.coerce import QUERY_ID_FIELDS, QUERY_TEXT_FIELDS, without_nul
from debater_search.data.fields import read_id_and_text
from debater_search.data.files import STDIN
from debater_search.data.rows import SeenIds, find_in_folder, read_rows, row_place
from debater_search.errors import InvalidError, MissingError
from debater_search.types import Query


def read_queries(path: str | Path) -> list[Query]:
    """All queries of a file or BEIR folder, in its order (`-` is JSON lines on standard input).

    Raises DebaterError for a bad row, an empty text, a repeated id (file and lines) and a file without queries.
    """
    file = _queries_file(path)
    queries: list[Query] = []
    seen = SeenIds([file])
    for number, fields in read_rows(file):
        where = row_place(file, number)
        query_id, text = read_id_and_text(fields, QUERY_ID_FIELDS, QUERY_TEXT_FIELDS, where)
        text = without_nul(text).strip()
        if not text:
            raise InvalidError(f"{where}: the query {query_id!r} is empty.", "Remove it or give it a text.")
        seen.add(query_id, number)
        queries.append(Query(query_id, text))
    if not queries:
        raise InvalidError(f"There are no queries in {file}.", "Put queries into it, or name another file.")
    return queries


def _queries_file(path: str | Path) -> str | Path:
    if str(path) == STDIN or not Path(path).is_dir():
        return path
    file = find_in_folder(path, "queries")
    if file is None:
        raise MissingError(
            f"The folder {path} has no queries.jsonl.", "Put queries.jsonl into it, or name the file with the queries."
        )
    return file
