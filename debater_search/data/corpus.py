"""Corpora: BEIR and other JSON lines, CSV, TSV, Parquet, folders of them or of texts; read one document at a time."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from debater_search.coerce import ID_FIELDS, TEXT_FIELDS, TITLE_FIELD, filled, metadata_of, without_nul
from debater_search.data.columns import column_kinds, typed
from debater_search.data.fields import as_text, read_id_and_text
from debater_search.data.files import STDIN, called, require_exists
from debater_search.data.folders import FolderContents, folder_contents, listed, partition
from debater_search.data.rows import Fields, SeenIds, find_in_folder, format_of, read_rows, row_place
from debater_search.data.text_files import read_text_file
from debater_search.errors import InvalidError
from debater_search.types import Document

MAX_TEXT = 1_000_000  # characters; no encoder reads further, and one text must not fill the memory

_OWN_FIELDS = (*ID_FIELDS, *TEXT_FIELDS, TITLE_FIELD)

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
        self._of_folder: list[str] = []
        self._broken: list[Path] = []
        require_exists(path)
        self._folder = Path(path)
        self._file: str | Path | None = path
        if str(path) != STDIN and self._folder.is_dir():
            self._file = find_in_folder(path, "corpus")
        if self._file is not None:
            format_of(self._file)

    def __iter__(self) -> Iterator[Document]:
        """Every document, in the order of the files; raises DebaterError at the first bad row."""
        self._counts.clear()
        self._broken.clear()
        empty = True
        for document in self._documents():
            empty = False
            yield self._tidy(document)
        if empty:
            raise self._empty()

    def check_start(self) -> None:
        """Raise DebaterError, as iterating would, if there is no document or the first row is bad.

        It reads that row only, so that it can come before a model is loaded; of a stream, which is read once, nothing.
        """
        if self._file is not None and not Path(self._file).is_file():
            return
        found = FolderContents(parts=[Path(self._file)]) if self._file is not None else folder_contents(self._folder)
        for path in found.parts:
            columns = partition(path, self._folder) if self._file is None else {}
            for number, fields in read_rows(path):
                document_of({**columns, **fields}, row_place(path, number))
                return
        if not found.texts:
            raise self._empty()

    def _empty(self) -> InvalidError:
        hint = "Name another corpus."
        if self._file is None:
            hint = "A corpus is a file, or a folder of texts (.txt, .md, .html, .pdf) or of tables of documents."
        return InvalidError(f"The corpus {called(self.path)} is empty: no document is in it.", hint)

    @property
    def warnings(self) -> list[str]:
        """One sentence for each kind of oddity that the last iteration met."""
        counted = [sentence.format(n=self._counts[kind]) for kind, sentence in _WARNINGS.items() if self._counts[kind]]
        if self._broken:
            broken = listed(self._broken, self._folder)
            counted.append(f"Files with front matter that is no valid YAML: {broken}. It is indexed as text.")
        return [*self._of_folder, *counted]

    def _documents(self) -> Iterator[Document]:
        if self._file is not None:
            yield from _read_documents([self._file])
            return
        found = folder_contents(self._folder)
        self._of_folder = found.warnings
        if found.parts:
            yield from _read_documents(found.parts, self._folder)
        for path in found.texts:
            document, broken = read_text_file(path, self._folder)
            if broken:
                self._broken.append(path)
            yield document

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
    """The corpus at `path`: a file (`-` is JSON lines on standard input), a BEIR folder, or a folder of parts or texts.

    Parts are files whose rows are documents (JSON lines, CSV, TSV, Parquet); texts are .txt, .md, .html and .pdf.

    Raises DebaterError at once for a missing file or an unknown format, and while iterating for a bad row (file and
    line), a repeated id (both lines) and an empty corpus.
    """
    return CorpusReader(path)


def _read_documents(files: Sequence[str | Path], folder: Path | None = None) -> Iterator[Document]:
    """The rows of one or several files; ids must differ over all of them."""
    seen = SeenIds(files)
    for part, path in enumerate(files):
        delimited = format_of(path) in ("csv", "tsv")
        kinds = column_kinds(path, _OWN_FIELDS)
        columns = partition(Path(path), folder) if folder is not None else {}
        for number, fields in read_rows(path):
            if delimited:
                fields = typed(fields, kinds, _OWN_FIELDS)
            document = document_of({**columns, **fields}, row_place(path, number))
            seen.add(document.id, number, part)
            yield document


def document_of(fields: Fields, where: str) -> Document:
    """The document of a row; DebaterError, which names the place `where`, if it is none."""
    try:
        id, text = read_id_and_text(fields, ID_FIELDS, TEXT_FIELDS, where)
        return Document(
            id=id,
            text=text,
            title=as_text(fields.get(TITLE_FIELD), TITLE_FIELD, where),
            metadata=metadata_of(fields, filled(fields, ID_FIELDS), filled(fields, TEXT_FIELDS)),
        )
    except RecursionError as error:
        raise InvalidError(f"{where}: the metadata is nested too deeply.", "Keep metadata flat.") from error
    except ValueError as error:
        raise InvalidError(f"{where}: the metadata cannot be stored: {error}.", "Change that key or value.") from error
