"""The contract of VectorIndex, for every type there is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from debater_search.errors import DebaterError
from debater_search.vectors import TYPES, FaissIndex, VectorIndex
from debater_search.vectors import faiss as backend
from tests.vectors.vector_sets import ALL_TYPES, DIM, built, clustered, exact, share_found, vectors, whole_numbers

Make = Callable[[np.ndarray], VectorIndex]


@pytest.fixture(scope="module", params=ALL_TYPES)
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Gives the index of some vectors, always the same one for the same."""
    made: dict[bytes, FaissIndex] = {}

    def of(rows: np.ndarray) -> FaissIndex:
        if rows.tobytes() not in made:
            made[rows.tobytes()] = built(rows, request.param, tmp_path_factory.mktemp("index") / "index.faiss")[0]
        return made[rows.tobytes()]

    return of


@pytest.fixture
def filters_are_never_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "EXACT_UP_TO", 0)


def test_the_best_inner_products_are_found_with_their_exact_scores(make: Make) -> None:
    rows, queries = clustered(3000), clustered(100, seed=1)
    index = make(rows)
    scores, positions = index.search(queries, 10)
    assert len(index) == 3000
    assert share_found(positions, exact(queries, rows, 10)) > 0.9
    np.testing.assert_allclose(scores, np.take_along_axis(queries @ rows.T, positions, axis=1), atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert all(len(set(row)) == 10 for row in positions.tolist())


@pytest.mark.parametrize("k", [5, 6, 1000])
@pytest.mark.parametrize("type", TYPES)
def test_k_beyond_a_tiny_index_returns_everything(type: str, k: int, tmp_path: Path) -> None:
    index, _ = built(vectors(5), type, tmp_path / "i")
    _, positions = index.search(vectors(2, seed=1), k)
    assert [sorted(row) for row in positions.tolist()] == [[0, 1, 2, 3, 4]] * 2


def test_k_beyond_the_index_returns_everything(make: Make) -> None:
    index = make(clustered(3000))
    for k in (3000, 10_000):
        _, positions = index.search(vectors(2, seed=1), k)
        assert [sorted(row) for row in positions.tolist()] == [list(range(3000))] * 2


@pytest.mark.parametrize("type", ALL_TYPES)
def test_where_lists_or_graph_give_out_the_rest_is_scanned(
    type: str, tmp_path: Path, filters_are_never_scanned: None
) -> None:
    index, _ = built(clustered(1500), type, tmp_path / "i")
    index.configure(breadth=1)
    assert (index.search(vectors(20, seed=1), 140)[1] >= 0).all()
    few = np.arange(0, 1500, 10)
    found = index.search(vectors(20, seed=1), 14, allowed=few)[1]
    assert set(found.ravel().tolist()) <= set(few.tolist())


def test_no_queries_give_empty_answers(make: Make) -> None:
    index = make(vectors(300))
    assert [part.shape for part in index.search(vectors(0), 3)] == [(0, 3)] * 2


def test_an_empty_index_gives_empty_answers_and_grows_by_add() -> None:
    index, rows, queries = FaissIndex(DIM), vectors(200), vectors(30, seed=1)
    assert index.search(queries, 3)[0].shape == (30, 0)
    index.add(rows[:120])
    index.add(rows[120:])
    np.testing.assert_array_equal(index.search(queries, 7)[1], exact(queries, rows, 7))


@pytest.mark.parametrize("queries", [1, 40])
@pytest.mark.parametrize("k", [1, 7, 60])
def test_many_ties_are_ranked_as_a_stable_sort_does(make: Make, queries: int, k: int) -> None:
    rows, asked = whole_numbers(300), whole_numbers(queries, seed=1)
    index = make(rows)
    scores, positions = index.search(asked, k)
    if k == 60 or (isinstance(index, FaissIndex) and index.exact):  # 10 k ≥ n is scanned by every type
        np.testing.assert_array_equal(positions, exact(asked, rows, k))
    tied = np.diff(scores, axis=1) == 0
    assert (np.diff(positions, axis=1)[tied] > 0).all()


@pytest.mark.parametrize("queries", [1, 40])
def test_ties_are_in_the_order_of_positions_also_at_the_cut(queries: int) -> None:
    index, one = FaissIndex(DIM), vectors(1)
    index.add(np.concatenate([-one, np.repeat(one, 50, axis=0), vectors(20, seed=3)]))
    for k in (1, 10, 50):
        assert index.search(np.repeat(one, queries, axis=0), k)[1].tolist() == [list(range(1, k + 1))] * queries


@pytest.mark.parametrize("queries", [1, 40])
@pytest.mark.parametrize("step", [1, 3, 150, 299])
def test_only_allowed_vectors_are_found_exactly_ties_by_position(make: Make, queries: int, step: int) -> None:
    rows, asked = whole_numbers(300), whole_numbers(queries, seed=1)
    allowed = np.random.default_rng(0).permutation(300)[::step]
    index = make(rows)
    for k in (1, 7, 60, 1000):
        scores, positions = index.search(asked, k, allowed=allowed)
        np.testing.assert_array_equal(positions, np.sort(allowed)[exact(asked, rows[np.sort(allowed)], k)])
        np.testing.assert_array_equal(scores, np.take_along_axis(asked @ rows.T, positions, axis=1))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), type=st.sampled_from(list(TYPES)), n=st.integers(1, 400), k=st.integers(1, 500))
