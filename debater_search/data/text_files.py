"""Files that are one document each: plain text, Markdown with front matter, HTML and PDF (these two with an extra)."""

import importlib.util
import io
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from yaml.parser import ParserError
from yaml.scanner import ScannerError

from debater_search.coerce import has_control_character, plain
from debater_search.config.safe_yaml import YAML_ERRORS, ShallowLoader
from debater_search.data.files import COMPRESSIONS, called, not_utf8, open_stream
from debater_search.errors import DamagedError, InvalidError, UnavailableError
from debater_search.extras import require
from debater_search.types import Document

LIBRARIES = {"html": "trafilatura", "pdf": "pypdf"}
"""What reads a format, by the name of the extra that installs it."""

for _library in LIBRARIES.values():  # their remarks on pages that are odd but readable
    logging.getLogger(_library).setLevel(logging.CRITICAL)

_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n)?(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TAGS = ("tags", "keywords", "categories")
_MAX_FRONT_MATTER = 100_000  # characters
_MAX_ENTRY_LINES = 200  # each entry is a document of YAML for itself, which takes its time
_ENTRY = re.compile(r"[^\W\d][\w .-]*:(?:\s|\Z)")
_SYNTAX = re.compile(r"[\[{&*!|>]")  # what a value begins with that is not meant as text


@dataclass(frozen=True)
class _Read:
    """The content of a file."""

    text: str
    title: str = ""
    metadata: dict[str, Any] | None = None
    broken: int = 0
    """The line of the front matter that cannot be read, from 1."""


class _Loader(ShallowLoader):
    """Safe YAML without aliases: a few lines of them can stand for gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def text_format(path: Path) -> str | None:
    """`txt`, `md`, `html` or `pdf`, by the extension; None for any other file."""
    return _FORMATS.get(_suffixes(path)[-1])


def missing_library(format: str) -> str | None:
    """The library that reads a format, if it is not installed."""
    library = LIBRARIES.get(format)
    return library if library and importlib.util.find_spec(library) is None else None


def needs_extra(path: Path, format: str) -> UnavailableError:
    """The error for a file whose format needs a library that is not installed."""
    return UnavailableError(
        f"{called(path)} cannot be read: {format.upper()} needs the library {LIBRARIES[format]}.",
        f"pip install 'debater-search[{format}]'",
    )


def read_text_file(path: Path, folder: Path) -> tuple[Document, int]:
    """A file as a document, and the line by which its front matter is broken, which then is text; else 0.

    The id is the path below `folder`, which is among the metadata with the time of change. The title is that of the
    front matter, of the page or of the first heading, else the file's name. Raises DebaterError for text that is not
    UTF-8, a damaged file, a name with control characters, and a missing library.
    """
    format = text_format(path)
    assert format is not None
    with open_stream(path) as stream:
        data = stream.read()
    read = _READERS[format](data, path)
    relative = _utf8(path.relative_to(folder).as_posix())
    if has_control_character(relative):  # it would be the document's id
        raise InvalidError(f"The name of the file {relative!r} holds a control character.", "Rename it.")
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    metadata = {"path": relative, "modified": changed, **(read.metadata or {})}
    return Document(relative, read.text, read.title or _utf8(_suffixes(path)[0]), metadata), read.broken


def _plain(data: bytes, path: Path) -> _Read:
    return _Read(_decoded(data, path))


def _markdown(data: bytes, path: Path) -> _Read:
    text = _decoded(data, path)
    matter, body, broken = front_matter(text.replace("\r\n", "\n"))
    if matter is None:
        matter, body = {}, text
    titles = sorted((name for name in matter if name.lower() == "title"), reverse=True)  # `title` before `Title`
    title = matter.pop(titles[0]) if titles else None
    matter = {name: _elements(value) if name.lower() in _TAGS else value for name, value in matter.items()}
    heading, _, rest = body.lstrip().partition("\n")
    if title is None and heading.startswith("# "):
        return _Read(rest.strip(), heading.lstrip("# ").strip(), matter, broken)
    text = body.lstrip() if matter or title is not None else body
    return _Read(text, "" if title is None else str(title), matter, broken)


def _elements(value: Any) -> Any:
    """The tags of `tags: k8s, ops` as a list, as programs for notes read them."""
    if not isinstance(value, str) or "," not in value:
        return value
    return [tag for part in value.split(",") if (tag := part.strip())]


def front_matter(text: str) -> tuple[dict[str, Any] | None, str, int]:
    """The YAML between two lines of `---` at the head of a Markdown file, as metadata, and the text after it.

    None and the whole text if there is none, or if it is no mapping in safe YAML. The last value is the line that
    cannot be read, or 0; a sentence between two rules is no such line.
    """
    found = _FRONT_MATTER.match(text) if text.startswith("---") else None
    if found is None or found.end() > _MAX_FRONT_MATTER:
        return None, text, 0
    block = found[1] or ""
    try:
        fields = yaml.load(block, _Loader)  # a SafeLoader
        return (dict(plain(fields)), text[found.end() :], 0) if isinstance(fields, dict) else (None, text, 0)
    except YAML_ERRORS:
        fields, line = _entry_by_entry(block)
    return (None, text, line) if line else (fields, text[found.end() :], 0)


def _entry_by_entry(block: str) -> tuple[dict[str, Any], int]:
    """The fields of a block that is no YAML as a whole, where people wrote `title: Postmortem: the outage`.

    An entry that is no YAML either is text. The last value is the line of an entry that is neither, or 0.
    """
    lines = block.splitlines()
    if len(lines) > _MAX_ENTRY_LINES:
        return {}, 1
    fields: dict[str, Any] = {}
    starts = [number for number, line in enumerate(lines) if line.strip() and line[0] not in " \t-#"]
    for start, end in pairwise([*starts, len(lines)]):
        entry = lines[start:end]
        if not _ENTRY.match(entry[0]):
            return {}, start + 2
        try:
            fields |= plain(yaml.load("\n".join(entry), _Loader))  # a SafeLoader
        except (ScannerError, ParserError):
            name, value = _as_text(entry)
            if value is None:
                return {}, start + 2
            fields[name] = value
        except YAML_ERRORS:
            return {}, start + 2
    return fields, 0


def _as_text(entry: list[str]) -> tuple[str, str | list[str] | None]:
    """`key: text`, or a key above lines of `- text`, as they stand; None if they look like other YAML."""
    name, _, value = entry[0].partition(":")
    below = [line.strip() for line in entry[1:] if line.strip()]
    texts = [line.removeprefix("-").strip() for line in below] or [value.strip()]
    if (below and value.strip()) or any(line[0] != "-" for line in below) or any(_SYNTAX.match(text) for text in texts):
        return name, None
    return name, texts if below else texts[0]


def _html(data: bytes, path: Path) -> _Read:
    trafilatura = require("trafilatura", extra="html")
    found = trafilatura.extract_metadata(data)
    text = trafilatura.extract(data, include_comments=False) or _all_text(data)
    fields = {name: getattr(found, name, None) for name in ("date", "author", "tags")}
    return _Read(text, getattr(found, "title", None) or "", {name: value for name, value in fields.items() if value})


def _all_text(data: bytes) -> str:
    """All text of a page or a piece of one, in which no main text is found."""
    from lxml import etree, html

    try:
        tree = html.fromstring(data)
    except (etree.LxmlError, ValueError):  # nothing but blanks, comments or bytes that are no page
        return ""
    etree.strip_elements(tree, "script", "style", "head", with_tail=False)
    return _utf8("\n".join(line.strip() for line in tree.text_content().splitlines() if line.strip()))


def _pdf(data: bytes, path: Path) -> _Read:
    pypdf = require("pypdf", extra="pdf")
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        text = "\n\n".join(page.extract_text() for page in reader.pages)
        found = reader.metadata
        title, author = (found.title, found.author) if found else (None, None)
    except Exception as error:  # a damaged file raises errors of many kinds
        raise DamagedError(
            f"{called(path)} cannot be read as PDF ({type(error).__name__}: {' '.join(str(error).split())[:200]}).",
            "Remove the file, or write it again without a password.",
        ) from error
    return _Read(_utf8(text), _utf8(str(title or "")).strip(), {"author": _utf8(str(author))} if author else {})


def _decoded(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(path, data.count(b"\n", 0, error.start) + 1, data) from error


def _suffixes(path: Path) -> tuple[str, str]:
    """The name without its extensions, and the extension below the one of a compression."""
    if path.suffix.lower() in COMPRESSIONS:
        path = path.with_suffix("")
    return path.stem, path.suffix.lower()


def _utf8(text: str) -> str:
    """The text as UTF-8 can hold it."""
    return text.encode("utf-8", "replace").decode()


_FORMATS = {".txt": "txt", ".md": "md", ".markdown": "md", ".html": "html", ".htm": "html", ".pdf": "pdf"}
_READERS: dict[str, Callable[[bytes, Path], _Read]] = {"txt": _plain, "md": _markdown, "html": _html, "pdf": _pdf}
