"""An index that is changed, and one built anew to compare it with."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from debater_search.indexing import build, verify
from debater_search.search import MODES, SearchEngine
from debater_search.store.manifest import MANIFEST_NAME
from debater_search.types import Document
from tests.fakes import FakeEncoder, tiny_corpus

CORPUS = tiny_corpus()
QUERIES = ["number 7 unique7. title", "the wing", "unique3.", "new words of flutter", "title 21"]
FLUTTER = Document("n1", "Some new words about flutter.", "Flutter", {"year": 100})


def changed(id: str, text: str = "Flutter took its place.", year: int = 50) -> Document:
    return Document(id, text, "Changed", {"year": year})


def opened(index: Path) -> SearchEngine:
    return SearchEngine.open(index, encoder=FakeEncoder())


def contents(engine: SearchEngine) -> dict[str, Document]:
    return {document.id: document for document in engine.documents}


def require_answers_of(documents: dict[str, Document], index: Path, tmp_path: Path) -> None:
    """The index holds these documents, is sound, and answers as one built from them; order decides only ties."""
    engine = opened(index)
    assert contents(engine) == documents
    assert verify(index).sound
    anew = tmp_path / "anew"
    shutil.rmtree(anew, ignore_errors=True)
    # in the order of the changed index, so that ties fall alike
    reference = opened(build(list(engine.documents), FakeEncoder(), anew, shard_size=10).folder)
    for mode in MODES:
        for where in (None, "year >= 5 and year != 12"):
            for k in (3, 10**6):
                ours = engine.search_batch(QUERIES, k, mode=mode, where=where)
                theirs = reference.search_batch(QUERIES, k, mode=mode, where=where)
                for query, ranking in theirs.items():
                    assert list(ours[query]) == list(ranking), (mode, where, k, query)
                    assert list(ours[query].values()) == pytest.approx(list(ranking.values()), abs=1e-5)
    if documents:
        assert len(engine.search("wing", 10**6)) == len(documents)
    engine.close()


def as_before_fields(index: Path) -> None:
    """Turn an index into one of schema version 2, as it was before fields had a table and words a language."""
    manifest = json.loads((index / MANIFEST_NAME).read_text(encoding="utf-8"))
    del manifest["language"]
    (index / MANIFEST_NAME).write_text(json.dumps(manifest | {"schema_version": 2}), encoding="utf-8")
    with closing(sqlite3.connect(index / "documents.sqlite")) as connection:
        for statement in (
            "DROP TABLE fields",
            "DROP TABLE revised_fields",
            "DROP TABLE lexical",
            "DROP VIEW lexical_texts",
            "ALTER TABLE state DROP COLUMN language",
            "CREATE VIRTUAL TABLE lexical USING fts5(title, text, content='documents', content_rowid='position', "
            "tokenize='porter unicode61 remove_diacritics 2')",
            "INSERT INTO lexical (lexical) VALUES ('rebuild')",
        ):
            connection.execute(statement)
        connection.commit()


def files_of(index: Path) -> list[Path]:
    """All that lies in an index, but for what SQLite keeps beside a database that was opened."""
    return sorted(path for path in index.rglob("*") if not path.name.endswith(("-wal", "-shm")))


def by_id(*documents: Document) -> dict[str, Document]:
    return {document.id: document for document in documents}
