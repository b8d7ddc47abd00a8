"""Documents to filter, in a store with the table of fields or without."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from debater_search.filters import parse_filter
from debater_search.store.corpus import write_documents
from debater_search.store.documents import DocumentStore
from debater_search.store.filters import allowed, require_fields
from debater_search.types import Document

PAPERS = [
    Document("a", title="Wings", metadata={"year": 2021, "venue": "ACL", "lang": "en", "open": True, "pub date": "x"}),
    Document("b", title="Heat", metadata={"year": 2019.5, "venue": "SIGIR", "lang": "de", "open": False}),
    Document(
        "c", metadata={"year": "2022", "venue": 'O\'Hare "x"', "lang": None, "tags": ["ACL", 2021], "a`b": 1, "c]d": 1}
    ),
    Document("7", metadata={"year": "soon", "author": {"name": "ACL"}}),
]
LONG = "long " * 100
THINGS = [
    Document("a", metadata={"when": "2020-05-01", "tags": ["eco", "new"], "n": [1, 5], "specs": {"weight_g": 2500}}),
    Document("b", metadata={"when": "2020-05-01T23:30:00-02:00", "tags": [], "note": LONG + "A", "ok": "True"}),
    Document("c", metadata={"when": "2019-12-31T23:59:59.5Z", "tags": ["eco"], "n": [7, None], "ok": False}),
    Document("d", metadata={"when": "2020-05", "tags": " ", "n": "3", "specs": {"weight_g": "900", "size": {"x": 1}}}),
    Document("e", metadata={"when": "never", "tags": "eco", "ok": True, "specs": {f"k{i}": i for i in range(99)}}),
    Document("f", metadata={"when": 2020, "n": list(range(10, 200)), "note": "50% a_b", "specs.weight_g": 1}),
]


def stored(path: Path, documents: Sequence[Document], *, table: bool) -> DocumentStore:
    """The documents, with the table of fields or as a database of before."""
    path.unlink(missing_ok=True)
    write_documents(path, documents)
    if not table:
        drop_table(path)
    return DocumentStore(path)


def drop_table(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("DROP TABLE fields")


def ids_of(store: DocumentStore, expression: str) -> str:
    tree = parse_filter(expression)
    require_fields(tree, store)
    return "".join(store.ids(allowed(tree, store).tolist()))
