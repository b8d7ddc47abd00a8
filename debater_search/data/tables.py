"""The documents of tables: rows of JSON lines, CSV, TSV and Parquet, whose columns have a role by their names."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

from debater_search.coerce import metadata_of
from debater_search.data.bad import BadRows
from debater_search.data.columns import column_kinds, typed
from debater_search.data.fields import as_text, missing, present, read_id_and_text
from debater_search.data.folders import partition
from debater_search.data.rows import Fields, SeenIds, format_of, read_rows, row_place
from debater_search.errors import InvalidError
from debater_search.roles import KNOWN, LOOKED_AT, PLAIN, ColumnChoice, Roles, together
from debater_search.types import Document

Rows = Iterator[tuple[int, Fields]]


def read_documents(
    files: Sequence[str | Path],
    folder: Path | None,
    choice: ColumnChoice,
    bad_rows: Callable[[str | Path], BadRows],
    *,
    start_only: bool = False,
) -> Iterator[Document]:
    """The rows of one file, or of several in a folder; ids must differ over all of them.

    `bad_rows` gives what takes the bad rows of a file. `start_only` is for a reader of the first documents: columns are
    not looked through for what they hold, and nothing is said.
    """
    seen = SeenIds(files)
    for part, path in enumerate(files):
        bad = bad_rows(path)
        columns = partition(Path(path), folder) if folder is not None else {}
        rows, roles = _with_roles(path, read_rows(path, bad), columns, choice, start_only=start_only)
        delimited = format_of(path) in ("csv", "tsv")
        kinds = {} if start_only else column_kinds(path, roles.fields(), roles.numbers)
        for number, fields in rows:
            if delimited:
                fields = typed(fields, kinds, roles.fields())
            try:
                document = document_of({**columns, **fields}, row_place(path, number), roles)
                seen.add(document.id, number, part)
            except InvalidError as error:
                bad(error)
                continue
            if bad.allow():
                yield document
        bad.finish()


def document_of(fields: Fields, where: str, roles: Roles = PLAIN) -> Document:
    """The document of a row; InvalidError, which names the place `where`, if it is none."""
    try:
        id, text = read_id_and_text(fields, roles.id, roles.text, where)
        if roles.joined:
            text = together([as_text(fields[name], name, where) for name in roles.texts(fields)])
        title = next(iter(roles.title), "")
        return Document(
            id=id,
            text=text,
            title=as_text(fields.get(title), title, where),
            metadata=metadata_of(roles.converted(fields), roles.used(fields), (*roles.id, *roles.text)),
        )
    except RecursionError as error:
        raise InvalidError(f"{where}: the metadata is nested too deeply.", "Keep metadata flat.") from error
    except ValueError as error:
        raise InvalidError(f"{where}: the metadata cannot be stored: {error}.", "Change that key or value.") from error


def _with_roles(
    path: str | Path, rows: Rows, columns: dict[str, Any], choice: ColumnChoice, *, start_only: bool
) -> tuple[Rows, Roles]:
    """The rows, and which of their fields are what: the first row decides, of JSON lines the first ones together.

    Raises InvalidError if no column can be the id or the text.
    """
    head = list(islice(rows, 1))
    if not head:
        return rows, PLAIN
    number, first = head[0]
    if not choice.is_plain({**columns, **first}) and format_of(path) == "jsonl":
        head += islice(rows, LOOKED_AT - 1)
    names = list(dict.fromkeys(name for fields in (columns, *(fields for _, fields in head)) for name in fields))
    where = row_place(path, number)
    roles = choice.roles(names, where)
    if not roles.fit(names):
        absent = [role for role in ("id", "text") if present(names, getattr(roles, role)) is None]
        needed = {role: tuple(group[0] for group in KNOWN[role]) for role in absent}
        error = missing(needed, absent, {**columns, **first}, where)
        others = chain((name for name in names if name not in roles.fields()), repeat("NAME"))
        advice = choice.advice(dict(zip(absent, others, strict=False)))
        raise InvalidError(error.message, f"{error.hint} {advice}")
    if not start_only:
        choice.take(roles, names)
    return chain(head, rows), roles
