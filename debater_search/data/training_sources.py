"""Where training rows come from: a file, a BEIR folder, judgements of hits or a data set of a hub; all of them read as
JSON lines.

A plain .jsonl file already is what is read by position. Anything else is written as such lines once: row or line n of
the source becomes line n, so that messages can name the place in what the user gave.
"""

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from debater_search.data.corpus import read_corpus
from debater_search.data.files import COMPRESSIONS, STDIN, decoded, open_stream, place, require_exists
from debater_search.data.judgements import files_of, holds_judgements, judged_rows
from debater_search.data.qrels import read_qrels
from debater_search.data.queries import read_queries
from debater_search.data.rows import FORMATS, Fields, find_in_folder, format_of, json_row
from debater_search.data.training import TrainingRow, is_read, parse_row, set_name
from debater_search.data.training_pairs import are_labelled, joined_lines
from debater_search.data.training_rows import read_training_rows
from debater_search.errors import InvalidError, MissingError, UnavailableError

MAX_LINE = 32 << 20  # bytes; a file without line ends must not fill the memory

logger = logging.getLogger(__name__)

_HUB_NAME = re.compile(r"(?P<name>\w[\w.-]*/[\w.-]+)(:(?P<config>[\w.-]+))?")


@dataclass(frozen=True)
class TrainingSource:
    """Something that training rows can be read from."""

    path: str
    """As the user gave it."""
    name: str
    """What examples call it by default."""
    unit: str
    """What its lines stand for: a `line`, a `row` of a table, or a `query` of a BEIR folder or of judgements."""
    lines: Callable[[], Iterator[bytes]]
    """Reads it as JSON lines, each with its line end; one longer than MAX_LINE may come in pieces of that size."""
    files: tuple[Path, ...] = ()
    """What it is made of: a change in one of them is a change of the set. Empty for a set of a hub."""
    plain: bool = False
    """Whether the lines are the bytes of the file itself, so that no copy is needed."""


def training_source(path: str | Path, corpus: str | Path | None = None) -> TrainingSource:
    """What lies at `path`; only the first lines are read. `corpus` has the documents that judgements name.

    Raises DebaterError for what is not there or of no known kind, and for judgements without a corpus.
    """
    if str(path) == STDIN:
        raise InvalidError("Training data is read many times, and standard input only once.", "Save it to a file.")
    if is_hub_name(path):
        return TrainingSource(
            str(path), str(path), "row", lambda: joined_lines(lambda: _as_lines(_hub_rows(str(path))), str(path))
        )
    require_exists(path, "Check the name: data paths are relative to the config file, or to data_folder.")
    if holds_judgements(path):
        return _judgements(Path(path), corpus)
    if corpus is not None:
        raise InvalidError(f"{path} holds no judgements, so that `corpus` is not used.", "Leave `corpus` out.")
    return _beir_folder(Path(path)) if Path(path).is_dir() else _file(Path(path))


def is_hub_name(path: str | Path) -> bool:
    """Whether a path could be a hub's `org/name` or `org/name:config`: no file's extension, no folder `org` here."""
    looks_so = _HUB_NAME.fullmatch(str(path)) is not None and not Path(path).parent.is_dir()
    return looks_so and Path(path).suffix.lower() not in (*FORMATS, *COMPRESSIONS)


def parse_line(line: bytes, number: int, path: str, unit: str) -> TrainingRow:
    """The checked row in line `number` of a source. Raises DebaterError that begins with its place."""
    fields = _fields(line, number, path, unit)
    return parse_row(fields, _place(fields, number, path, unit))


def place_of_line(line: bytes, number: int, path: str, unit: str) -> str:
    """How messages call what stands in line `number` of a source."""
    return _place(_fields(line, number, path, unit), number, path, unit)


def _fields(line: bytes, number: int, path: str, unit: str) -> Fields:
    return json_row(decoded(line, path, number), place(path, number, unit))


def _place(fields: Fields, number: int, path: str, unit: str) -> str:
    return f"{path}, query {fields['query_id']!r}" if unit == "query" else place(path, number, unit)