def test_any_filter_of_any_type_of_any_size_is_exact(
    tmp_path: Path, data: st.DataObject, type: str, n: int, k: int
) -> None:
    rows, asked = whole_numbers(n), whole_numbers(3, seed=1)
    allowed = np.array(sorted(data.draw(st.sets(st.integers(0, n - 1)))), np.int64)
    index, _ = built(rows, type, tmp_path / "i")
    positions = index.search(asked, k, allowed=allowed)[1]
    np.testing.assert_array_equal(positions, allowed[exact(asked, rows[allowed], k)])


def test_where_nothing_is_allowed_nothing_is_found(make: Make) -> None:
    scores, positions = make(vectors(300)).search(vectors(2), 3, allowed=np.array([], np.int64))
    assert scores.shape == positions.shape == (2, 0)


def test_a_wide_filter_finds_no_less_than_no_filter(make: Make, filters_are_never_scanned: None) -> None:
    rows, queries = clustered(3000), clustered(200, seed=1)
    index = make(rows)
    unfiltered = share_found(index.search(queries, 10)[1], exact(queries, rows, 10))
    for share in (2, 10):
        allowed = np.random.default_rng(5).permutation(3000)[: 3000 // share]
        found = index.search(queries, 10, allowed=allowed)[1]
        assert set(found.ravel().tolist()) <= set(allowed.tolist())
        assert share_found(found, allowed[exact(queries, rows[allowed], 10)]) >= unfiltered - 0.005


def test_a_saved_index_answers_alike_with_the_same_parameters(make: Make, tmp_path: Path) -> None:
    index = make(clustered(3000))
    assert isinstance(index, FaissIndex)
    index.save(tmp_path / "ü.faiss")
    loaded = type(index).load(tmp_path / "ü.faiss")
    assert len(loaded) == 3000
    assert loaded.parameters == index.parameters
    for before, after in zip(index.search(vectors(3, 1), 9), loaded.search(vectors(3, 1), 9), strict=True):
        np.testing.assert_array_equal(before, after)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    with pytest.raises(DebaterError, match=r"index\.faiss is missing"):
        FaissIndex.load(path)
    path.write_bytes(b"no index at all")
    with pytest.raises(DebaterError, match=r"index\.faiss is damaged"):
        FaissIndex.load(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_is_a_sentence() -> None:
    index = FaissIndex(DIM)
    index.add(vectors(1000))
    with pytest.raises(DebaterError, match="cannot be written"):
        index.save(Path("/dev/full"))
