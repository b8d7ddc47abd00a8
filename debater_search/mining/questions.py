"""What negatives are mined for: queries and their answers, from training files, BEIR folders or judgements of hits."""

import hashlib
import itertools
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from debater_search.data import read_corpus, read_qrels, read_queries, read_training_examples
from debater_search.data.files import STDIN, require_exists
from debater_search.data.judgements import holds_judgements, judged_rows
from debater_search.errors import InvalidError, MissingError
from debater_search.mining.texts import digest

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """A query and all the different texts that are known to answer it; there is at least one."""

    query: str
    positives: tuple[str, ...]


def read_questions(source: str | Path, split: str = "train", corpus: str | Path | None = None) -> list[Question]:
    """The questions of a training file, a BEIR folder (judgements of `split`) or judgements of hits; each query once.

    `corpus`, an index or a corpus, has the documents that judgements of hits name.

    Queries that differ in case or blanks only are one, with the positives of all their rows. Negatives that a training
    file has already are not read.

    Raises:
        DebaterError: there is no such file, folder or split, a row is bad (file and line), or nothing has a positive.

    """
    check_source(source, split)
    if Path(source).is_dir():
        pairs = _judged_pairs(Path(source), split)
    elif corpus is not None and holds_judgements(source):
        pairs = ((row["query"], text) for _, row in judged_rows(source, corpus) for text in row["positive"])
    else:
        pairs = _training_pairs(source)
    questions = _grouped(pairs)
    if not questions:
        raise InvalidError(f"No query of {source} has a positive with text.", "Mining needs positives.")
    return questions


def check_source(source: str | Path, split: str = "train") -> None:
    """Raise DebaterError where there is nothing to read questions from, or the first row is none.

    Examples:
        >>> from debater_search.mining import check_source
        >>> check_source("train.jsonl")  # there
    """
    if str(source) == STDIN:
        raise InvalidError("Training data is read more than once, which standard input cannot be.", "Name a file.")
    require_exists(source)
    if Path(source).is_dir():
        _judgement_file(Path(source), split)
    elif not holds_judgements(source):
        next(iter(read_training_examples(source)), None)


def fingerprint(questions: Iterable[Question]) -> str:
    """sha256 over the questions in order."""
    sha256 = hashlib.sha256()
    for question in questions:
        sha256.update(json.dumps([question.query, question.positives]).encode() + b"\n")
    return sha256.hexdigest()


def _grouped(pairs: Iterable[tuple[str, str]]) -> list[Question]:
    spelling: dict[int, str] = {}
    positives: dict[int, dict[int, str]] = {}
    for query, positive in pairs:
        key = digest(query)
        spelling.setdefault(key, query)
        positives.setdefault(key, {}).setdefault(digest(positive), positive)
    return [Question(query, tuple(positives[key].values())) for key, query in spelling.items()]


def _training_pairs(path: str | Path) -> Iterator[tuple[str, str]]:
    """Query and positive of every row; rows with several positives come again until a pass brings nothing new."""
    queries: list[str] = []
    seen: list[set[int]] = []
    for pick in itertools.count():
        news = False
        for row, example in enumerate(read_training_examples(path, pick=pick)):
            if pick == 0:
                queries.append(example.query)
                seen.append(set())
            key = digest(example.positive)
            if key not in seen[row]:
                news = True
                seen[row].add(key)
                yield queries[row], example.positive
        if not news:
            return


def _judged_pairs(folder: Path, split: str) -> Iterator[tuple[str, str]]:
    positives = {
        query_id: [document_id for document_id, gain in gains.items() if gain > 0]
        for query_id, gains in read_qrels(_judgement_file(folder, split)).items()
    }
    wanted = {document_id for ids in positives.values() for document_id in ids}
    contents = {document.id: document.content for document in read_corpus(folder) if document.id in wanted}
    if missing := len(wanted) - len(contents):
        logger.warning("Judged positives that are not in the corpus: %s of %s.", f"{missing:,}", f"{len(wanted):,}")
    for query in read_queries(folder):
        for document_id in positives.get(query.id, []):
            if contents.get(document_id):  # an empty text answers nothing
                yield query.text, contents[document_id]


def _judgement_file(folder: Path, split: str) -> Path:
    files = {file.name.partition(".tsv")[0]: file for file in sorted((folder / "qrels").glob("*.tsv*"))}
    if not files:
        raise MissingError(
            f"The folder {folder} has no judgements.",
            "Give a training file, or a folder with corpus.jsonl, queries.jsonl and qrels/train.tsv.",
        )
    if split not in files:
        raise MissingError(f"The folder {folder} has no split {split!r}.", f"`split` is one of: {', '.join(files)}.")
    return files[split]
