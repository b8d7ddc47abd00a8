"""Is anything trained on that is tested? `python benchmarks/overlap.py TRAIN… --tested FOLDER… [--rows FILE]`

Each TRAIN is a file of training rows, each FOLDER a collection in BEIR layout, of which the documents and the judged
queries of the test split count. Texts are compared as words, without case and punctuation:

- same: the same words; any training text against any tested one, also a query against a document.
- near: of queries, the sets of words have a Jaccard similarity of 0.7; of other texts and documents, those of five
  words in a row.
- contained: 0.7 of the shorter one's fives are in the longer, and 10 at least: a text cut, or a part of a document.

The tested fives stand in one inverted index, so every pair is compared and every similarity exact; no sketches
(MinHash) and no thresholds before that. Memory grows with the tested collections only. Prints a table of how many rows
of each training file are affected, and examples; FILE gets them all as JSON lines, to be left out.
"""

import argparse
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from debater_search.data.corpus import read_corpus
from debater_search.data.files import write_lines
from debater_search.data.qrels import read_qrels
from debater_search.data.queries import read_queries
from debater_search.data.rows import row_place
from debater_search.data.training import parse_row, set_name
from debater_search.data.training_rows import read_training_rows
from debater_search.progress import progress

NEAR = 0.7
FIVES = 10
"""So many must be shared before a short text counts as part of a longer one."""
EXAMPLES = 3
KINDS = ("same", "near", "contained")

WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """The words of a text: compatibility forms, case, punctuation and blanks do not count."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


@dataclass(frozen=True)
class Match:
    """A training text that is, or is almost, a tested one."""

    kind: str
    similarity: float
    """Jaccard's, or of `contained` the share of the shorter one."""
    tested: str
    """The collection's name."""
    of: str
    """`query` or `document`."""
    id: str


class Shingles:
    """Runs of words: which texts hold which, as an inverted index of 64-bit hashes."""

    def __init__(self, length: int) -> None:
        """`length` in words; a text with fewer is one run."""
        self._length = length
        self._numbers: dict[str, int] = {}
        self._factors = np.random.default_rng(0).integers(1, 2**63, size=length, dtype=np.uint64)
        self._sizes = self._owners = np.zeros(0, dtype=np.int64)
        self._hashes = np.zeros(0, dtype=np.uint64)

    def hold(self, texts: Iterable[list[str]]) -> None:
        """Build the index of the texts, numbered in their order."""
        each = [self._runs(words) for words in texts]
        self._sizes = np.array([len(runs) for runs in each])
        hashes = np.concatenate([*each, np.zeros(0, dtype=np.uint64)])
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._owners = hashes[order], np.repeat(np.arange(len(each)), self._sizes)[order]

    def alike(self, words: list[str]) -> Iterator[tuple[int, int, float, float]]:
        """Held texts that share a run with `words`: number, shared runs, Jaccard similarity, share of the shorter."""
        runs = self._runs(words)
        first = np.searchsorted(self._hashes, runs, side="left")
        counts = np.searchsorted(self._hashes, runs, side="right") - first
        places = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())
        for number, shared in zip(*np.unique(self._owners[places], return_counts=True), strict=True):
            size = int(self._sizes[number])
            both, shorter = len(runs) + size - shared, min(len(runs), size)
            yield int(number), int(shared), float(shared / both), float(shared / shorter)

    def _runs(self, words: list[str]) -> np.ndarray:
        """Hashes of the runs in a text, each once, sorted."""
        length = min(self._length, len(words))
        if not length:
            return np.zeros(0, dtype=np.uint64)
        numbers = np.array([self._numbers.setdefault(word, len(self._numbers) + 1) for word in words], dtype=np.uint64)
        windows = np.lib.stride_tricks.sliding_window_view(numbers, length)
        return np.unique((windows * self._factors[:length]).sum(axis=1, dtype=np.uint64))


