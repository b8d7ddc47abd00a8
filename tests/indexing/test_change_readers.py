"""Whoever reads an index while it is changed sees each change whole, and none before its commit."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from debater_search.errors import DebaterError
from debater_search.indexing import add, build, compact, delete
from debater_search.search import MODES, SearchEngine
from debater_search.store.generations import is_part
from tests.fakes import FakeEncoder
from tests.indexing.changed_index import CORPUS, FLUTTER, QUERIES, files_of, opened


def test_an_open_engine_sees_a_change_at_its_next_query_and_none_before_its_commit(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import debater_search.indexing.change as module

    lazy, eager = opened(index), opened(index)
    eager.search("wing", 1)
    before = eager.search_batch(QUERIES, 5)

    def write_last(path: Path, manifest: Any) -> None:
        if path == index / "manifest.json":
            for engine in (eager, opened(index)):
                assert engine.search_batch(QUERIES, 5) == before
            (index / "half").mkdir()
        real(path, manifest)

    real = module.write_manifest
    monkeypatch.setattr(module, "write_manifest", write_last)
    add(index, [FLUTTER], encoder=FakeEncoder())
    (index / "half").rmdir()
    for engine in (lazy, eager):
        for mode in MODES:
            assert engine.search("new words of flutter", 1, mode=mode)[0].id == "n1"
    assert eager.encoder is lazy.encoder or eager.encoder.fingerprint == lazy.encoder.fingerprint


def test_what_a_query_has_begun_to_read_outlives_two_changes(index: Path) -> None:
    engine = opened(index)
    engine.search("wing", 1)
    snapshot = engine._snapshot
    with snapshot.documents.reading():
        delete(index, ["d7"])
        delete(index, ["d8"])
        assert snapshot.documents.read([7])[0].id == "d7"
        compact(index)
        delete(index, ["d9"])
        assert not (index / "documents.sqlite").exists()
        assert snapshot.documents.read([7])[0].id == "d7"
    vector = FakeEncoder().encode_documents([CORPUS[7]])
    assert snapshot.vectors.search(vector, 1)[1].tolist() == [[7]]


def test_a_query_on_files_that_two_changes_removed_reads_the_new_ones(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vectors are opened after the query was encoded; meanwhile two changes are committed."""

    class Slow(FakeEncoder):
        waits = True

        def encode_queries(self, *arguments: Any, **settings: Any) -> np.ndarray:
            if self.waits:
                self.waits = False
                delete(index, ["d7"])
                compact(index)
                delete(index, ["d8"])
            return super().encode_queries(*arguments, **settings)

    hits = SearchEngine.open(index, encoder=Slow()).search("wing", 100)
    assert len(hits) == 23


def test_queries_are_encoded_once_however_often_the_index_changes_meanwhile(index: Path) -> None:
    class Slow(FakeEncoder):
        def encode_queries(self, *arguments: Any, **settings: Any) -> np.ndarray:
            for id in ("d7", "d8", "d9"):
                if id in SearchEngine.open(index).documents.positions([id]):
                    delete(index, [id])
            return super().encode_queries(*arguments, **settings)

    encoder = Slow()
    engine = SearchEngine.open(index, encoder=encoder)
    answer = engine.answer_batch(["wing", "flow"], 100)
    assert len(encoder.instructions) == 1
    assert answer.generation == 3
    assert [len(hits) for hits in answer.run.values()] == [22, 22]
    assert answer.timings["encode"] > 0


def test_a_change_between_ranking_and_reading_takes_no_hit_away(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import debater_search.search.engine as module

    real = module.hits_of

    def change_first(*arguments: Any) -> Any:
        monkeypatch.setattr(module, "hits_of", real)
        for id in ("d7", "d8", "d9"):
            delete(index, [id])
        return real(*arguments)

    engine = opened(index)
    monkeypatch.setattr(module, "hits_of", change_first)
    answer = engine.answer("number 7 unique7. title", 100)
    assert (len(answer.hits), answer.hits[0].id, answer.generation) == (25, "d7", 0)


def test_a_reader_that_takes_long_does_not_hold_up_a_writer(index: Path) -> None:
    start = time.monotonic()
    with opened(index).documents.reading():
        for id in ("d7", "d8", "d9"):
            delete(index, [id])
    assert time.monotonic() - start < 15  # SQLite would wait for the reader for 20 seconds


def test_an_engine_goes_on_over_an_index_that_force_replaced(index: Path) -> None:
    same, other, own = opened(index), opened(index), SearchEngine.open(index)
    build(CORPUS[:3], FakeEncoder(), index, force=True)
    assert len(same.search("wing", 100)) == 3
    build(CORPUS[:3], FakeEncoder("another"), index, force=True)
    for _ in range(2):
        with pytest.raises(DebaterError, match=r"made by another .*not by fake"):
            other.search("wing")
    assert own.search("wing", mode="lexical")


def test_files_that_no_reader_can_open_any_more_are_removed_by_the_next_writer(index: Path) -> None:
    (index / "documents-9.sqlite.tmp").write_bytes(b"of a killed change")
    (index / "embeddings-9").mkdir()
    add(index, [FLUTTER], encoder=FakeEncoder())
    names = {path.name for path in files_of(index) if path.parent == index}
    assert names == {
        "manifest.json", "documents.sqlite", "embeddings", "embeddings-1", "vectors", "delta-1",
    }  # fmt: skip
    compact(index)
    delete(index, ["d0"])
    names = {path.name for path in files_of(index) if path.parent == index}
    assert names == {
        "manifest.json", "documents-2.sqlite", "embeddings-2", "vectors-2", "delta-3",
    }  # fmt: skip
    assert all(map(is_part, (path.name for path in index.iterdir())))


def test_a_changed_index_is_replaced_by_force(index: Path) -> None:
    add(index, [FLUTTER], encoder=FakeEncoder())
    delete(index, ["d0"])
    build(CORPUS[:3], FakeEncoder(), index, force=True)
    engine = opened(index)
    assert len(engine.documents) == 3
    engine.close()
    assert sorted(p.name for p in index.iterdir()) == ["documents.sqlite", "embeddings", "manifest.json", "vectors"]
