"""How a FAISS index searches: widening, scanning, looking past dropped vectors; and its files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from debater_search.errors import DamagedError, UnavailableError
from debater_search.vectors import VectorSettings, backend
from debater_search.vectors.faiss import index as module
from debater_search.vectors.faiss import segments
from debater_search.vectors.faiss.index import FaissIndex
from debater_search.vectors.faiss.library import import_faiss
from debater_search.vectors.faiss.state import FaissState
from tests.vectors.vector_sets import ALL_TYPES, DIM, all_but, built, clustered, exact, only, share_found, vectors

Make = Callable[[np.ndarray], FaissIndex]


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
    monkeypatch.setattr(module, "EXACT_UP_TO", 0)


@pytest.mark.parametrize("type", ALL_TYPES)
def test_where_lists_or_graph_give_out_the_rest_is_scanned(
    type: str, tmp_path: Path, filters_are_never_scanned: None
) -> None:
    index, _ = built(clustered(1500), type, tmp_path / "i")
    index.configure(breadth=1)
    assert (index.search(vectors(20, seed=1), 140)[1] >= 0).all()
    few = np.arange(0, 1500, 10)
    found = index.search(vectors(20, seed=1), 14, only(few))[1]
    assert set(found.ravel().tolist()) <= set(few.tolist())
    found = index.search(vectors(20, seed=1), 140, all_but(few))[1]
    assert (found >= 0).all()
    assert not np.isin(found, few).any()


def test_an_empty_index_gives_empty_answers_and_grows_by_add() -> None:
    index, rows, queries = FaissIndex(DIM), vectors(200), vectors(30, seed=1)
    assert index.search(queries, 3)[0].shape == (30, 0)
    index.add(rows[:120])
    index.add(rows[120:])
    np.testing.assert_array_equal(index.search(queries, 7)[1], exact(queries, rows, 7))


@pytest.mark.parametrize("queries", [1, 40])
def test_ties_are_in_the_order_of_positions_also_at_the_cut(queries: int) -> None:
    index, one = FaissIndex(DIM), vectors(1)
    index.add(np.concatenate([-one, np.repeat(one, 50, axis=0), vectors(20, seed=3)]))
    for k in (1, 10, 50):
        assert index.search(np.repeat(one, queries, axis=0), k)[1].tolist() == [list(range(1, k + 1))] * queries


def test_a_wide_filter_finds_no_less_than_no_filter(make: Make, filters_are_never_scanned: None) -> None:
    rows, queries = clustered(3000), clustered(200, seed=1)
    index = make(rows)
    unfiltered = share_found(index.search(queries, 10)[1], exact(queries, rows, 10))
    for share in (2, 10):
        allowed = np.sort(np.random.default_rng(5).permutation(3000)[: 3000 // share])
        others = np.setdiff1d(np.arange(3000), allowed)
        for within in (only(allowed), all_but(others)):
            found = index.search(queries, 10, within)[1]
            assert set(found.ravel().tolist()) <= set(allowed.tolist())
            assert share_found(found, allowed[exact(queries, rows[allowed], 10)]) >= unfiltered - 0.005


def test_exact_scans_whatever_the_type_and_the_filter(make: Make, filters_are_never_scanned: None) -> None:
    rows, queries = clustered(3000), clustered(200, seed=1)
    index, allowed = make(rows), np.arange(0, 3000, 2)
    index.configure(breadth=1)
    np.testing.assert_array_equal(index.search(queries, 10, exact=True)[1], exact(queries, rows, 10))
    found = index.search(queries, 10, only(allowed), exact=True)[1]
    np.testing.assert_array_equal(found, allowed[exact(queries, rows[allowed], 10)])


@pytest.mark.parametrize("type", ["flat", "hnsw", "ivf", "sq8"])
def test_few_dropped_vectors_are_looked_past_without_a_selector(
    type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, queries = clustered(3000), clustered(50, seed=1)
    built(rows, type, tmp_path / "i")
    nearest = np.unique(exact(queries, rows, 25))  # the very hits that would have come
    index = FaissIndex.load(tmp_path / "i", nearest)
    faiss = import_faiss()
    for selector in ("IDSelectorArray", "IDSelectorBitmap"):
        monkeypatch.setattr(faiss, selector, lambda *_: pytest.fail("a selector slows every comparison down"))
    left = np.setdiff1d(np.arange(3000), nearest)
    found = index.search(queries, 10)[1]
    assert not np.isin(found, nearest).any()
    assert share_found(found, left[exact(queries, rows[left], 10)]) > 0.9


def test_where_most_are_dropped_a_selector_keeps_the_search_narrow(tmp_path: Path) -> None:
    rows, queries = clustered(3000), clustered(50, seed=1)
    built(rows, "ivf", tmp_path / "i")
    left = np.arange(0, 3000, 20)
    index = FaissIndex.load(tmp_path / "i", np.setdiff1d(np.arange(3000), left))
    assert len(index) == 150
    np.testing.assert_array_equal(index.search(queries, 10)[1], left[exact(queries, rows[left], 10)])


def test_a_saved_index_answers_alike_with_the_same_parameters(make: Make, tmp_path: Path) -> None:
    index = make(clustered(3000))
    index.save(tmp_path / "ü.faiss")
    loaded = FaissIndex.load(tmp_path / "ü.faiss")
    assert len(loaded) == 3000
    assert loaded.parameters == index.parameters
    for before, after in zip(index.search(vectors(3, 1), 9), loaded.search(vectors(3, 1), 9), strict=True):
        np.testing.assert_array_equal(before, after)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    with pytest.raises(DamagedError, match=r"index\.faiss is missing"):
        FaissIndex.load(path)
    path.write_bytes(b"no index at all")
    with pytest.raises(DamagedError, match=r"index\.faiss is damaged"):
        FaissIndex.load(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_is_a_sentence() -> None:
    index = FaissIndex(DIM)
    index.add(vectors(1000))
    with pytest.raises(UnavailableError, match="cannot be written"):
        index.save(Path("/dev/full"))


# The backend's files


@pytest.mark.parametrize("joined", [0, 100, 10_000])
def test_a_change_costs_what_it_adds_and_segments_stay_few(
    joined: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "_SMALL", joined)
    faiss = backend("faiss")
    record = faiss.build(tmp_path, [vectors(2000)], DIM, VectorSettings("flat"), 0)
    written = []
    for generation in range(1, 201):
        before = record
        record = faiss.extend(tmp_path, record, [vectors(1, seed=generation)], generation)
        record = faiss.drop(tmp_path, record, np.array([5 * generation]), generation)
        written.append(sum(info.bytes for name, info in record.files.items() if name not in before.files))
    state = FaissState.of(record)
    assert sum(part.rows for part in state.segments) == sum(part.rows for part in state.dropped) == 200
    assert len(state.segments) <= 8
    assert len(state.dropped) <= 8
    assert sum(written) < 200 * 8 * (4 * DIM + 8) + 200 * 300  # each row is written at most log2 times, and headers
    rows = np.concatenate([vectors(2000), *(vectors(1, seed=generation) for generation in range(1, 201))])
    queries = vectors(30, seed=999)
    live = np.setdiff1d(np.arange(2200), 5 * np.arange(1, 201))
    np.testing.assert_array_equal(
        faiss.open(tmp_path, record).search(queries, 10)[1], live[exact(queries, rows[live], 10)]
    )


def test_a_drop_outside_the_index_is_refused_and_one_of_nothing_writes_nothing(tmp_path: Path) -> None:
    faiss = backend("faiss")
    record = faiss.build(tmp_path, [vectors(20)], DIM, VectorSettings("flat"), 0)
    with pytest.raises(ValueError, match="from 0 to 19"):
        faiss.drop(tmp_path, record, np.array([20]), 1)
    record = faiss.drop(tmp_path, record, np.array([3]), 1)
    assert faiss.drop(tmp_path, record, np.array([3]), 2) == record
    assert faiss.extend(tmp_path, record, [], 2) == record


@pytest.mark.parametrize(
    "state", [{}, {"base": "../elsewhere"}, {"segments": [{"file": "delta-1/index.faiss", "rows": -1}]}, {"recall": 5}]
)
def test_a_record_that_is_not_one_of_faiss_is_refused(state: dict, tmp_path: Path) -> None:
    faiss = backend("faiss")
    record = faiss.build(tmp_path, [vectors(20)], DIM, VectorSettings("flat"), 0)
    broken = record.model_copy(update={"state": {**record.state, **state} if state else {}})
    with pytest.raises(DamagedError, match=r"vectors\.state"):
        faiss.open(tmp_path, broken)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        np.arange(3).tobytes(),
        b"\x93NUMPY\x01\x00\x04\x00{'a\n",
        b"\x93NUMPY\x01\x00\x02\x00(\n",
    ],
)
def test_dropped_positions_that_cannot_be_read_are_damage(content: bytes, tmp_path: Path) -> None:
    faiss = backend("faiss")
    record = faiss.build(tmp_path, [vectors(20)], DIM, VectorSettings("flat"), 0)
    record = faiss.drop(tmp_path, record, np.array([3]), 1)
    (tmp_path / "delta-1" / "dropped.npy").write_bytes(content)
    with pytest.raises(DamagedError, match=r"dropped\.npy is damaged"):
        faiss.open(tmp_path, record)


def test_a_record_of_another_number_of_rows_is_damage(tmp_path: Path) -> None:
    faiss = backend("faiss")
    record = faiss.build(tmp_path, [vectors(20)], DIM, VectorSettings("flat"), 0)
    with pytest.raises(DamagedError, match="holds 20 vectors of 16 dimensions instead of 21"):
        faiss.open(tmp_path, record.model_copy(update={"rows": 21}))
