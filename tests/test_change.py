"""An index that was changed answers as one built anew from the same documents, and is never seen half changed."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import FakeEncoder, tiny_corpus
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from debater_search.errors import DebaterError
from debater_search.indexing import add, build, compact, delete, update, verify
from debater_search.search import MODES, SearchEngine
from debater_search.store.generations import is_part
from debater_search.types import Document

CORPUS = tiny_corpus()
QUERIES = ["number 7 unique7. title", "the wing", "unique3.", "new words of flutter", "title 21"]
FLUTTER = Document("n1", "Some new words about flutter.", "Flutter", {"year": 100})


def changed(id: str, text: str = "Flutter took its place.", year: int = 50) -> Document:
    return Document(id, text, "Changed", {"year": year})


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(CORPUS, FakeEncoder(), tmp_path_factory.mktemp("original") / "i", shard_size=10, all_steps=True).folder


@pytest.fixture
def index(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "i"))


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


def by_id(*documents: Document) -> dict[str, Document]:
    return {document.id: document for document in documents}


def test_added_documents_are_found_in_every_mode(index: Path, tmp_path: Path) -> None:
    encoder = FakeEncoder()
    change = add(index, [FLUTTER], encoder=encoder)
    assert (change.added, change.encoded, change.documents, change.generation) == (1, 1, 26, 1)
    assert encoder.encoded == 1
    require_answers_of(by_id(*CORPUS, FLUTTER), index, tmp_path)
    for mode in MODES:
        assert opened(index).search("new words of flutter", 1, mode=mode)[0].id == "n1"


def test_a_document_whose_id_is_known_takes_the_old_ones_place(index: Path, tmp_path: Path) -> None:
    change = add(index, [changed("d7"), FLUTTER, CORPUS[3]], encoder=FakeEncoder())
    assert (change.added, change.updated, change.unchanged, change.encoded) == (1, 1, 1, 2)
    assert change.documents == 26
    require_answers_of(by_id(*CORPUS, changed("d7"), FLUTTER), index, tmp_path)
    for mode in MODES:
        assert "d7" not in [hit.id for hit in opened(index).search("unique7.", 1, mode=mode)]


def test_deleted_documents_are_gone_in_every_mode(index: Path, tmp_path: Path) -> None:
    change = delete(index, ["d7", "d0", "d24", "d7"])
    assert (change.deleted, change.documents, change.unknown) == (3, 22, [])
    require_answers_of(by_id(*(d for d in CORPUS if d.id not in ("d7", "d0", "d24"))), index, tmp_path)


def test_a_change_of_metadata_alone_encodes_nothing(index: Path, tmp_path: Path) -> None:
    encoder = FakeEncoder()
    moved = Document("d7", CORPUS[7].text, CORPUS[7].title, {"year": 12})
    change = add(index, [moved], encoder=encoder)
    assert (change.updated, encoder.encoded) == (1, 0)
    require_answers_of(by_id(*CORPUS, moved), index, tmp_path)


def test_update_encodes_what_is_new_or_changed_and_drops_what_is_gone(index: Path, tmp_path: Path) -> None:
    encoder = FakeEncoder()
    after = [changed("d7"), *CORPUS[10:], FLUTTER, *CORPUS[:5]]
    change = update(index, after, encoder=encoder)
    assert (change.added, change.updated, change.deleted, change.unchanged) == (1, 1, 4, 20)
    assert encoder.encoded == change.encoded == 2
    require_answers_of(by_id(*after), index, tmp_path)


def test_a_change_that_changes_nothing_writes_nothing(index: Path) -> None:
    before = {path: path.read_bytes() for path in index.rglob("*") if path.is_file()}
    encoder = FakeEncoder()
    for change in (add(index, CORPUS[:3], encoder=encoder), update(index, CORPUS[::-1], encoder=encoder)):
        assert change.generation == change.added == change.updated == change.deleted == encoder.encoded == 0
    assert delete(index, ["unknown", "d99", "unknown"]).unknown == ["unknown", "d99"]
    assert not hasattr(compact(index), "encoded")
    assert {path: path.read_bytes() for path in index.rglob("*") if path.is_file()} == before


def test_compact_makes_the_index_that_a_build_would(index: Path, tmp_path: Path) -> None:
    add(index, [changed("d7"), FLUTTER], encoder=FakeEncoder())
    delete(index, ["d3"])
    done = compact(index)
    assert (done.folded, done.dropped, done.documents) == (2, 2, 25)
    after = by_id(*(d for d in CORPUS if d.id != "d3"), changed("d7"), FLUTTER)
    require_answers_of(after, index, tmp_path)
    engine = opened(index)
    ids = engine.documents.ids()
    assert engine.live is None
    assert engine.store.ids() == ids
    np.testing.assert_array_equal(
        np.concatenate(list(engine.store.steps())), FakeEncoder().deliberate([after[id] for id in ids])
    )
    anew = build([after[id] for id in ids], FakeEncoder(), tmp_path / "again").manifest
    assert anew is not None
    assert engine.manifest.corpus.fingerprint == anew.corpus.fingerprint
    assert compact(index).generation == done.generation  # there is nothing to fold any more


def test_a_compacted_indexs_embeddings_can_be_built_from(index: Path, tmp_path: Path) -> None:
    add(index, [FLUTTER], encoder=FakeEncoder())
    compact(index)
    documents = list(opened(index).documents)
    again = build(documents, None, tmp_path / "again", embeddings=index).folder
    require_answers_of(by_id(*documents), again, tmp_path)


Step = tuple[str, Any]
IDS = st.sampled_from([f"d{i}" for i in range(8)])
DOCUMENTS = st.builds(lambda id, word, year: changed(id, f"{word} wing", year), IDS, st.sampled_from("abc"), st.just(7))
STEPS = st.one_of(
    st.tuples(st.sampled_from(["add", "update"]), st.lists(DOCUMENTS, min_size=1, unique_by=lambda d: d.id)),
    st.tuples(st.just("delete"), st.lists(IDS)),
    st.tuples(st.just("compact"), st.none()),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, min_size=1, max_size=5))
def test_any_changes_leave_what_a_dictionary_would_hold(
    steps: list[Step], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("changes")
    index = build(CORPUS[:4], FakeEncoder(), place / "i", shard_size=2).folder
    expected = by_id(*CORPUS[:4])
    for name, what in steps:
        if name == "compact":
            compact(index)
        elif name == "delete" and not set(expected) - set(what):
            with pytest.raises(DebaterError, match="without documents"):
                delete(index, what)
        elif name == "delete":
            delete(index, what)
            expected = {id: document for id, document in expected.items() if id not in what}
        else:
            (add if name == "add" else update)(index, what, encoder=FakeEncoder())
            expected = by_id(*([] if name == "update" else expected.values()), *what)
        assert contents(opened(index)) == expected
    require_answers_of(expected, index, place)


def test_an_index_of_words_alone_is_changed_without_a_model(tmp_path: Path) -> None:
    index = build(CORPUS, None, tmp_path / "i").folder
    add(index, [FLUTTER, changed("d7")])
    delete(index, ["d3"])
    compact(index)
    engine = SearchEngine.open(index)
    assert set(contents(engine)) == {*(d.id for d in CORPUS), "n1"} - {"d3"}
    assert {hit.id for hit in engine.search("flutter", mode="lexical")} == {"n1", "d7"}
    assert engine.search("unique7 unique3", mode="lexical") == []
    with pytest.raises(DebaterError, match="words only"):
        add(index, [FLUTTER], encoder=FakeEncoder())


def test_thinking_steps_are_evaluated_over_living_documents(index: Path) -> None:
    from debater_search.evaluation.thinking import search_steps

    add(index, [changed("d7")], encoder=FakeEncoder())
    delete(index, ["d3"])
    engine = opened(index)
    vectors = FakeEncoder().encode_queries(QUERIES)
    last = search_steps([str(i) for i in range(len(QUERIES))], vectors, engine.store, live=engine.live)[-1]
    ours = engine.search_batch(QUERIES, 1000)
    assert {query: set(found) for query, found in last.items()} == {query: set(found) for query, found in ours.items()}
    for query, found in ours.items():
        assert [last[query][id] for id in found] == pytest.approx(list(found.values()), abs=1e-5)


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
    delete(index, ["d7"])
    delete(index, ["d8"])
    compact(index)
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
    names = {path.name for path in index.iterdir()}
    assert names == {
        "manifest.json", "documents.sqlite", "documents-1.sqlite", "embeddings", "embeddings-1", "vectors", "delta-1",
    }  # fmt: skip
    compact(index)
    delete(index, ["d0"])
    names = {path.name for path in index.iterdir()}
    assert names == {
        "manifest.json", "documents-2.sqlite", "documents-3.sqlite", "embeddings-2", "vectors-2",
    }  # fmt: skip
    assert all(map(is_part, names))


def test_a_changed_index_is_replaced_by_force(index: Path) -> None:
    add(index, [FLUTTER], encoder=FakeEncoder())
    delete(index, ["d0"])
    build(CORPUS[:3], FakeEncoder(), index, force=True)
    assert len(opened(index).documents) == 3
    assert sorted(p.name for p in index.iterdir()) == ["documents.sqlite", "embeddings", "manifest.json", "vectors"]


# What goes wrong leaves the index as it was.


def state(index: Path) -> tuple[dict[str, Document], Any]:
    engine = opened(index)
    found = contents(engine), [engine.search_batch(QUERIES, 100, mode=mode) for mode in MODES]
    engine.close()
    return found


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([FLUTTER, FLUTTER], "id 'n1' twice"),
        ([CORPUS[3], CORPUS[3]], "id 'd3' twice"),
        ([changed("d3"), CORPUS[3]], "id 'd3' twice"),
        ([*tiny_corpus(2000), CORPUS[3]], "id 'd3' twice"),
        ([*tiny_corpus(2000), tiny_corpus(1999)[1998]], "id 'd1998' twice"),
        ([FLUTTER, Document("bad", "\ud800")], "Document 'bad' holds half a surrogate"),
    ],
)
def test_bad_documents_leave_the_index_as_it_was(index: Path, documents: list[Document], message: str) -> None:
    files = sorted(index.rglob("*"))
    for change in (add, update):
        with pytest.raises(DebaterError, match=message):
            change(index, documents, encoder=FakeEncoder())
        assert state(index)[0] == by_id(*CORPUS)
        assert sorted(index.rglob("*")) == files


def test_an_id_repeated_across_corpora_is_an_update_and_within_one_a_mistake(index: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "more.jsonl"
    corpus.write_text('{"_id": "d3", "text": "a"}\n{"_id": "d3", "text": "b"}\n', encoding="utf-8")
    with pytest.raises(DebaterError, match=r"more\.jsonl, line 2: the id 'd3' stands in line 1 already"):
        add(index, corpus, encoder=FakeEncoder())
    corpus.write_text('{"_id": "d3", "text": "a"}\n', encoding="utf-8")
    assert add(index, corpus, encoder=FakeEncoder()).updated == 1
    assert contents(opened(index))["d3"] == Document("d3", "a")


def test_another_model_of_the_same_dimension_is_refused_naming_both(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DebaterError, match=r"was made by fake \(fingerprint .*not by other \(fingerprint"):
        add(index, [FLUTTER], encoder=FakeEncoder("other"))
    monkeypatch.setattr("debater_search.encoder.Encoder.load", lambda model, **_: FakeEncoder(model, thinking_steps=2))
    with pytest.raises(DebaterError, match=r"was made by fake \(fingerprint .*not by fake \(fingerprint"):
        add(index, [FLUTTER])
    assert state(index)[0] == by_id(*CORPUS)


def test_the_model_is_loaded_from_the_manifest_and_only_if_there_is_something_to_encode(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(**recipe: Any) -> FakeEncoder:
        asked.append(recipe)
        return FakeEncoder(recipe["model"])

    monkeypatch.setattr("debater_search.encoder.Encoder.load", load)
    update(index, CORPUS[:20])
    assert asked == []
    add(index, [FLUTTER], device="cpu")
    assert asked == [{"model": "fake", "device": "cpu"}]


def test_the_last_document_cannot_be_deleted(index: Path) -> None:
    with pytest.raises(DebaterError, match="without documents"):
        delete(index, [d.id for d in CORPUS])
    assert state(index)[0] == by_id(*CORPUS)


@pytest.mark.parametrize("name", ["documents.sqlite", "vectors/index.faiss"])
def test_an_index_with_a_missing_file_is_refused(index: Path, name: str) -> None:
    (index / name).unlink()
    for change in (lambda: add(index, [FLUTTER]), lambda: delete(index, ["d3"]), lambda: compact(index)):
        with pytest.raises(DebaterError, match=rf"damaged: {name} is missing"):
            change()


def test_an_index_of_a_newer_version_is_refused(index: Path) -> None:
    manifest = json.loads((index / "manifest.json").read_text(encoding="utf-8"))
    (index / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 99}), encoding="utf-8")
    for use in (lambda: delete(index, ["d3"]), lambda: verify(index), lambda: SearchEngine.open(index)):
        with pytest.raises(DebaterError, match=r"schema version 99, newer .*Upgrade"):
            use()


def test_a_copied_index_is_changed_and_searched_where_it_lies(index: Path, tmp_path: Path) -> None:
    add(index, [FLUTTER], encoder=FakeEncoder())
    copy = Path(shutil.copytree(index, tmp_path / "elsewhere" / "copy"))
    shutil.rmtree(index)
    delete(copy, ["d3"])
    require_answers_of(by_id(*(d for d in CORPUS if d.id != "d3"), FLUTTER), copy, tmp_path)


@pytest.mark.parametrize("type", ["hnsw", "ivf", "binary"])
def test_an_index_of_another_type_changes_as_a_flat_one(tmp_path: Path, type: str) -> None:
    for name in (type, "flat"):
        build(tiny_corpus(1200), FakeEncoder(), tmp_path / name, type=name, recall=0.99)
        delete(tmp_path / name, [f"d{i}" for i in range(0, 1200, 3)])
        add(tmp_path / name, [FLUTTER, changed("d7")], encoder=FakeEncoder())
    for step in (lambda folder: None, compact):
        found = []
        for name in (type, "flat"):
            step(tmp_path / name)
            found.append(
                [hit.id for hit in SearchEngine.open(tmp_path / name, encoder=FakeEncoder()).search("flutter", 900)]
            )
        assert found[0] == found[1]
        assert len(found[0]) == 801
    engine = SearchEngine.open(tmp_path / type, encoder=FakeEncoder())
    assert engine.manifest.type == type
    assert engine.manifest.target_recall == 0.99
    assert engine.manifest.vector_search is not None
    assert engine.manifest.vector_search.recall[10] >= 0.99


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "where",
    [
        "shutil.copyfile",
        "debater_search.store.embeddings.EmbeddingWriter.write",
        "debater_search.store.embeddings.EmbeddingWriter.finish",
        "debater_search.vectors.build_index",
        "debater_search.indexing.change.write_manifest",
        "debater_search.files._fsync",
    ],
)
def test_a_full_disk_leaves_the_old_state_and_the_rerun_finishes(
    index: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    before = state(index)
    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(OSError, match="No space"):
            add(index, [FLUTTER, changed("d7")], encoder=FakeEncoder())
    assert state(index) == before
    assert verify(index).sound
    assert {path.name for path in index.iterdir()} - {"embeddings-1"} == {
        "manifest.json", "documents.sqlite", "embeddings", "vectors",
    }  # fmt: skip
    assert add(index, [FLUTTER, changed("d7")], encoder=FakeEncoder()).documents == 26


def test_shards_that_an_interrupted_change_finished_are_not_encoded_again(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = [Document(f"n{i}", f"new {i}") for i in range(2500)]

    class Interrupted(FakeEncoder):
        def deliberate(self, texts: Any, *, progress: Any = False) -> np.ndarray:
            if self.encoded >= 2000:
                raise KeyboardInterrupt
            return super().deliberate(texts)

    with pytest.raises(KeyboardInterrupt):
        add(index, more, encoder=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        add(index, [*more[:-1], changed("last")], encoder=Interrupted())  # another change reuses nothing
    again = FakeEncoder()
    assert add(index, [*more[:-1], changed("last")], encoder=again).encoded == again.encoded == 500
    assert verify(index).sound
    assert len(opened(index).search("new", 10**6)) == 2525
