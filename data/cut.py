"""Cut this folder out of the full sets: `python data/cut.py SOURCE [TARGET]`. The same source gives the same bytes.

SOURCE holds cranfield/ in BEIR layout and train/{medquad,pubmedqa_labeled,scifact_train}.jsonl.gz with rows
{"query", "positive", "negative"}. README.md in this folder says where those come from.
"""

import argparse
import gzip
import json
import random
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SEED = 42
TEXT_CHARACTERS = 1500
CORPUS_SIZE = 400
BLOCK = 10  # MedQuAD rows come in document order: whole blocks keep a document's questions together


class Row(NamedTuple):
    """One row of a training set, texts already cut."""

    query: str
    positive: str
    negative: str


class Cut(NamedTuple):
    """What is taken from one training set."""

    source: str
    held_questions: int
    train_rows: int | None  # None = all that is left


CUTS = {
    "medquad": Cut("medquad", 70, 2800),
    "pubmedqa": Cut("pubmedqa_labeled", 50, None),
    "scifact": Cut("scifact_train", 30, None),
}


def same_question(question: str) -> str:
    """What two spellings of one question share: letters without case and blanks."""
    return "".join(question.casefold().split())


def shorten(text: str) -> str:
    """The text, or its first 1,500 characters up to a word's end."""
    text = " ".join(text.split())
    if len(text) <= TEXT_CHARACTERS:
        return text
    return text[: TEXT_CHARACTERS + 1].rsplit(" ", 1)[0][:TEXT_CHARACTERS]


def read_rows(path: Path) -> list[Row]:
    """The rows of a full training set."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [Row(row["query"].strip(), shorten(row["positive"]), shorten(row["negative"])) for row in rows]


def hold_questions(rows: list[Row], count: int, rng: random.Random) -> tuple[list[Row], list[Row]]:
    """Split by question: the rows of `count` questions, and those sharing neither question nor positive with them."""
    questions = sorted({same_question(row.query) for row in rows})
    chosen = set(rng.sample(questions, count))
    held = [row for row in rows if same_question(row.query) in chosen]
    answers = {row.positive for row in held}
    rest = [row for row in rows if same_question(row.query) not in chosen and row.positive not in answers]
    return held, rest


def sample_blocks(rows: list[Row], count: int, rng: random.Random) -> list[Row]:
    """`count` rows in whole blocks of neighbours, order kept."""
    starts = range(0, len(rows) - BLOCK + 1, BLOCK)
    return [row for start in sorted(rng.sample(starts, count // BLOCK)) for row in rows[start : start + BLOCK]]


def write_jsonl(path: Path, rows: Iterable[dict[str, str]]) -> None:
    """Write JSON lines, compressed (without a time stamp) where the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if path.suffix == ".gz":
        data = gzip.compress(data, compresslevel=9, mtime=0)
    path.write_bytes(data)


def write_heldout(target: Path, held: dict[str, list[Row]], rest: dict[str, list[Row]], rng: random.Random) -> None:
    """A collection in BEIR layout: all positives, their rows' hard negatives, then other texts up to CORPUS_SIZE."""
    texts: dict[str, str] = {}  # text → document id

    def add(name: str, text: str) -> str:
        return texts.setdefault(text, f"{name}-{len(texts) + 1}")

    queries: dict[str, tuple[str, str]] = {}  # question → (query id, its first spelling)
    qrels: dict[tuple[str, str], None] = {}
    for name, rows in held.items():
        for row in rows:
            fresh = (f"{name}-q{len(queries) + 1}", row.query)
            query_id, _ = queries.setdefault(same_question(row.query), fresh)
            qrels[query_id, add(name, row.positive)] = None
    for name, rows in held.items():
        for row in rows:
            add(name, row.negative)
    others = [(name, row.positive) for name, rows in rest.items() for row in rows]
    rng.shuffle(others)
    for name, text in others:
        if len(texts) >= CORPUS_SIZE:
            break
        add(name, text)

    documents = sorted((text_id, text) for text, text_id in texts.items())
    write_jsonl(target / "corpus.jsonl", ({"_id": i, "title": "", "text": text} for i, text in documents))
    write_jsonl(target / "queries.jsonl", ({"_id": i, "text": text} for i, text in queries.values()))
    lines = ["query-id\tcorpus-id\tscore", *(f"{query_id}\t{text_id}\t1" for query_id, text_id in qrels)]
    (target / "qrels").mkdir(exist_ok=True)
    (target / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def cut(source: Path, target: Path) -> None:
    """Write train/, heldout/ and cranfield/ below `target`."""
    held: dict[str, list[Row]] = {}
    rest: dict[str, list[Row]] = {}
    for name, plan in CUTS.items():
        rng = random.Random(f"{SEED} {name}")
        rows = read_rows(source / "train" / f"{plan.source}.jsonl.gz")
        held[name], rest[name] = hold_questions(rows, plan.held_questions, rng)
        train = rest[name] if plan.train_rows is None else sample_blocks(rest[name], plan.train_rows, rng)
        write_jsonl(target / "train" / f"{name}.jsonl.gz", (row._asdict() for row in train))
    write_heldout(target / "heldout", held, rest, random.Random(f"{SEED} heldout"))
    for file in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        copy = target / "cranfield" / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / "cranfield" / file, copy)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path, nargs="?", default=Path(__file__).parent)
    arguments = parser.parse_args()
    cut(arguments.source, arguments.target)
