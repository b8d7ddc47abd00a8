"""What every vector backend does, whatever keeps the vectors: one test suite for all of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from debater_search.errors import DamagedError, DebaterError, MissingError
from debater_search.store.manifest import VectorRecord
from debater_search.vectors import VectorBackend, VectorIndex, VectorSettings, backend
from debater_search.vectors.faiss import TYPES
from tests.vectors.numpy_backend import NumpyBackend
from tests.vectors.vector_sets import (
    ALL_TYPES,
    DIM,
    all_but,
    clustered,
    exact,
    only,
    share_found,
    vectors,
    whole_numbers,
)


@dataclass
class Kept:
    """An index in a folder that changes, and what it must hold: all vectors that were given, and which are live."""

    keeper: VectorBackend
    folder: Path
    type: str
    record: VectorRecord = field(init=False)
    rows: np.ndarray = field(init=False)
    live: np.ndarray = field(init=False)
    generation: int = 0

    @property
    def uri(self) -> str | None:
        return str(self.folder.parent / "milvus.db") if self.type.startswith("milvus") else None

    def build(self, rows: np.ndarray) -> "Kept":
        self.folder.mkdir(exist_ok=True)
        type = self.type.removeprefix("milvus-")
        settings = VectorSettings(type, uri=self.uri)
        self.record = self.keeper.build(self.folder, pieces(rows), DIM, settings, self.generation)
        self.rows, self.live = rows, np.arange(len(rows))
        return self

    def extend(self, rows: np.ndarray) -> "Kept":
        self.generation += 1
        self.record = self.keeper.extend(self.folder, self.record, pieces(rows), self.generation)
        self.live = np.append(self.live, np.arange(len(self.rows), len(self.rows) + len(rows)))
        self.rows = np.concatenate([self.rows, rows])
        return self

    def drop(self, positions: np.ndarray) -> "Kept":
        self.generation += 1
        self.record = self.keeper.drop(self.folder, self.record, positions, self.generation)
        self.live = np.setdiff1d(self.live, positions)
        return self

    def open(self) -> VectorIndex:
        again = VectorRecord.model_validate_json(self.record.model_dump_json())  # as a manifest keeps it
        return self.keeper.open(self.folder, again)

    def exact(self, queries: np.ndarray, k: int, among: np.ndarray | None = None) -> np.ndarray:
        live = self.live if among is None else np.intersect1d(self.live, among)
        return live[exact(queries, self.rows[live], k)]

    @property
    def is_exact(self) -> bool:
        return self.type in ("flat", "numpy", "milvus-flat")


def pieces(rows: np.ndarray) -> Iterable[np.ndarray]:
    return np.array_split(rows, 3)


def keeper_of(type: str) -> VectorBackend:
    return NumpyBackend() if type == "numpy" else backend("milvus" if type.startswith("milvus") else "faiss")


@pytest.fixture(params=["numpy", "milvus-flat", pytest.param("milvus-hnsw", marks=pytest.mark.slow), *ALL_TYPES])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    return Kept(keeper_of(request.param), tmp_path / "i", request.param)


def test_the_best_inner_products_are_found_with_their_scores(kept: Kept) -> None:
    queries = clustered(60, seed=1)
    index = kept.build(clustered(3000)).open()
    scores, positions = index.search(queries, 10)
    assert len(index) == 3000
    assert (scores.dtype, positions.dtype) == (np.float32, np.int64)
    assert share_found(positions, kept.exact(queries, 10)) > 0.9
    np.testing.assert_allclose(scores, np.take_along_axis(queries @ kept.rows.T, positions, axis=1), atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert all(len(set(row)) == 10 for row in positions.tolist())
    np.testing.assert_array_equal(index.search(queries, 10, exact=True)[1], kept.exact(queries, 10))


def test_added_vectors_follow_and_dropped_ones_never_come_back(kept: Kept) -> None:
    queries = clustered(40, seed=1)
    kept.build(clustered(2000))
    kept.extend(clustered(300, seed=2)).drop(np.arange(0, 2300, 7)).extend(clustered(5, seed=3)).drop(np.array([2301]))
    index = kept.open()
    assert len(index) == len(kept.live) == kept.record.rows - kept.record.dropped
    assert (kept.record.rows, kept.record.added) == (2305, 305)
    _, positions = index.search(queries, 10)
    assert share_found(positions, kept.exact(queries, 10)) > 0.9
    assert set(positions.ravel().tolist()) <= set(kept.live.tolist())
    np.testing.assert_array_equal(index.search(queries, 10, exact=True)[1], kept.exact(queries, 10))
    for k in (len(kept.live), 10**6):
        assert [sorted(row) for row in index.search(queries[:2], k)[1].tolist()] == [kept.live.tolist()] * 2


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("type", ["numpy", *TYPES])
def test_k_beyond_a_tiny_index_returns_everything(type: str, n: int, tmp_path: Path) -> None:
    index = Kept(keeper_of(type), tmp_path / "i", type).build(vectors(n)).open()
    for k in (n, n + 1, 1000):
        assert [sorted(row) for row in index.search(vectors(2, seed=1), k)[1].tolist()] == [list(range(n))] * 2


def test_no_queries_and_no_vectors_give_empty_answers(kept: Kept) -> None:
    index = kept.build(vectors(300)).open()
    assert [part.shape for part in index.search(vectors(0), 3)] == [(0, 3)] * 2
    assert [part.shape for part in index.search(vectors(2), 3, only(np.array([])))] == [(2, 0)] * 2
    assert [part.shape for part in index.search(vectors(2), 3, all_but(np.arange(300)))] == [(2, 0)] * 2
    nothing = kept.drop(np.arange(300)).open()
    assert len(nothing) == 0
    assert [part.shape for part in nothing.search(vectors(2), 3)] == [(2, 0)] * 2


@pytest.mark.parametrize("queries", [1, 40])
def test_ties_are_in_the_order_of_positions_also_across_the_parts_of_an_index(kept: Kept, queries: int) -> None:
    asked = whole_numbers(queries, seed=1)
    kept.build(whole_numbers(260)).extend(whole_numbers(40)).drop(np.arange(0, 300, 9))
    index = kept.open()
    for k in (1, 7, 60):
        scores, positions = index.search(asked, k)
        if kept.is_exact or (k == 60 and not kept.keeper.remote):  # FAISS's types scan a small share of vectors
            np.testing.assert_array_equal(positions, kept.exact(asked, k))
        tied = np.diff(scores, axis=1) == 0
        assert (np.diff(positions, axis=1)[tied] > 0).all()
        np.testing.assert_array_equal(index.search(asked, k, exact=True)[1], kept.exact(asked, k))


@pytest.mark.parametrize("step", [1, 3, 150, 299])
def test_a_selection_is_followed_exactly_both_ways(kept: Kept, step: int) -> None:
    asked = whole_numbers(20, seed=1)
    kept.build(whole_numbers(260)).extend(whole_numbers(40, seed=5)).drop(np.arange(0, 300, 8))
    chosen = np.random.default_rng(0).permutation(310)[::step]  # dropped positions too, and some that do not exist
    index = kept.open()
    for k in (1, 7, 60, 1000):
        scores, positions = index.search(asked, k, only(chosen))
        np.testing.assert_array_equal(positions, kept.exact(asked, k, chosen))
        np.testing.assert_array_equal(scores, np.take_along_axis(asked @ kept.rows.T, positions, axis=1))
        others = np.setdiff1d(np.arange(300), chosen)
        np.testing.assert_array_equal(
            index.search(asked, k, all_but(chosen), exact=True)[1], kept.exact(asked, k, others)
        )
        found = index.search(asked, k, all_but(chosen))[1]
        assert found.shape == (20, min(k, len(np.intersect1d(kept.live, others))))
        assert not np.isin(found, chosen).any()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), type=st.sampled_from(["numpy", *TYPES]))
def test_any_sequence_of_changes_leaves_what_it_should(
    data: st.DataObject, type: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept = Kept(keeper_of(type), tmp_path_factory.mktemp("index"), type)
    kept.build(whole_numbers(data.draw(st.integers(1, 120))))
    for number in range(data.draw(st.integers(0, 6))):
        if data.draw(st.booleans()):
            kept.extend(whole_numbers(data.draw(st.integers(1, 30)), seed=number))
        else:
            kept.drop(np.array(sorted(data.draw(st.sets(st.integers(0, len(kept.rows) - 1)))), np.int64))
    index, asked = kept.open(), whole_numbers(3, seed=1)
    chosen = np.array(sorted(data.draw(st.sets(st.integers(0, len(kept.rows) - 1)))), np.int64)
    k = data.draw(st.integers(1, 200))
    assert len(index) == len(kept.live)
    np.testing.assert_array_equal(index.search(asked, k, exact=True)[1], kept.exact(asked, k))
    np.testing.assert_array_equal(index.search(asked, k, only(chosen))[1], kept.exact(asked, k, chosen))
    others = np.setdiff1d(kept.live, chosen)
    np.testing.assert_array_equal(index.search(asked, k, all_but(chosen), exact=True)[1], kept.exact(asked, k, others))
    assert kept.keeper.check(kept.folder, kept.record) == []


def test_a_change_leaves_the_index_before_it_as_it_was(kept: Kept) -> None:
    before = kept.build(clustered(400)).extend(clustered(3, seed=2)).record
    answers = kept.open().search(vectors(3, seed=1), 9)
    contents = {name: (kept.folder / name).read_bytes() for name in before.files}
    kept.extend(clustered(4, seed=3)).drop(np.array([1, 401]))
    assert {name: (kept.folder / name).read_bytes() for name in contents} == contents
    for ours, theirs in zip(kept.keeper.open(kept.folder, before).search(vectors(3, seed=1), 9), answers, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_open_index_answers_as_before_while_its_files_are_removed(kept: Kept) -> None:
    index = kept.build(clustered(400)).drop(np.array([3])).open()
    answers = index.search(vectors(3, seed=1), 9)
    kept.keeper.remove(kept.folder, kept.record)
    assert [path for path in kept.folder.rglob("*") if path.is_file()] == []
    kept.keeper.remove(kept.folder, kept.record)
    if kept.keeper.remote:  # the engine does the query again on the newest state
        with pytest.raises(MissingError, match="is gone"):
            index.search(vectors(3, seed=1), 9)
    else:
        np.testing.assert_array_equal(index.search(vectors(3, seed=1), 9)[1], answers[1])


@pytest.mark.parametrize("how", ["missing", "truncated"])
def test_damaged_files_are_named_and_not_opened(kept: Kept, how: str) -> None:
    kept.build(clustered(400)).extend(clustered(40, seed=1)).drop(np.arange(30))
    assert kept.keeper.check(kept.folder, kept.record) == []
    assert kept.record.files
    for name in kept.record.files:
        path = kept.folder / name
        content = path.read_bytes()
        path.unlink()
        if how == "truncated":
            path.write_bytes(content[: len(content) // 2])
        assert kept.keeper.check(kept.folder, kept.record) == [name]
        with pytest.raises(DamagedError, match=path.name):
            kept.open()
        path.write_bytes(content)
    assert len(kept.open()) == 410


def test_the_settings_of_an_index_build_its_like(kept: Kept) -> None:
    record = kept.build(clustered(400)).record
    again = kept.keeper.settings(record)
    kept.keeper.validate(again, DIM)
    assert kept.keeper.build(kept.folder, pieces(kept.rows), DIM, again, 5).type == record.type


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(DebaterError, match="no vector backend 'nowhere'") as caught:
        backend("nowhere")
    assert "faiss" in caught.value.hint