def _file(path: Path) -> TrainingSource:
    if not path.is_file():
        raise InvalidError(f"{path} is not a regular file: its rows cannot be read by position.", "Save it to a file.")
    kind = format_of(path)
    if kind == "jsonl":
        # labelled pairs are joined, so that the lines are others than the file's
        plain = path.suffix.lower() not in COMPRESSIONS and not are_labelled(lambda: _stream(path))
        lines = (lambda: _stream(path)) if plain else (lambda: joined_lines(lambda: _stream(path), str(path)))
        return TrainingSource(str(path), set_name(path), "line", lines, (path.absolute(),), plain)
    unit = "row" if kind == "parquet" else "line"
    return TrainingSource(
        str(path), set_name(path), unit, lambda: _as_lines(read_training_rows(path)), (path.absolute(),)
    )


def _judgements(path: Path, corpus: str | Path | None) -> TrainingSource:
    if corpus is None:
        raise InvalidError(
            f"{path} holds judgements, which name documents by their ids.",
            "Name the index or the corpus that has these documents as `corpus`.",
        )
    files = (path.absolute(), *files_of(corpus))
    return TrainingSource(str(path), set_name(path), "query", lambda: _as_lines(judged_rows(path, corpus)), files)


def _stream(path: Path) -> Iterator[bytes]:
    with open_stream(path) as stream:
        yield from _lines(stream)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    while line := stream.readline(MAX_LINE):
        yield line


def _as_lines(rows: Iterable[tuple[int, Fields]]) -> Iterator[bytes]:
    """Row n as line n, other fields than those that are read without their values; other lines (a header) are blank."""
    written = 0
    for number, fields in rows:
        yield from (b"\n" for _ in range(number - 1 - written))
        written = number
        known = {name: value if is_read(name) else None for name, value in fields.items()}
        # what JSON lacks (bytes, dates) becomes an object, which no text and no score is
        yield json.dumps(known, ensure_ascii=False, default=lambda _: {}).encode("utf-8", "replace") + b"\n"


def _beir_folder(folder: Path) -> TrainingSource:
    corpus, queries = find_in_folder(folder, "corpus"), find_in_folder(folder, "queries")
    judged = next(iter(sorted((folder / "qrels").glob("train.tsv*"))), None)
    if corpus is None or queries is None or judged is None:
        raise InvalidError(
            f"The folder {folder} holds no training data in BEIR layout.",
            "That is corpus.jsonl, queries.jsonl and qrels/train.tsv; otherwise name a file.",
        )
    files = (corpus.absolute(), queries.absolute(), judged.absolute())
    return TrainingSource(
        str(folder), folder.resolve().name, "query", lambda: _as_lines(_beir_rows(corpus, queries, judged)), files
    )


def _beir_rows(corpus: Path, queries: Path, judged: Path) -> Iterator[tuple[int, Fields]]:
    """A row for every query with an answer in the judgements; only judged documents are held in memory.

    What the judgements name and the folder lacks is left out of its row, which then lacks a query or a positive.
    """
    answers = {
        query_id: [document_id for document_id, gain in gains.items() if gain > 0]
        for query_id, gains in read_qrels(judged).items()
    }
    wanted = {document_id for ids in answers.values() for document_id in ids}
    texts = {document.id: document.content for document in read_corpus(corpus) if document.id in wanted}
    questions = {query.id: query.text for query in read_queries(queries) if query.id in answers}
    if lost := len(wanted) - len(texts):
        logger.warning("Documents that %s names and %s does not have: %s.", judged, corpus, f"{lost:,}")
    for number, (query_id, ids) in enumerate(((q, ids) for q, ids in answers.items() if ids), start=1):
        question = {"query": questions[query_id]} if query_id in questions else {}
        positives = [texts[document_id] for document_id in ids if document_id in texts]
        yield number, {"query_id": query_id, **question, "positive": positives}


def _hub_rows(name: str) -> Iterator[tuple[int, Fields]]:
    """The train split of a hub's data set, streamed; `datasets` runs no code of the repository."""
    parts = _HUB_NAME.fullmatch(name)
    assert parts is not None
    try:
        import datasets
    except ImportError as error:
        raise UnavailableError(
            f"There is no file {name}, and to ask a hub for it the package datasets is needed.",
            "pip install datasets, or name a file.",
        ) from error
    try:
        yield from enumerate(datasets.load_dataset(parts["name"], parts["config"], split="train", streaming=True), 1)
    except Exception as error:  # the hub's clients raise many kinds: all mean that the rows cannot be had
        said = " ".join(str(error).split())[:300]
        raise MissingError(
            f"There is no file {name}, and no hub gave a data set of that name ({type(error).__name__}: {said}).",
            "Check the name (org/name or org/name:configuration) and the network, or name a file.",
        ) from error
