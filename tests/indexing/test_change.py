"""An index that was changed answers as one built anew from the same documents."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from debater_search.errors import DebaterError, InvalidError
from debater_search.indexing import add, build, compact, delete, describe, matching, update
from debater_search.search import MODES, SearchEngine
from debater_search.store.lexical import ANY
from debater_search.store.manifest import INDEX_SCHEMA_VERSION
from debater_search.store.words import register
from debater_search.types import Document
from tests.fakes import FakeEncoder, tiny_corpus
from tests.indexing.changed_index import (
    CORPUS,
    FLUTTER,
    QUERIES,
    as_before_fields,
    by_id,
    changed,
    contents,
    opened,
    require_answers_of,
)


def test_added_documents_are_found_in_every_mode(index: Path, tmp_path: Path) -> None:
    encoder = FakeEncoder()
    change = add(index, [FLUTTER], encoder=encoder)
    assert (change.added, change.encoded, change.documents, change.generation) == (1, 1, 26, 1)
    assert encoder.encoded == 1
    require_answers_of(by_id(*CORPUS, FLUTTER), index, tmp_path)
    for mode in MODES:
        assert opened(index).search("new words of flutter", 1, mode=mode)[0].id == "n1"


def test_odd_values_are_told_when_they_are_indexed_or_added_and_in_what_an_index_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, folder, days = tmp_path / "c.csv", tmp_path / "i", [f"2024-03-{day:02}" for day in range(1, 20)]

    def told(*values: str) -> list[str]:
        caplog.clear()
        path.write_text("id,text,day\n" + "".join(f"{value},wing,{value}\n" for value in values), encoding="utf-8")
        if folder.exists():
            add(folder, path)
        else:
            build(path, None, folder)
        return [record.message for record in caplog.records if "day" in record.message]

    first = "day: 19 of 20 values are dates; bald has 'bald'."
    assert told(*days, "bald") == [first]
    assert describe(folder)["warnings"] == [first]
    assert told("2024-04-01") == []
    assert told("soon") == ["day: 20 of 22 values are dates; soon has 'soon', the first of 2."]


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


@pytest.mark.parametrize("fields", [True, False])
def test_documents_that_a_filter_allows_are_deleted(index: Path, tmp_path: Path, fields: bool) -> None:
    if not fields:
        as_before_fields(index)
    where = "id in ('d7', 'd0', 'nobody') or id = 'd24'"
    assert matching(index, where) == ["d0", "d7", "d24"]
    change = delete(index, where=where)
    assert (change.deleted, change.documents, change.unknown) == (3, 22, [])
    require_answers_of(by_id(*(d for d in CORPUS if d.id not in ("d7", "d0", "d24"))), index, tmp_path)
    assert delete(index, where=where).deleted == 0


def test_ids_and_a_filter_exclude_each_other(index: Path) -> None:
    for arguments in ({}, {"ids": ["d0"], "where": "id = 'd0'"}):
        with pytest.raises(InvalidError, match="exclude each other"):
            delete(index, **arguments)  # type: ignore[arg-type]
    with pytest.raises(DebaterError, match="would leave the index without documents"):
        delete(index, where="id is not missing")
    assert len(matching(index, "id is not missing")) == 25


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
    def written() -> object:
        files = {path: path.read_bytes() for path in index.rglob("*") if path.is_file() and "sqlite" not in path.name}
        with sqlite3.connect(index / "documents.sqlite") as database:
            register(database)
            return files, list(database.iterdump())

    before = written()
    encoder = FakeEncoder()
    for change in (add(index, CORPUS[:3], encoder=encoder), update(index, CORPUS[::-1], encoder=encoder)):
        assert change.generation == change.added == change.updated == change.deleted == encoder.encoded == 0
    assert delete(index, ["unknown", "d99", "unknown"]).unknown == ["unknown", "d99"]
    assert not hasattr(compact(index), "encoded")
    assert written() == before


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
    with pytest.raises(DebaterError, match="lexical only"):
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
    assert engine.manifest.vectors.type == type
    assert engine.manifest.vectors.state["target"] == 0.99
    assert engine.manifest.vectors.state["recall"]["10"] >= 0.99


def test_a_copied_index_is_changed_and_searched_where_it_lies(index: Path, tmp_path: Path) -> None:
    add(index, [FLUTTER], encoder=FakeEncoder())
    copy = Path(shutil.copytree(index, tmp_path / "elsewhere" / "copy"))
    shutil.rmtree(index)
    delete(copy, ["d3"])
    require_answers_of(by_id(*(d for d in CORPUS if d.id != "d3"), FLUTTER), copy, tmp_path)


def test_an_index_of_before_fields_is_changed_as_it_is_and_converted_by_compaction(index: Path, tmp_path: Path) -> None:
    as_before_fields(index)
    require_answers_of(by_id(*CORPUS), index, tmp_path)
    add(index, [FLUTTER, changed("d7")], encoder=FakeEncoder())
    delete(index, ["d3"])
    held = by_id(*(document for document in CORPUS if document.id not in ("d3", "d7")), FLUTTER, changed("d7"))
    require_answers_of(held, index, tmp_path)
    engine = opened(index)
    assert not engine.documents.has_field_table
    assert engine.documents.fields() == ["year"]
    assert engine.answer("wing", where="year > 'x'").notes == ()
    assert compact(index).converted
    require_answers_of(held, index, tmp_path)
    assert opened(index).documents.has_field_table
    assert json.loads((index / "manifest.json").read_text())["schema_version"] == INDEX_SCHEMA_VERSION
    assert not compact(index).converted


def test_the_language_of_an_index_outlives_changes_and_compaction(tmp_path: Path) -> None:
    build([Document("a", "the wings of Straßen")], None, tmp_path / "i", language="any")
    add(tmp_path / "i", [Document("b", "Wing")])
    delete(tmp_path / "i", ["a"])
    add(tmp_path / "i", [Document("a", "the wings of Straßen")])
    for _ in range(2):
        engine = SearchEngine.open(tmp_path / "i")
        assert (engine.manifest.language, engine.documents.language) == ("any", ANY)
        assert [hit.id for hit in engine.search("wing", mode="lexical")] == ["b"]
        assert [hit.id for hit in engine.search("the STRASSEN", mode="lexical")] == ["a"]
        compact(tmp_path / "i")


def test_a_conversion_alone_leaves_the_vectors(index: Path, tmp_path: Path) -> None:
    as_before_fields(index)
    vectors = {path: path.stat() for path in (index / "vectors").iterdir()}
    done = compact(index)
    assert (done.converted, done.folded, done.dropped, done.generation) == (True, 0, 0, 1)
    assert {path: path.stat() for path in (index / "vectors").iterdir()} == vectors
    require_answers_of(by_id(*CORPUS), index, tmp_path)