class Tested:
    """The queries and documents of one collection."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.resolve().name
        judged = read_qrels(folder / "qrels" / "test.tsv")
        self._texts = {
            "query": [(q.id, words_of(q.text)) for q in read_queries(folder) if q.id in judged],
            "document": [(d.id, words_of(d.content)) for d in read_corpus(folder)],
        }
        self._shingles = {"query": Shingles(1), "document": Shingles(5)}
        self._same: dict[str, list[tuple[str, str]]] = {}  # words → what they are of, and its id
        for of, texts in self._texts.items():
            self._shingles[of].hold(words for _, words in texts)
            for id, words in texts:
                self._same.setdefault(" ".join(words), []).append((of, id))
        self._same.pop("", None)

    def count(self, of: str) -> int:
        return len(self._texts[of])

    def matches(self, words: list[str], of: str) -> list[Match]:
        """What a training text, given as words, is like; near ones are sought among queries or documents (`of`)."""
        found = [Match("same", 1.0, self.name, *place) for place in self._same.get(" ".join(words), [])]
        same = {match.id for match in found if match.of == of}
        for number, shared, jaccard, share in self._shingles[of].alike(words):
            id = self._texts[of][number][0]
            if id in same:
                continue
            if jaccard >= NEAR:
                found.append(Match("near", round(jaccard, 3), self.name, of, id))
            elif of == "document" and share >= NEAR and shared >= FIVES:
                found.append(Match("contained", round(share, 3), self.name, of, id))
        return found


@dataclass(frozen=True)
class Finding:
    """A row of a training file, one of whose texts is tested."""

    file: str
    row: int
    """As the file counts its lines, from 1."""
    field: str
    """`query`, `positive` or `negative`."""
    match: Match
    text: str


@dataclass(frozen=True)
class Checked:
    """What came out for one training file."""

    file: Path
    rows: int
    distinct: Counter[str]
    """Of different training texts, queries (`query`) and others (`document`)."""
    findings: list[Finding]


def check(file: Path, tested: list[Tested]) -> Checked:
    """Compare every text of a training file with every tested one."""
    known: dict[tuple[str, bytes], list[Match]] = {}  # texts repeat: positives of one row are negatives of another
    findings: list[Finding] = []
    rows = 0
    with progress(set_name(file), None, "rows", enabled=True) as bar:
        for number, fields in read_training_rows(file):
            row = parse_row(fields, row_place(file, number))
            texts = {"query": row.queries, "positive": row.positives, "negative": row.negatives}
            for field, text in ((field, text) for field, each in texts.items() for text in each):
                of = "query" if field == "query" else "document"
                key = of, blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
                if key not in known:
                    words = words_of(text)
                    known[key] = [match for collection in tested for match in collection.matches(words, of)]
                findings += [Finding(str(file), number, field, match, text) for match in known[key]]
            rows += 1
            bar.advance()
    return Checked(file, rows, Counter(of for of, _ in known), findings)


def table(results: list[Checked], tested: list[Tested]) -> str:
    """Rows affected, by training file and collection: same · near · contained. Markdown."""
    lines = [
        f"| training file | rows | pairs compared | {' | '.join(collection.name for collection in tested)} |",
        "|--|--:|--:|" + "--:|" * len(tested),
    ]
    for result in results:
        pairs = sum(count * collection.count(of) for of, count in result.distinct.items() for collection in tested)
        rows = {(finding.match.tested, finding.match.kind, finding.row) for finding in result.findings}
        count = Counter((name, kind) for name, kind, _ in rows)
        cells = [" · ".join(f"{count[collection.name, kind]:,}" for kind in KINDS) for collection in tested]
        lines.append(f"| {set_name(result.file)} | {result.rows:,} | {pairs:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def examples(results: list[Checked]) -> str:
    """The first few findings of each file, collection and kind."""
    shown: Counter[tuple[str, str, str]] = Counter()
    lines = []
    for finding in (f for result in results for f in result.findings):
        match = finding.match
        shown[key := (finding.file, match.tested, match.kind)] += 1
        if shown[key] <= EXAMPLES:
            lines.append(
                f"- {set_name(finding.file)}, row {finding.row}, {finding.field}: {match.kind} {match.similarity:.2f}, "
                f"{match.of} {match.id} of {match.tested}: {finding.text[:100]!r}"
            )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", nargs="+", type=Path)
    parser.add_argument("--tested", nargs="+", type=Path, required=True)
    parser.add_argument("--rows", type=Path, help="where to write the rows to leave out")
    asked = parser.parse_args(arguments)
    tested = [Tested(folder) for folder in asked.tested]
    results = [check(file, tested) for file in asked.train]
    print(table(results, tested))
    if shown := examples(results):
        print(f"\nExamples, at most {EXAMPLES} of each kind:\n\n{shown}")
    affected = {result.file: len({finding.row for finding in result.findings}) for result in results}
    print("\nRows to leave out: " + ", ".join(f"{set_name(file)} {count:,}" for file, count in affected.items()) + ".")
    if asked.rows:
        findings = (finding for result in results for finding in result.findings)
        write_lines(asked.rows, (json.dumps(asdict(finding), ensure_ascii=False) for finding in findings))


if __name__ == "__main__":
    main()
