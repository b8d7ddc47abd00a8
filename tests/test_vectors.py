"""The contract of VectorIndex, for every type there is, and the ways FAISS can be missing."""

import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from debater_search.errors import DebaterError
from debater_search.vectors import TYPES, FaissIndex, VectorIndex
from debater_search.vectors.faiss import import_faiss

DIM = 16
Make = Callable[[], VectorIndex]


@pytest.fixture(params=sorted(TYPES))
def make(request: pytest.FixtureRequest) -> Make:
    return lambda: FaissIndex(DIM, request.param)


def vectors(n: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_search_gives_the_best_inner_products(make: Make) -> None:
    index, documents, queries = make(), vectors(200), vectors(30, seed=1)
    index.add(documents[:120])
    index.add(documents[120:])
    scores, positions = index.search(queries, 7)
    exact = queries @ documents.T
    assert len(index) == 200
    np.testing.assert_array_equal(positions, np.argsort(-exact, axis=1, kind="stable")[:, :7])
    np.testing.assert_allclose(scores, -np.sort(-exact, axis=1)[:, :7], atol=1e-5)


@pytest.mark.parametrize("k", [5, 6, 1000])
def test_k_beyond_the_index_returns_everything(make: Make, k: int) -> None:
    index = make()
    index.add(vectors(5))
    _, positions = index.search(vectors(2, seed=1), k)
    assert [sorted(row) for row in positions.tolist()] == [[0, 1, 2, 3, 4]] * 2


def test_an_empty_index_and_no_queries_give_empty_answers(make: Make) -> None:
    index = make()
    assert index.search(vectors(2), 3)[0].shape == (2, 0)
    index.add(vectors(5))
    assert index.search(vectors(0), 3)[1].shape == (0, 3)


@pytest.mark.parametrize("queries", [1, 40])
@pytest.mark.parametrize("k", [1, 7, 60])
def test_many_ties_are_ranked_as_a_stable_sort_does(make: Make, queries: int, k: int) -> None:
    random = np.random.default_rng(0)
    documents, asked = (random.integers(-1, 2, (n, DIM)).astype(np.float32) for n in (300, queries))
    index = make()
    index.add(documents)
    exact = np.argsort(-(asked @ documents.T), axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(index.search(asked, k)[1], exact)


@pytest.mark.parametrize("queries", [1, 40])
def test_ties_are_in_the_order_of_positions_also_at_the_cut(make: Make, queries: int) -> None:
    index, one = make(), vectors(1)
    index.add(np.concatenate([-one, np.repeat(one, 50, axis=0), vectors(20, seed=3)]))
    for k in (1, 10, 50):
        assert index.search(np.repeat(one, queries, axis=0), k)[1].tolist() == [list(range(1, k + 1))] * queries


@pytest.mark.parametrize("queries", [1, 40])
@pytest.mark.parametrize("k", [1, 7, 60, 1000])
@pytest.mark.parametrize("step", [1, 3, 150, 299])
def test_only_allowed_vectors_are_found_exactly_ties_by_position(make: Make, queries: int, k: int, step: int) -> None:
    random = np.random.default_rng(0)
    documents, asked = (random.integers(-1, 2, (n, DIM)).astype(np.float32) for n in (300, queries))
    allowed = random.permutation(300)[::step]
    index = make()
    index.add(documents)
    order = np.argsort(-(asked @ documents[np.sort(allowed)].T), axis=1, kind="stable")[:, :k]
    scores, positions = index.search(asked, k, allowed=allowed)
    np.testing.assert_array_equal(positions, np.sort(allowed)[order])
    np.testing.assert_array_equal(scores, np.take_along_axis(asked @ documents.T, positions, axis=1))


def test_where_nothing_is_allowed_nothing_is_found(make: Make) -> None:
    index = make()
    index.add(vectors(5))
    scores, positions = index.search(vectors(2), 3, allowed=np.array([], np.int64))
    assert scores.shape == positions.shape == (2, 0)


def test_a_saved_index_answers_alike(make: Make, tmp_path: Path) -> None:
    index = make()
    index.add(vectors(50))
    index.save(tmp_path / "ü.faiss")
    loaded = type(index).load(tmp_path / "ü.faiss")
    assert len(loaded) == 50
    for before, after in zip(index.search(vectors(3, 1), 9), loaded.search(vectors(3, 1), 9), strict=True):
        np.testing.assert_array_equal(before, after)
    few = np.array([41, 3])
    assert sorted(loaded.search(vectors(1, 1), 9, allowed=few)[1][0].tolist()) == [3, 41]


def test_missing_and_damaged_files_are_named(make: Make, tmp_path: Path) -> None:
    index, path = make(), tmp_path / "index.faiss"
    with pytest.raises(DebaterError, match=r"index\.faiss is missing"):
        type(index).load(path)
    path.write_bytes(b"no index at all")
    with pytest.raises(DebaterError, match=r"index\.faiss is damaged"):
        type(index).load(path)


def test_an_unknown_type_names_those_that_exist() -> None:
    with pytest.raises(DebaterError, match=r"no index type 'hsnw'. Types: flat"):
        FaissIndex(DIM, "hsnw")


def test_without_faiss_the_exact_install_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(DebaterError, match=r'pip install "debater-search\[cpu\]"'):
        import_faiss()


def test_both_faiss_wheels_are_refused_and_one_is_named_for_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.distribution
    pretend = {"faiss-cpu", "faiss-gpu"}
    monkeypatch.setattr(
        "debater_search.vectors.faiss.distribution", lambda name: None if name in pretend else real(name)
    )
    with pytest.raises(DebaterError, match=r"faiss-cpu and faiss-gpu are both installed.*pip uninstall faiss-cpu"):
        import_faiss()
    pretend.remove("faiss-cpu")
    monkeypatch.setattr("debater_search.vectors.faiss.import_module", lambda name: name)
    monkeypatch.setattr("debater_search.vectors.faiss._installed", lambda wheel: wheel in pretend)
    assert import_faiss() == "faiss"
