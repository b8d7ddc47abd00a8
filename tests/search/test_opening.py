"""Opening an index: which there are, what is wrong with one, and whose model made it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from debater_search.encoder import Encoder, load_again
from debater_search.errors import DebaterError, MissingError
from debater_search.identity import EncoderInfo
from debater_search.indexing import add, build
from debater_search.search import MODES, SearchEngine, latest_index, list_indexes, model
from debater_search.search.model import FEW, QueryModel
from tests.fakes import FakeEncoder, tiny_corpus

CORPUS = tiny_corpus()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("indexes") / "tiny"
    build(CORPUS, FakeEncoder(), folder, shard_size=10)
    return folder


def test_a_missing_index_lists_those_that_exist(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DebaterError, match=r"does not exist. Did you mean tiny. Indexes: .*tiny"):
        SearchEngine.open(folder.parent / "tinny")
    with pytest.raises(DebaterError, match=r"does not exist. Make one"):
        SearchEngine.open(folder.parent / "no" / "where")


def test_where_no_index_lies_beside_it_those_in_the_default_place_are_listed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path / "indexes" / "papers")
    (tmp_path / "indexes" / "papers" / "other").mkdir()
    for path in ("paper", "indexes/papers/other"):
        with pytest.raises(DebaterError, match=r"Indexes: indexes/papers\."):
            SearchEngine.open(path)


def test_a_folder_of_something_else_is_not_called_unfinished(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(DebaterError, match="is not an index"):
        SearchEngine.open(tmp_path)


@pytest.mark.parametrize("recipe", [{}, {"model": 5}, {"model": "m", "run_this": True}])
def test_a_manifest_whose_recipe_is_no_models_is_damaged(folder: Path, tmp_path: Path, recipe: dict) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    manifest = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
    manifest["encoder"]["recipe"] = recipe
    (copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(DebaterError, match=r"damaged: encoder\.recipe"):
        SearchEngine.open(copy)


def test_where_the_model_is_gone_the_way_to_name_it_is_shown(tmp_path: Path) -> None:
    build(CORPUS, FakeEncoder(str(tmp_path / "gone")), tmp_path / "i")
    with pytest.raises(DebaterError, match=r"model of the index .* cannot be loaded.*gone.*`model`"):
        SearchEngine.open(tmp_path / "i").search("wing")


def test_a_given_model_that_cannot_be_loaded_is_told_apart_from_that_of_the_index(tmp_path: Path) -> None:
    folder, info = tmp_path / "i", EncoderInfo.of(FakeEncoder())
    with pytest.raises(DebaterError, match=r"made by fake, and gone/other cannot be loaded\. .*Leave `model` out"):
        load_again(info, folder, model="gone/other")
    with pytest.raises(DebaterError, match=r"model of the index .* cannot be loaded"):
        load_again(info, folder, model="gone/fake")


@pytest.mark.parametrize("name", ["documents.sqlite", "vectors/index.faiss"])
def test_missing_and_truncated_files_are_named(folder: Path, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1])
    with pytest.raises(DebaterError, match=rf"damaged: {name} has .* bytes instead of|{name} is damaged"):
        SearchEngine.open(copy)
    (copy / name).unlink()
    with pytest.raises(DebaterError, match=f"damaged: {name} is missing"):
        SearchEngine.open(copy)


def test_an_unfinished_index_is_refused_with_the_way_out(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "manifest.json").write_text('{"schema_version": 1, "na', encoding="utf-8")
    with pytest.raises(DebaterError, match=r"damaged.*--force"):
        SearchEngine.open(copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(DebaterError, match=r"unfinished.*its `debater index` command again"):
        SearchEngine.open(copy)


def test_a_read_only_folder_is_searched_and_left_as_it_is(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy ü?#%20"))
    paths = [copy, *copy.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        before = sorted(copy.rglob("*"))
        engine = SearchEngine.open(copy, encoder=FakeEncoder())
        for mode in MODES:
            assert engine.search("number 7 unique7. title", mode=mode)[0].id == "d7"
        engine.close()
        assert sorted(copy.rglob("*")) == before
    finally:
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_the_newest_finished_index_is_found(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match="no index in"):
        latest_index(tmp_path)
    for name in ("b", "a"):
        build(CORPUS[:2], None, tmp_path / name)
    build(CORPUS[:2], FakeEncoder(), tmp_path / "unfinished", encode_only=True)
    assert latest_index(tmp_path) == tmp_path / "a"
    assert list_indexes(tmp_path) == [tmp_path / "a", tmp_path / "b"]


def test_lexical_search_needs_no_torch_and_no_faiss(folder: Path) -> None:
    script = (
        "import sys\n"
        "from debater_search.search import SearchEngine\n"
        "assert SearchEngine.open(sys.argv[1]).search('unique7', mode='lexical')[0].id == 'd7'\n"
        "print({'torch', 'transformers', 'faiss', 'pyarrow', 'mteb'} & set(sys.modules))\n"
    )
    root = str(Path(__file__).parents[2])
    answer = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == "set()"


def test_one_query_of_the_default_model_needs_no_torch(tmp_path: Path) -> None:
    encoder = Encoder.load("debater-small", device="cpu")
    folder = build(CORPUS[:5], encoder, tmp_path / "i").folder
    script = (
        "import json, sys\n"
        "from debater_search.search import SearchEngine\n"
        "engine = SearchEngine.open(sys.argv[1])\n"
        "engine.warm_up(queries=1)\n"
        "hits = engine.search('number 3 unique3', 5)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)\n"
        "print(json.dumps({hit.id: hit.score for hit in hits}))\n"
    )
    root = str(Path(__file__).parents[2])
    answer = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    hits = SearchEngine.open(folder, encoder=encoder).search("number 3 unique3", 5)
    assert json.loads(answer.stdout) == pytest.approx({hit.id: hit.score for hit in hits}, abs=2e-6)


def test_many_queries_and_a_process_with_torch_take_the_whole_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    light, whole = FakeEncoder(), FakeEncoder()
    monkeypatch.setattr("debater_search.encoder.light.load_light", lambda info: light)
    monkeypatch.setattr(model, "load_again", lambda *_, **__: whole)
    snapshot = SearchEngine.open(folder)._snapshot
    assert "torch" in sys.modules
    assert QueryModel().for_queries(snapshot, 1) is whole
    monkeypatch.setattr(model, "sys", SimpleNamespace(modules={}))
    assert QueryModel().for_queries(snapshot, FEW) is light
    assert QueryModel().for_queries(snapshot, FEW + 1) is QueryModel().for_queries(snapshot, None) is whole
    assert QueryModel(given := FakeEncoder()).for_queries(snapshot, 1) is given
    monkeypatch.setattr(model, "follows_torch", lambda: True)
    assert QueryModel().for_queries(snapshot, 1) is whole
    monkeypatch.setattr(model, "follows_torch", lambda: False)
    monkeypatch.setattr("debater_search.encoder.light.load_light", lambda info: None)
    assert QueryModel().for_queries(snapshot, 1) is whole


def test_another_encoder_is_refused_naming_both(folder: Path) -> None:
    with pytest.raises(DebaterError, match=r"made by fake \(fingerprint .*not by other \(fingerprint"):
        SearchEngine.open(folder, encoder=FakeEncoder("other"))


def test_the_index_loads_its_own_encoder_and_refuses_a_changed_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import debater_search.encoder

    class Loader:
        made = FakeEncoder("fake")

        @classmethod
        def load(cls, model: str) -> FakeEncoder:
            assert model == "fake"
            return cls.made

    monkeypatch.setattr(debater_search.encoder, "Encoder", Loader)
    assert SearchEngine.open(folder).search("number 7 unique7. title", 1)[0].id == "d7"
    Loader.made = FakeEncoder("fake", thinking_steps=2)
    engine = SearchEngine.open(folder)
    with pytest.raises(DebaterError, match="made by fake"):
        engine.search("wing")
    assert engine.search("unique7", 1, mode="lexical")[0].id == "d7"


def test_an_index_of_a_model_that_no_longer_comes_along_says_what_to_do_and_is_searched_by_words(
    tmp_path: Path,
) -> None:
    engine = SearchEngine.open(build(CORPUS[:3], FakeEncoder("debater-mini"), tmp_path / "i").folder)
    with pytest.raises(DebaterError, match="debater-mini was a model of an earlier version") as caught:
        engine.search("wing")
    assert caught.value.hint.startswith("Index the corpus again, or install the version")
    with pytest.raises(DebaterError, match="debater-mini was a model of an earlier version"):
        add(tmp_path / "i", CORPUS[3:])
    assert engine.search("unique2", 1, mode="lexical")[0].id == "d2"


def test_an_index_in_the_default_place_is_opened_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes").mkdir()  # such as the folder that was indexed
    build(["A wing."], None, "indexes/notes")
    assert SearchEngine.open("notes").folder == Path("indexes/notes")
    with pytest.raises(MissingError) as raised:
        SearchEngine.open("nots")
    assert raised.value.hint == "Did you mean notes? Indexes: indexes/notes."
    build(["A wing."], None, "notes")
    assert SearchEngine.open("notes").folder == Path("notes")
