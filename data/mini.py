"""Cut mini/ out of the full sets: `python data/mini.py SOURCE PACKAGES [TARGET]`. Same sources, same bytes.

SOURCE holds train/NAME.jsonl.gz with rows {"query", "positive", "negative", "negative_source"}; PACKAGES is Debian's
file of descriptions, Translation-en, unpacked; TARGET (this folder by default) holds heldout/, which cut.py made.
README.md in this folder says where the sets come from.
"""

import argparse
import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cut import SEED, shorten, write_jsonl

HELD_QUESTIONS = {"medquad": 600, "pubmedqa_labeled": 200}
"""Sets that are trained on, and how many questions at least are held apart of each."""
CHOICE_ONLY = ("climate_fever", "wikiqa", "trecqa_wang")
"""Sets without a stated licence: nothing of them is trained on or in the repository (git ignores their folders)."""
STOCK = 3  # an answer to more questions than this is a stock phrase: it does not make its diseases one document
SHORTEST_PASSAGE = 200  # characters; less at the end of a long text is left out
PACKAGE_ROWS, HELD_PACKAGES = 14_000, 600
PACKAGE_PHRASES = re.compile(
    r"This package (contains|provides|includes|installs)|This is an? (dummy|transitional|meta)"
)
"""What paragraphs begin with that say the same of every package."""
QUOTED = "IgBLAST allows users to view"
"""How the one description begins that an abstract of SciFact holds (benchmarks/overlap.py): another takes its place."""
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
SENTENCE_LENGTHS = range(40, 300)  # characters; of what is asked for by a sentence
SHORTEST_DESCRIPTION = 150  # characters


@dataclass(frozen=True)
class Row:
    """One row of a full set, texts as passages of which the first is what `cut.shorten` leaves of them."""

    query: str
    positive: list[str]
    negative: list[str]
    related: bool
    """Whether positive and negative come from one document, rather than the negative being mined."""


def same_question(question: str) -> str:
    """What two spellings of one question share: letters and digits without case."""
    return "".join(character for character in question.casefold() if character.isalnum())


def passages(text: str) -> list[str]:
    """A text cut into passages of 1,500 characters at the ends of words."""
    rest, found = " ".join(text.split()), [""]
    while rest:
        found.append(shorten(rest))
        rest = rest[len(found[-1]) :].strip()
    return found[1:2] + [passage for passage in found[2:] if len(passage) >= SHORTEST_PASSAGE]


def read_rows(path: Path) -> list[Row]:
    """The rows of a full set."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        Row(
            row["query"].strip(),
            passages(row["positive"]),
            passages(row["negative"]),
            row["negative_source"].startswith("original"),
        )
        for row in rows
    ]


def own_texts(row: Row) -> list[str]:
    """The passages of the row's document or documents."""
    return row.positive + row.negative if row.related else row.positive


def keys_of(rows: list[Row]) -> list[set[str]]:
    """What makes rows belong together: the question, and the texts of its documents unless many questions have them."""
    asked: dict[str, set[str]] = {}
    for row in rows:
        for text in row.positive:
            asked.setdefault(text, set()).add(same_question(row.query))
    stock = {text for text, questions in asked.items() if len(questions) > STOCK}
    return [{same_question(row.query), *own_texts(row)} - stock for row in rows]


