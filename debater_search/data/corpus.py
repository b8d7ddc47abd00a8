"""Corpora: BEIR and other JSON lines, CSV, TSV, Parquet, texts, folders of them; read one document at a time."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from debater_search.coerce import without_nul
from debater_search.data.bad import BadRows, bad_files
from debater_search.data.files import STDIN, called, require_exists
from debater_search.data.folders import FolderContents, folder_contents, listed
from debater_search.data.rows import find_in_folder, format_of
from debater_search.data.tables import read_documents
from debater_search.data.text_files import missing_library, needs_extra, read_text_file, text_format
from debater_search.errors import DebaterError, InvalidError
from debater_search.roles import ColumnChoice
from debater_search.types import Document

MAX_TEXT = 1_000_000  # characters; no encoder reads further, and one text must not fill the memory
_SMALL = 8_000_000  # bytes that are read within a second, and so twice: once before a model is loaded
_COST = {".pdf": 50, ".html": 5, ".htm": 5, ".gz": 4, ".parquet": 4}  # how much longer a byte takes than one of a text
_FIRST = 3  # ids in the warning of odd texts
_NAMED = 20  # files in the warning of those that were left out

_WARNINGS = {
    "empty": "Empty texts in the corpus: {n:,} ({ids}). They are indexed all the same.",
    "nul": "Texts with NUL characters in the corpus: {n:,} ({ids}). The characters were removed.",
    "long": f"Texts over {MAX_TEXT:,} characters in the corpus: {{n:,}} ({{ids}}). They were cut there.",
}


class CorpusReader:
    """A corpus on disk, as an iterable of documents: `for document in CorpusReader(path)`.

    Only ids are kept in memory. What is odd but readable is accepted and counted; `warnings` tells it once the
    iteration is over.
    """

    def __init__(
        self,
        path: str | Path,
        choice: ColumnChoice | None = None,
        *,
        skip_bad: bool | None = None,
        changes: bool = False,
    ) -> None:
        """Check that `path` exists and is of a known format; raises DebaterError.

        `choice` decides which columns are what. With `skip_bad` rows and files that cannot be read are left out, and
        `warnings` names them; None stands for a caller who cannot say so. `changes` is whether an index is changed,
        which does not remember that it was built so.
        """
        self.path = path
        self._choice = choice or ColumnChoice(can_be_given=False)
        self._skip_bad = skip_bad
        end = ". The index does not remember this option." if changes else "."
        self._offer = f"Or leave out what cannot be read, with `skip_bad`{end}" if skip_bad is False else ""
        self._counts: Counter[str] = Counter()
        self._first: defaultdict[str, list[str]] = defaultdict(list)
        self._of_folder: list[str] = []
        self._broken: dict[Path, int] = {}
        self._left_out: list[Path] = []
        self._bad_rows: list[BadRows] = []
        require_exists(path)
        self._folder = Path(path)
        self._file: str | Path | None = path
        if str(path) != STDIN and self._folder.is_dir():
            self._file = find_in_folder(path, "corpus")
        elif str(path) != STDIN and (format := text_format(self._folder)) is not None:
            if missing_library(format):
                raise needs_extra(self._folder, format)
            self._folder = self._folder.parent
            self._file = None
        if self._file is not None:
            format_of(self._file)

    def __iter__(self) -> Iterator[Document]:
        """Every document, in the order of the files; raises DebaterError behind the first bad row or file."""
        for found in (self._counts, self._first, self._broken, self._left_out, self._bad_rows):
            found.clear()
        empty = True
        for document in self._documents():
            empty = False
            yield self._tidy(document)
        if empty:
            raise self._empty()

    def check_start(self) -> None:
        """Raise DebaterError, as iterating would, if there is no document or the first row is bad.

        It comes before a model is loaded. A small corpus is read to its end, of a large one nothing behind the first
        good row, of a stream, which can be read only once, nothing.
        """
        if self._file is not None and not Path(self._file).is_file():
            return
        found = self._contents()
        if sum(path.stat().st_size * _COST.get(path.suffix.lower(), 1) for path in found.parts + found.texts) < _SMALL:
            for _ in self:
                pass
            return
        rows = read_documents(found.parts, self._in_folder, self._choice, self._take_bad, start_only=True)
        if next(rows, None) is None and not found.texts:
            raise self._empty()

    def _empty(self) -> InvalidError:
        hint = "Name another corpus."
        if self._file is None:
            hint = "A corpus is a file, or a folder of texts (.txt, .md, .html, .pdf) or of tables of documents."
        if self._left_out or any(bad.count for bad in self._bad_rows):
            hint = "Nothing in it can be read: the command says why without `skip_bad`."
        return InvalidError(f"The corpus {called(self.path)} is empty: no document is in it.", hint)

    @property
    def warnings(self) -> list[str]:
        """One sentence for each kind of oddity that the last iteration met."""
        counted = [
            sentence.format(n=self._counts[kind], ids=self._ids(kind))
            for kind, sentence in _WARNINGS.items()
            if self._counts[kind]
        ]
        if self._broken:
            broken = listed(list(self._broken), self._folder, lines=self._broken)
            cure = "Put quotes around the value in that line."
            counted.append(f"Files with front matter that is no valid YAML: {broken}. It is indexed as text. {cure}")
        if self._left_out:
            left_out = listed(self._left_out, self._folder, _NAMED)
            counted.append(f"Files that cannot be read and were left out: {left_out}.")
        counted += [
            f"Bad rows that were left out: {bad.count:,} ({bad.described()})." for bad in self._bad_rows if bad.count
        ]
        return [*self._of_folder, *counted]

    @property
    def _in_folder(self) -> Path | None:
        """The folder whose subfolders may hold columns in their names."""
        return self._folder if self._file is None else None

    def _contents(self) -> FolderContents:
        if self._file is not None:
            return FolderContents(parts=[Path(self._file)])
        if not Path(self.path).is_dir():
            return FolderContents(texts=[Path(self.path)])
        return folder_contents(self._folder, self._choice)

    def _documents(self) -> Iterator[Document]:
        if self._file is not None:
            yield from read_documents([self._file], None, self._choice, self._take_bad)
            return
        found = self._contents()
        self._of_folder = found.warnings
        if found.parts:
            yield from read_documents(found.parts, self._folder, self._choice, self._take_bad)
        yield from self._texts(found.texts)

    def _texts(self, files: list[Path]) -> Iterator[Document]:
        """The documents of texts; behind a bad one the others are only tried, so that one error names all bad ones."""
        bad: list[DebaterError] = []
        for path in files:
            try:
                document, line = read_text_file(path, self._folder)
            except DebaterError as error:
                bad.append(error)
                self._left_out.append(path)
                continue
            if line:
                self._broken[path] = line
            if self._skip_bad or not bad:
                yield document
        if bad and not self._skip_bad:
            raise bad_files(bad, self._folder, self._offer)

    def _take_bad(self, path: str | Path) -> BadRows:
        self._bad_rows.append(BadRows(path, skip=bool(self._skip_bad), offer=self._offer))
        return self._bad_rows[-1]

    def _tidy(self, document: Document) -> Document:
        title, text = document.title, document.text
        if "\0" in text or "\0" in title:
            self._count("nul", document.id)
            title, text = without_nul(title), without_nul(text)
        if len(text) > MAX_TEXT or len(title) > MAX_TEXT:
            self._count("long", document.id)
            title, text = title[:MAX_TEXT], text[:MAX_TEXT]
        if not text.strip():
            self._count("empty", document.id)
        return Document(document.id, text, title, document.metadata)

    def _count(self, kind: str, id: str) -> None:
        self._counts[kind] += 1
        if self._counts[kind] <= _FIRST:
            self._first[kind].append(id)

    def _ids(self, kind: str) -> str:
        """The first ids that were counted."""
        noun, more = "id" if self._counts[kind] == 1 else "ids", ", …" if self._counts[kind] > _FIRST else ""
        return f"{noun} {', '.join(self._first[kind])}{more}"


def read_corpus(
    path: str | Path, choice: ColumnChoice | None = None, *, skip_bad: bool | None = None, changes: bool = False
) -> CorpusReader:
    """The corpus at `path`: a file (`-` is JSON lines on standard input), a BEIR folder, or a folder of parts or texts.

    Parts are files whose rows are documents (JSON lines, CSV, TSV, Parquet); texts are .txt, .md, .html and .pdf, of
    which one alone is a corpus too. The other arguments are those of `CorpusReader`.

    Raises DebaterError at once for a missing file or an unknown format, and while iterating for bad rows (file and
    lines), for texts that cannot be read, for a repeated id (both lines) and an empty corpus.
    """
    return CorpusReader(path, choice, skip_bad=skip_bad, changes=changes)
