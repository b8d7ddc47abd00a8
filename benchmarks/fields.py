"""Filters and facets with the table of metadata fields, and before it: `python benchmarks/fields.py [--documents N]`

Documents are made up: 60 words, a year, a venue of 500, a list of tags, a date and an object. `json_each` is how SQLite
was asked before, where that is known; `reading all` is how a database without the table is filtered now. Times are of
the CPU, so that other work on the machine counts little.
"""

import argparse
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from house import abstracts

from debater_search.filters import parse_filter
from debater_search.store.corpus import write_documents
from debater_search.store.documents import DocumentStore
from debater_search.store.facets import count_values, describe_fields
from debater_search.store.filters import allowed
from debater_search.types import Document

BEFORE = {
    "year >= 2020": "EXISTS (SELECT 1 FROM json_each(documents.metadata) AS field WHERE field.key = 'year' AND "
    "field.type IN ('integer', 'real', 'text') AND field.value <= CAST(9e999 AS NUMERIC) AND "
    "field.value >= CAST(2020 AS NUMERIC))",
    "venue = 'venue 9'": "EXISTS (SELECT 1 FROM json_each(documents.metadata) AS field WHERE field.key = 'venue' AND "
    "field.type = 'text' AND field.value IN (SELECT value FROM json_each('[\"venue 9\"]')))",
    "rare is missing": "NOT (EXISTS (SELECT 1 FROM json_each(documents.metadata) AS field WHERE field.key = 'rare' "
    "AND field.type <> 'null'))",
}
FACET_BEFORE = (
    "SELECT field.value, count(*) FROM documents, json_each(documents.metadata) AS field WHERE field.key = 'venue' "
    "GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
)
FILTERS = [
    "year >= 2020",
    "venue = 'venue 9'",
    "tags has 'tag 3' and year < 2000",
    "venue != 'venue 9'",
    "published between '2010-01-01' and '2010-06-30'",
    "specs.weight > 900",
    "venue contains 'E 49'",
    "rare is missing",
    "rare is not missing",
]


def corpus(count: int) -> Iterator[Document]:
    for number, document in enumerate(abstracts(count)):
        fields = {
            "year": 1955 + number % 70,
            "venue": f"venue {number * number % 500}",
            "tags": [f"tag {number % 9}", f"tag {number % 31}"],
            "published": f"{1955 + number % 70}-{1 + number % 12:02}-{1 + number % 28:02}",
            "specs": {"weight": number % 1000},
        }
        yield Document(document.id, document.text, document.title, fields | ({"rare": 1} if number % 5000 == 0 else {}))


def milliseconds(work: Callable[[], object]) -> float:
    """CPU time, the middle of three runs."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(1000 * (time.process_time() - start))
    return statistics.median(times)


def stored(path: Path, count: int) -> tuple[float, int]:
    """Write the documents; the seconds of CPU that it took, and the bytes."""
    start = time.process_time()
    write_documents(path, corpus(count))
    return time.process_time() - start, os.path.getsize(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=200_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        path, without = Path(place, "fields.sqlite"), Path(place, "without.sqlite")
        seconds, size = stored(path, asked.documents)
        without.write_bytes(path.read_bytes())
        with closing(sqlite3.connect(without)) as connection:
            connection.execute("DROP TABLE fields")
            connection.execute("VACUUM")
        sizes = f"{size / 1e6:.0f} MB with the table, {without.stat().st_size / 1e6:.0f} MB without it"
        print(f"{asked.documents:,} documents: written in {seconds:.1f} s of the CPU, {sizes}")
        table, scan = DocumentStore(path), DocumentStore(without)
        print("| | documents | json_each, ms | reading all, ms | the table, ms |\n|--|--:|--:|--:|--:|")
        for text in FILTERS:
            tree = parse_filter(text)
            sql = f"SELECT position FROM documents WHERE {BEFORE.get(text)} ORDER BY position"
            row = [
                f"{milliseconds(partial(scan.position_array, sql)):,.0f}" if text in BEFORE else "",
                f"{milliseconds(partial(allowed, tree, scan)):,.0f}",
                f"{milliseconds(partial(allowed, tree, table)):,.1f}",
            ]
            print(f"| `{text}` | {len(allowed(tree, table)):,} | {' | '.join(row)} |", flush=True)
        positions = allowed(parse_filter("year >= 2020"), table)
        before = {"venue": f"{milliseconds(partial(scan.field_rows, FACET_BEFORE)):,.0f}"}
        best = positions[:: max(1, len(positions) // 1000)][:1000]  # as many as a search counts among
        for name in ("venue", "tags", "year", "published"):
            for among, count in ((None, asked.documents), (positions, len(positions)), (best, len(best))):
                took = milliseconds(partial(count_values, table, name, among))
                print(f"| facet of {name} | {count:,} | {before.pop(name, '')} | | {took:,.1f} |")
        print(f"| all fields described | | | | {milliseconds(lambda: list(describe_fields(table))):,.0f} |")
        print(f"| names of all fields | | | | {milliseconds(table.fields):,.2f} |")
        for within, count in ((None, asked.documents), (positions, len(positions))):
            took = milliseconds(partial(table.search, "word1 word30", 10, within=within))
            print(f"| ten best by words | {count:,} | | | {took:,.1f} |")


if __name__ == "__main__":
    main()