def grouped(keys: list[set[str]]) -> list[list[int]]:
    """Positions that share a key, directly or through others, are one group; groups stand in the order of the first."""
    parent = list(range(len(keys)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    first: dict[str, int] = {}
    for number, own in enumerate(keys):
        for key in own:
            parent[root(number)] = root(first.setdefault(key, number))
    groups: dict[int, list[int]] = {}
    for number in range(len(keys)):
        groups.setdefault(root(number), []).append(number)
    return list(groups.values())


def hold(rows: list[Row], count: int, known: set[str], rng: random.Random) -> tuple[list[Row], list[Row]]:
    """Split by group: those with a `known` key, and others at random until `count` questions are held."""
    keys = keys_of(rows)
    groups = grouped(keys)
    touched = [any(not known.isdisjoint(keys[number]) for number in group) for group in groups]
    held: set[int] = set()
    questions: set[str] = set()
    for group in sorted(rng.sample(range(len(groups)), len(groups)), key=lambda group: not touched[group]):
        if touched[group] or len(questions) < count:
            held.update(groups[group])
            questions.update(same_question(rows[number].query) for number in groups[group])
    return [row for n, row in enumerate(rows) if n in held], [row for n, row in enumerate(rows) if n not in held]


def training_rows(rows: list[Row], forbidden: set[str]) -> Iterator[dict[str, str]]:
    """First passages; rows with a forbidden answer are left out, and of other rows a negative that is none."""
    for row in rows:
        positive, negative = row.positive[0], row.negative[0]
        if positive not in forbidden:
            usable = negative not in forbidden and negative != positive
            yield {"query": row.query, "positive": positive} | ({"negative": negative} if usable else {})


def sentence_row(text: str, stock: set[str], rng: random.Random) -> dict[str, str] | None:
    """A sentence of a text as the question for it; half of the time the text is left without the sentence."""
    sentences = SENTENCE_END.split(text)
    chosen = rng.randrange(len(sentences))
    if len(sentences) < 3 or len(sentences[chosen]) not in SENTENCE_LENGTHS or sentences[chosen] in stock:
        return None
    kept = sentences if rng.random() < 0.5 else sentences[:chosen] + sentences[chosen + 1 :]
    return {"query": sentences[chosen], "positive": " ".join(kept)}


def stock_sentences(texts: Iterable[str]) -> set[str]:
    """Sentences that stand in more than one text: they ask for none of them."""
    counts = Counter(sentence for text in set(texts) for sentence in set(SENTENCE_END.split(text)))
    return {sentence for sentence, count in counts.items() if count > 1}


def package_descriptions(path: Path) -> list[tuple[str, str]]:
    """(summary, description) of every package that has one of its own, in the file's order."""
    found: dict[str, str] = {}
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        match = re.search(r"^Description-en: (.+)\n((?: .*\n?)*)", block, re.MULTILINE)
        if match is None:
            continue
        paragraphs = [" ".join(paragraph.split()) for paragraph in re.split(r"\n \.\n", match[2])]
        description = shorten(" ".join(p for p in paragraphs if not PACKAGE_PHRASES.match(p)))
        if len(description) >= SHORTEST_DESCRIPTION:
            found.setdefault(description, match[1].strip())
    return [(summary, description) for description, summary in found.items()]


def write_packages(target: Path, path: Path) -> None:
    """Training rows of package descriptions, asked for by summary or by sentence, and a collection to choose by."""
    rng = random.Random(f"{SEED} packages")
    pairs = package_descriptions(path)
    stock = stock_sentences(text for _, text in pairs)
    rng.shuffle(pairs)
    held, rest = pairs[: 2 * HELD_PACKAGES], pairs[2 * HELD_PACKAGES :]
    write_collection(
        target / "development" / "packages",
        [
            Row(summary, [text], [other], False)
            for (summary, text), (_, other) in zip(held[::2], held[1::2], strict=True)
        ],
        set(),
    )
    known = {part for summary, text in held for part in (summary, *SENTENCE_END.split(text))}
    rest = [(summary, text) for summary, text in rest if known.isdisjoint([summary, *SENTENCE_END.split(text)])]
    rows = [{"query": summary, "positive": text} if n % 2 else sentence_row(text, stock, rng)
            for n, (summary, text) in enumerate(rest)]  # fmt: skip
    kept = [row for row in rows if row]
    kept = [kept.pop() if row["positive"].startswith(QUOTED) else row for row in kept[:PACKAGE_ROWS]]
    write_jsonl(target / "train" / "packages.jsonl.gz", kept)


def write_collection(target: Path, rows: Iterable[Row], forbidden: set[str]) -> None:
    """A collection in BEIR layout: positives have gain 1, negatives are its other documents unless `forbidden`."""
    rows = list(rows)
    texts: dict[str, str] = {}  # text → document id
    queries: dict[str, tuple[str, str]] = {}  # question → (query id, its first spelling)
    qrels: dict[tuple[str, str], None] = {}
    for row in rows:
        query_id, _ = queries.setdefault(same_question(row.query), (f"q{len(queries) + 1}", row.query))
        qrels[query_id, texts.setdefault(row.positive[0], f"d{len(texts) + 1}")] = None
    for row in rows:
        if row.negative[0] not in forbidden:
            texts.setdefault(row.negative[0], f"d{len(texts) + 1}")
    write_jsonl(target / "corpus.jsonl", ({"_id": i, "title": "", "text": text} for text, i in texts.items()))
    write_jsonl(target / "queries.jsonl", ({"_id": i, "text": text} for i, text in queries.values()))
    lines = ["query-id\tcorpus-id\tscore", *(f"{query_id}\t{text_id}\t1" for query_id, text_id in qrels)]
    (target / "qrels").mkdir(exist_ok=True)
    (target / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_known(collection: Path) -> set[str]:
    """The questions, as `same_question` sees them, and the texts of a collection."""
    files = {name: (collection / f"{name}.jsonl").read_text(encoding="utf-8") for name in ("queries", "corpus")}
    texts = {name: [json.loads(line)["text"] for line in lines.splitlines()] for name, lines in files.items()}
    return {*map(same_question, texts["queries"]), *texts["corpus"]}


def cut_mini(source: Path, packages: Path, target: Path) -> None:
    """Write mini/ below `target`: training files, and collections to choose by."""
    known = read_known(target / "heldout")
    complete: dict[str, list[Row]] = {}
    rest: dict[str, list[Row]] = {}
    forbidden = set(known)
    for name, count in HELD_QUESTIONS.items():
        complete[name] = rows = read_rows(source / "train" / f"{name}.jsonl.gz")
        held, rest[name] = hold(rows, count, known, random.Random(f"{SEED} mini {name}"))
        forbidden |= {text for row in held for text in own_texts(row)}
        trained = {text for row in rest[name] for text in own_texts(row)}
        write_collection(target / "mini" / "development" / name, held, trained)
    for name, rows in rest.items():
        write_jsonl(target / "mini" / "train" / f"{name}.jsonl.gz", training_rows(rows, forbidden))
    everything = [row for rows in rest.values() for row in rows]
    rng = random.Random(f"{SEED} sentences")
    texts = {text for rows in complete.values() for row in rows for text in own_texts(row)}
    stock = stock_sentences(texts)
    own = dict.fromkeys(row.positive[0] for row in everything)
    asked = [sentence_row(text, stock, rng) for text in own if text not in forbidden]
    write_jsonl(target / "mini" / "train" / "sentences.jsonl.gz", [row for row in asked if row])
    write_packages(target / "mini", packages)
    for name in CHOICE_ONLY:
        rows = read_rows(source / "train" / f"{name}.jsonl.gz")
        write_collection(target / "mini" / "development" / name, rows, set())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("packages", type=Path)
    parser.add_argument("target", type=Path, nargs="?", default=Path(__file__).parent)
    arguments = parser.parse_args()
    cut_mini(arguments.source, arguments.packages, arguments.target)
