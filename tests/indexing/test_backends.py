"""Another vector backend than FAISS keeps the vectors of a whole index, from build to repair."""

from pathlib import Path

import numpy as np
import pytest

from debater_search.errors import DebaterError
from debater_search.indexing import add, build, compact, delete, update, verify
from debater_search.search import SearchEngine
from debater_search.store.folders import open_manifest
from debater_search.vectors import BACKENDS
from tests.fakes import FakeEncoder, tiny_corpus
from tests.indexing.changed_index import FLUTTER, QUERIES, changed, opened
from tests.vectors.numpy_backend import NumpyBackend

CORPUS = tiny_corpus()


@pytest.fixture(autouse=True)
def numpy_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "numpy", NumpyBackend)


def same_answers(folder: Path, other: Path) -> None:
    ours, theirs = opened(folder), opened(other)
    for where in (None, "year >= 5 and year != 12"):
        for k in (3, 10**6):
            for query, ranking in theirs.search_batch(QUERIES, k, where=where).items():
                found = ours.search_batch(QUERIES, k, where=where)[query]
                assert list(found) == list(ranking)
                assert list(found.values()) == pytest.approx(list(ranking.values()), abs=1e-5)
    scores = [[hit.score for hit in engine.more_like("d7", 5)] for engine in (ours, theirs)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


@pytest.mark.parametrize("passages", [None, 24])
def test_a_whole_index_lives_on_another_backend(tmp_path: Path, passages: int | None) -> None:
    folders = {}
    for name in ("numpy", "faiss"):
        folder = folders[name] = tmp_path / name
        build(CORPUS, FakeEncoder(), folder, backend=name, shard_size=10, passages=passages, overlap=2)
        assert open_manifest(folder).vectors.backend == name
    both = list(folders.values())
    same_answers(*both)
    for change in (
        lambda folder: add(folder, [FLUTTER, changed("d7")], encoder=FakeEncoder()),
        lambda folder: delete(folder, ["d3", "d4"]),
        lambda folder: update(folder, [*CORPUS[:20], FLUTTER], encoder=FakeEncoder()),
        compact,
        lambda folder: add(folder, [changed("n2")], encoder=FakeEncoder()),
    ):
        for folder in both:
            change(folder)
            assert verify(folder).sound
        same_answers(*both)
    manifest = open_manifest(folders["numpy"])
    assert not (folders["numpy"] / "vectors").exists()
    assert all((folders["numpy"] / name).exists() for name in manifest.vectors.files)


def test_damage_to_its_files_is_found_and_repaired(tmp_path: Path) -> None:
    folder = build(CORPUS, FakeEncoder(), tmp_path / "i", backend="numpy").folder
    add(folder, [FLUTTER], encoder=FakeEncoder())
    delete(folder, ["d0"])
    before = opened(folder).search_batch(QUERIES, 100)
    (name,) = [name for name in open_manifest(folder).vectors.files if name.startswith("delta-0")]
    np.save(folder / name, np.zeros((len(CORPUS), FakeEncoder().dim), np.float32))
    assert verify(folder).damaged == [name]
    assert verify(folder, repair=True).sound
    assert opened(folder).search_batch(QUERIES, 100) == before


def test_what_a_backend_kept_elsewhere_goes_with_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed = []
    monkeypatch.setattr(NumpyBackend, "remove", lambda self, folder, record: removed.append(record))
    folder = build(CORPUS, FakeEncoder(), tmp_path / "i", backend="numpy").folder
    delete(folder, ["d0"])
    first = open_manifest(folder).vectors
    reader = opened(folder)
    compact(folder)
    assert removed == []  # readers may still open what was
    assert "d0" not in reader.search_batch(["wing"], 100)["0"]
    delete(folder, ["d1"])
    assert removed == [first]
    last = open_manifest(folder).vectors
    build(CORPUS[:3], FakeEncoder(), folder, backend="numpy", force=True)
    assert removed == [first, last]


def test_an_unknown_backend_is_refused_before_anything_is_encoded(tmp_path: Path) -> None:
    encoder = FakeEncoder()
    with pytest.raises(DebaterError, match="no vector backend 'nowhere'"):
        build(CORPUS, encoder, tmp_path / "i", backend="nowhere")
    assert encoder.encoded == 0
    assert not (tmp_path / "i").exists()


def test_an_index_whose_backend_is_not_there_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(CORPUS, FakeEncoder(), tmp_path / "i", backend="numpy")
    monkeypatch.delitem(BACKENDS, "numpy")
    with pytest.raises(DebaterError, match="no vector backend 'numpy'"):
        SearchEngine.open(tmp_path / "i", encoder=FakeEncoder()).search("wing")
