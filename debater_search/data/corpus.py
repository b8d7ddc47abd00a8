"""Corpora: BEIR and other JSON lines, CSV, TSV, Parquet, a folder of text files; read one document at a time."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from debater_search.data.fields import (
    ID_FIELDS,
    TEXT_FIELDS,
    TITLE_FIELD,
    as_text,
    plain,
    present,
    read_id,
    read_text,
    without_nul,
)
from debater_search.data.files import STDIN, called, not_utf8, open_stream, require_exists
from debater_search.data.rows import Fields, find_in_folder, format_of, read_rows, require_new_id, row_place
from debater_search.errors import DebaterError
from debater_search.types import Document

MAX_TEXT = 1_000_000  # characters; no encoder reads further, and one text must not fill the memory

TEXT_FILES = (".txt", ".md")

_WARNINGS = {
    "empty": "Empty texts in the corpus: {n:,}. They are indexed all the same.",
    "nul": "Texts with NUL characters in the corpus: {n:,}. The characters were removed.",
    "long": f"Texts over {MAX_TEXT:,} characters in the corpus: {{n:,}}. They were cut there.",
}


class CorpusReader:
    """A corpus on disk, as an iterable of documents: `for document in CorpusReader(path)`.

    Only ids are kept in memory. What is odd but readable is accepted and counted; `warnings` tells it once the
    iteration is over.
    """

    def __init__(self, path: str | Path) -> None:
        """Check that `path` exists and is of a known format; raises DebaterError."""
        self.path = path
        self._counts: Counter[str] = Counter()
        require_exists(path)
        self._folder = str(path) != STDIN and Path(path).is_dir()
        self._file: str | Path | None = find_in_folder(path, "corpus") if self._folder else path
        if self._file is not None:
            format_of(self._file)

    def __iter__(self) -> Iterator[Document]:
        """Every document, in the file's order (a folder's files by name); raises DebaterError at the first bad row."""
        self._counts.clear()
        documents = _read_text_files(Path(self.path)) if self._file is None else _read_documents(self._file)
        empty = True
        for document in documents:
            empty = False
            yield self._tidy(document)
        if empty:
            what = "no .txt or .md file" if self._file is None else "no document"
            raise DebaterError(
                f"The corpus {called(self.path)} is empty: there is {what} in it.", "Name another corpus."
            )

    @property
    def warnings(self) -> list[str]:
        """One sentence for each kind of oddity that the last iteration met."""
        return [sentence.format(n=self._counts[kind]) for kind, sentence in _WARNINGS.items() if self._counts[kind]]

    def _tidy(self, document: Document) -> Document:
        title, text = document.title, document.text
        if "\0" in text or "\0" in title:
            self._counts["nul"] += 1
            title, text = without_nul(title), without_nul(text)
        if len(text) > MAX_TEXT or len(title) > MAX_TEXT:
            self._counts["long"] += 1
            title, text = title[:MAX_TEXT], text[:MAX_TEXT]
        if not text.strip():
            self._counts["empty"] += 1
        return Document(document.id, text, title, document.metadata)


def read_corpus(path: str | Path) -> CorpusReader:
    """The corpus at `path`: a file (`-` is JSON lines on standard input), a BEIR folder, or a folder of .txt and .md.

    Raises DebaterError at once for a missing file or an unknown format, and while iterating for a bad row (file and
    line), a repeated id (both lines) and an empty corpus.
    """
    return CorpusReader(path)


def _read_documents(path: str | Path) -> Iterator[Document]:
    first_seen: dict[str, int] = {}
    for number, fields in read_rows(path):
        document = _document(fields, row_place(path, number))
        require_new_id(path, document.id, number, first_seen)
        yield document


def _document(fields: Fields, where: str) -> Document:
    try:
        return Document(
            id=read_id(fields, ID_FIELDS, where),
            text=read_text(fields, TEXT_FIELDS, where),
            title=as_text(fields.get(TITLE_FIELD), TITLE_FIELD, where),
            metadata=_metadata(fields),
        )
    except RecursionError as error:
        raise DebaterError(f"{where}: the metadata is nested too deeply.", "Keep metadata flat.") from error


def _metadata(fields: Fields) -> dict[str, Any]:
    """What is neither id, title nor text; BEIR's nested `metadata` is merged, the row's own fields win."""
    used = {present(fields, ID_FIELDS), present(fields, TEXT_FIELDS), TITLE_FIELD}
    rest = {name: value for name, value in fields.items() if name not in used}
    if isinstance(rest.get("metadata"), dict):
        rest = {**rest.pop("metadata"), **rest}
    return {name: plain(value) for name, value in rest.items()}


def _read_text_files(folder: Path) -> Iterator[Document]:
    """Each .txt and .md below `folder`: its id is the relative path, its title a first heading or the file's name."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(TEXT_FILES) and not name.startswith("."):
                yield _text_file(Path(parent, name), folder)


def _text_file(path: Path, folder: Path) -> Document:
    with open_stream(path) as stream:
        data = stream.read()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(path, data.count(b"\n", 0, error.start) + 1) from error
    heading, _, rest = text.lstrip().partition("\n")
    relative = path.relative_to(folder).as_posix().encode("utf-8", "replace").decode()
    if path.suffix.lower() == ".md" and heading.startswith("# "):
        return Document(relative, rest.strip(), heading.lstrip("# ").strip())
    return Document(relative, text, path.stem.encode("utf-8", "replace").decode())
