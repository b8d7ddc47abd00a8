"""An index whose files are not what they were is found out, and mended where it can be."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from debater_search.cli import main
from debater_search.errors import DamagedError, DebaterError
from debater_search.indexing import add, build, compact, delete, verify
from debater_search.search import SearchEngine
from debater_search.store.checks import documents_are_sound
from debater_search.store.manifest import IndexManifest
from debater_search.types import Document
from tests.fakes import FakeEncoder

SHARD = "embeddings/shard-00001.parquet"
VECTORS = "vectors/index.faiss"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven documents in three shards, every thinking step stored."""
    monkeypatch.setattr("debater_search.encoder.Encoder.load", lambda model, **_: FakeEncoder(model))
    documents = [Document(f"d{i}", f"wing number {i} lifts", "wings", {"year": i}) for i in range(7)]
    return build(documents, FakeEncoder(), tmp_path / "index", shard_size=3, all_steps=True).folder


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[next(at for at in range(len(content) // 2, len(content)) if content[at])] ^= 1  # zeros may be unused space
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def state(index: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    engine = SearchEngine.open(index)
    steps = np.concatenate(list(engine.store.steps()))
    hits = [hit.id for hit in engine.search("wing number 4", 7)]
    engine.close()
    return engine.store.vectors(), steps, hits


def test_a_sound_index_is_called_sound(index: Path) -> None:
    found = verify(index)
    assert found.sound
    assert found.files == 5
    assert found.damaged == []


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, Path.unlink])
@pytest.mark.parametrize("name", [SHARD, VECTORS, "documents.sqlite"])
def test_damage_of_any_kind_is_named(index: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(index / name)
    found = verify(index)
    assert found.damaged == [name]
    assert not found.sound


def test_a_warning_names_a_missing_file_once(index: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = index / "documents.sqlite"
    path.unlink()
    verify(index)
    assert caplog.messages == [f"{path} is missing or cannot be opened."]


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, Path.unlink])
@pytest.mark.parametrize("names", [[SHARD], [VECTORS], [SHARD, VECTORS]])
def test_a_repaired_index_is_the_index_it_was(index: Path, names: list[str], damage: Callable[[Path], None]) -> None:
    vectors, steps, hits = state(index)
    for name in names:
        damage(index / name)
    found = verify(index, repair=True)
    assert sorted(found.repaired) == sorted(names)
    assert verify(index).damaged == []
    again = state(index)
    assert np.allclose(again[0], vectors, atol=1e-6)
    assert np.allclose(again[1], steps, atol=1e-6)
    assert again[2] == hits


@pytest.mark.parametrize("name", [SHARD, VECTORS, "delta-1/dropped.npy"])
def test_a_folder_in_the_place_of_a_file_is_named_and_left_where_it_is(index: Path, name: str) -> None:
    delete(index, ["d6"])
    (index / name).unlink()
    (index / name).mkdir()
    assert verify(index).damaged == [name]
    with pytest.raises(DamagedError, match=rf"{name} is a folder, where a file belongs"):
        verify(index, repair=True)
    assert (index / name).is_dir()


@pytest.mark.parametrize("value", ["NULL", "'x'", "x'00'"])
def test_a_damaged_table_of_generations_is_named(index: Path, value: str) -> None:
    with closing(sqlite3.connect(index / "documents.sqlite")) as database:
        database.execute("PRAGMA writable_schema = 1")
        database.execute("UPDATE sqlite_master SET sql = replace(sql, 'settled INTEGER NOT NULL', 'settled')")
        database.commit()
    with closing(sqlite3.connect(index / "documents.sqlite")) as database:
        database.execute(f"UPDATE state SET settled = {value}")
        database.commit()
    assert verify(index).damaged == ["documents.sqlite"]
    with pytest.raises(DamagedError, match=r"documents\.sqlite is damaged"):
        SearchEngine.open(index)


def test_repair_encodes_the_damaged_shard_alone(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = FakeEncoder()
    monkeypatch.setattr("debater_search.encoder.Encoder.load", lambda model, **_: encoder)
    flip_a_bit(index / SHARD)
    verify(index, repair=True)
    assert encoder.encoded == 3


def test_vectors_are_repaired_without_a_model(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("debater_search.encoder.Encoder.load", lambda *_, **__: pytest.fail("loaded a model"))
    truncate(index / VECTORS)
    assert verify(index, repair=True).sound


def test_vectors_of_another_type_are_repaired_as_they_were(tmp_path: Path) -> None:
    documents = [Document(f"d{i}", f"wing number {i} lifts {i % 17} of {i % 31}") for i in range(1500)]
    build(documents, FakeEncoder(), tmp_path / "i", type="binary", recall=0.8)
    content, manifest = (tmp_path / "i" / VECTORS).read_bytes(), (tmp_path / "i" / "manifest.json").read_bytes()
    (tmp_path / "i" / VECTORS).unlink()
    assert verify(tmp_path / "i", repair=True).sound
    assert (tmp_path / "i" / VECTORS).read_bytes() == content
    assert (tmp_path / "i" / "manifest.json").read_bytes() == manifest


def test_damage_to_a_document_is_not_excused_by_a_change(index: Path) -> None:
    database = index / "documents.sqlite"
    content = database.read_bytes()
    assert content.count(b"wing number 5 lifts") == 1
    database.write_bytes(content.replace(b"wing number 5 lifts", b"wing number 5 lives"))
    assert verify(index).damaged == ["documents.sqlite"]
    for change in (
        lambda: add(index, [Document("new", "a wing")], encoder=FakeEncoder()),
        lambda: add(index, [Document("d1", "wing number 1 lifts", "wings", {"year": 1})], encoder=FakeEncoder()),
        lambda: delete(index, ["d2"]),
    ):
        change()
        assert verify(index).damaged == ["documents.sqlite"]
    with pytest.raises(DamagedError, match=r"Document 'd5' .* is damaged"):
        compact(index)
    add(index, [Document("d5", "wing number 5 lifts", "wings")], encoder=FakeEncoder())  # its text from the corpus
    assert compact(index).documents == 7  # makes the lexical index anew, which still had words of the damaged text
    assert verify(index).sound


@pytest.mark.parametrize(
    "fields",
    [
        {"deleted": 8},
        {"corpus": {"documents": 9}},
        {"content": "0" * 32},
        {"vectors": {"rows": 6}},
        {"vectors": None},
    ],
)
def test_a_manifest_that_contradicts_the_index_is_named_and_nothing_is_built_on_it(index: Path, fields: dict) -> None:
    manifest = json.loads((index / "manifest.json").read_text(encoding="utf-8"))
    for name, value in fields.items():
        manifest[name] = manifest[name] | value if isinstance(value, dict) else value
    (index / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert not verify(index).sound
    if "content" not in fields:
        with pytest.raises(DamagedError, match=r"manifest\.json is damaged"):
            add(index, [Document("new", "a wing")], encoder=FakeEncoder())


def test_damage_to_the_words_of_the_lexical_index_is_found(index: Path) -> None:
    with sqlite3.connect(index / "documents.sqlite") as database:
        database.execute("DELETE FROM lexical_data WHERE id > 10")
    database.close()
    assert verify(index).damaged == ["documents.sqlite"]


@pytest.mark.parametrize(
    "damage", ["DELETE FROM fields WHERE position = 3", "UPDATE fields SET value = 3 WHERE position = 4"]
)
def test_damage_to_the_table_of_fields_is_found(index: Path, damage: str) -> None:
    with closing(sqlite3.connect(index / "documents.sqlite", isolation_level=None)) as database:
        database.execute(damage)
    assert verify(index).damaged == ["documents.sqlite"]


def test_a_change_that_is_committed_meanwhile_is_no_damage(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def after_a_change(folder: Path, manifest: IndexManifest) -> bool:
        if manifest.generation == 0:
            delete(index, ["d0"])
        return documents_are_sound(folder, manifest)

    monkeypatch.setattr("debater_search.indexing.verification.documents_are_sound", after_a_change)
    assert verify(index).sound


def test_a_database_that_sqlite_cannot_read_is_named_and_not_changed(index: Path) -> None:
    database = index / "documents.sqlite"
    with closing(sqlite3.connect(database)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'documents'").fetchone()
    content = bytearray(database.read_bytes())
    content[4096 * (page - 1) : 4096 * page] = b"\xff" * 4096
    database.write_bytes(content)
    assert verify(index).damaged == ["documents.sqlite"]
    for change in (lambda: delete(index, ["d0"]), lambda: add(index, [Document("new", "x")])):
        with pytest.raises(DamagedError, match=r"documents\.sqlite is damaged"):
            change()


def test_another_model_does_not_repair(index: Path) -> None:
    flip_a_bit(index / SHARD)
    with pytest.raises(DebaterError, match="was made by fake"):
        verify(index, repair=True, model="another")
    assert verify(index).damaged == [SHARD]


def test_damaged_documents_are_not_repaired_from_nothing(index: Path) -> None:
    flip_a_bit(index / "documents.sqlite")
    with pytest.raises(DebaterError, match="only the corpus can mend that"):
        verify(index, repair=True)


def test_an_index_of_words_alone_can_be_verified(tmp_path: Path) -> None:
    build([Document("a", "wing")], None, tmp_path / "words")
    assert verify(tmp_path / "words").files == 1


def test_the_command_says_what_is_damaged_and_mends_it(index: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(index)]) == 0
    assert "All 5 files" in capfd.readouterr().out
    flip_a_bit(index / SHARD)
    assert main(["verify", str(index)]) == 2
    shown = capfd.readouterr()
    assert SHARD in shown.err
    assert "--repair" in shown.err
    assert main(["verify", str(index), "--json"]) == 2
    assert json.loads(capfd.readouterr().out)["damaged"] == [SHARD]
    assert main(["verify", str(index), "--repair"]) == 0
    assert f"Repaired: {SHARD}." in capfd.readouterr().out


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_what_is_no_index_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DebaterError):
        verify(tmp_path / name)


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_a_damaged_document_is_never_shown_and_the_others_are(index: Path, mode: Any) -> None:
    database = index / "documents.sqlite"
    database.write_bytes(database.read_bytes().replace(b"wing number 5 lifts", b"wing number 5 lives"))
    engine = SearchEngine.open(index)
    with pytest.raises(DamagedError, match=r"Document 'd5' in .* is damaged"):
        engine.search("wing", 7, mode=mode)
    assert engine.search("number 4", 1, mode=mode, where="id != 'd5'")[0].id
