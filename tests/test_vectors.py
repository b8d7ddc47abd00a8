"""The contract of VectorIndex, for every type there is; building, recall and planning; how FAISS can be missing."""

import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from debater_search.errors import DebaterError
from debater_search.vectors import (
    TYPES,
    Built,
    FaissIndex,
    VectorIndex,
    build_index,
    check_recall,
    check_type,
    gpu,
    make_plan,
    parse_memory,
    planner,
)
from debater_search.vectors import faiss as backend
from debater_search.vectors.library import import_faiss
from debater_search.vectors.recall import RecallTest, tune

DIM = 16
FACTORIES = ["PQ8", "PQ4x4fs", "PCA12,IVF8,PQ4x4fs", "HNSW16_SQ8", "SQ8", "PCA8,IVF4,Flat", "IVF8_HNSW8,Flat"]
ALL_TYPES = [*TYPES, *FACTORIES]
Make = Callable[[np.ndarray], VectorIndex]


def built(rows: np.ndarray, type: str, path: Path, *, recall: float = 0.95) -> tuple[FaissIndex, Built]:
    plan = make_plan(type, len(rows), rows.shape[1])
    outcome = build_index(np.array_split(rows, 3), rows.shape[1], plan, path, recall=recall)
    return FaissIndex.load(path), outcome


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


def vectors(n: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def clustered(n: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = vectors(50, seed=99)[random.integers(0, 50, n)] + 0.25 * random.normal(size=(n, DIM))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def whole_numbers(n: int, seed: int = 0) -> np.ndarray:
    """Vectors full of ties, whose products are exact in any order of summation."""
    return np.random.default_rng(seed).integers(-1, 2, (n, DIM)).astype(np.float32)


def exact(queries: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-(queries @ rows.T), axis=1, kind="stable")[:, :k]


def share_found(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), true.tolist(), strict=True)]))


# The contract


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


# Building


@pytest.mark.parametrize("type", ALL_TYPES)
def test_the_same_vectors_make_the_same_file(type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("debater_search.vectors.build._TRAINING", 500)  # a sample, not all
    import_faiss().omp_set_num_threads(1)  # the graph of several threads depends on which is first
    rows = clustered(1500)
    for name in ("a", "b"):
        built(rows, type, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_plain_faiss_reads_what_was_built_and_rescores_too(tmp_path: Path) -> None:
    faiss, rows = import_faiss(), clustered(3000)
    ours, _ = built(rows, "binary", tmp_path / "i")
    plain = faiss.read_index(str(tmp_path / "i"))
    queries = clustered(20, seed=1)
    np.testing.assert_array_equal(plain.search(queries, 10)[1], ours.search(queries, 10)[1])


@pytest.mark.parametrize("type", ["flat", "hnsw", "ivf", "binary"])
def test_float_vectors_are_mapped_not_read(type: str, tmp_path: Path) -> None:
    faiss = import_faiss()
    index, _ = built(clustered(1500), type, tmp_path / "i")
    floats = index._floats
    if isinstance(floats, faiss.IndexIVF):
        pytest.skip("the lists of an IVF index are mapped as such")
    assert not floats.codes.is_owned


def test_a_factory_that_wants_more_vectors_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match="IVF1024,Flat cannot be trained on 50 vectors"):
        built(vectors(50), "IVF1024,Flat", tmp_path / "i")
    assert list(tmp_path.glob("*.floats")) == []


# Recall


@pytest.mark.parametrize("type", ["hnsw", "ivf", "sq8", "ivfpq", "binary"])
def test_the_target_is_reached_with_the_least_effort_and_holds_for_new_queries(type: str, tmp_path: Path) -> None:
    rows, queries = clustered(4000), clustered(300, seed=1)
    index, low = built(rows, type, tmp_path / "low", recall=0.6)
    assert low.reached
    assert low.recall[10] >= 0.6
    assert share_found(index.search(queries, 10)[1], exact(queries, rows, 10)) > 0.55
    index, high = built(rows, type, tmp_path / "high", recall=0.99)
    assert high.reached
    assert high.recall[10] >= 0.99
    assert share_found(index.search(queries, 10)[1], exact(queries, rows, 10)) > 0.97
    assert sum(high.parameters.values()) > sum(low.parameters.values())


def test_a_target_out_of_reach_is_owned_up_to(tmp_path: Path) -> None:
    index, outcome = built(vectors(5000), "PCA2,Flat", tmp_path / "i", recall=0.999)
    assert not outcome.reached
    assert outcome.recall[10] < 0.999
    assert index.parameters == {"k_factor": 64.0}  # what is best, all the same


def test_measured_recall_leaves_the_document_itself_out() -> None:
    rows = vectors(500)
    floats = FaissIndex(DIM)
    floats.add(rows)
    test = RecallTest.sample(rows, floats)
    assert test.exact.shape == (400, 100)
    own = (test.queries * rows[test.own]).sum(axis=1)
    assert (own > test.exact[:, 0]).mean() > 0.5  # it would have been the best of all
    assert test.recall(floats, 10) == test.recall(floats, 100) == 1.0


def test_equal_documents_count_as_found_whichever_is_returned(tmp_path: Path) -> None:
    rows = np.repeat(clustered(75), 20, axis=0)
    _, outcome = built(rows, "hnsw", tmp_path / "i", recall=0.9)
    assert outcome.recall[10] >= 0.9


def test_one_vector_has_perfect_recall_on_every_type(tmp_path: Path) -> None:
    for type in TYPES:
        assert built(vectors(1), type, tmp_path / type)[1].recall == {10: 1.0, 100: 1.0}


def test_tuning_leaves_an_exact_index_alone() -> None:
    index = FaissIndex(DIM)
    index.add(vectors(50))
    assert tune(index, RecallTest.sample(vectors(50), index), 1.0)


# Planning


@pytest.mark.parametrize(
    ("count", "options", "type"),
    [
        (1_000, {}, "flat"),
        (52_000, {}, "flat"),
        (100_000, {"memory": 10**9}, "hnsw"),
        (100_000, {"memory": 10**9, "recall": 1.0}, "flat"),
        (100_000, {"memory": 10**9, "gpus": 1}, "ivf"),
        (10_000_000, {"memory": 10**11}, "ivf"),
        (1_000_000, {"memory": 10**9}, "sq8"),
        (1_000_000, {"memory": 2 * 10**8}, "ivfpq"),
        (1_000_000, {"memory": 7 * 10**7}, "binary"),
        (1_000_000, {"memory": 1}, "binary"),
    ],
)
def test_auto_chooses_by_size_memory_recall_and_device(count: int, options: dict, type: str) -> None:
    plan = make_plan("auto", count, 384, **options)
    assert plan.type == type
    assert plan.factory.split(",")[0].startswith(TYPES[type].split(",")[0].split("{")[0])
    assert f"{count:,} vectors of 384 dimensions" in plan.reason


def test_auto_without_a_limit_takes_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner.os, "sysconf", {"SC_PHYS_PAGES": 10**6, "SC_PAGE_SIZE": 1000}.__getitem__)
    assert "take 392 MB of the 500 MB there are" in make_plan("auto", 1_000_000, 384).reason


@pytest.mark.parametrize("dim", [1, 7, 384])
@pytest.mark.parametrize("type", TYPES)
def test_every_type_can_be_built_in_any_dimension(type: str, dim: int) -> None:
    for count in (1, 1000, 10**8):
        check_type(make_plan(type, count, dim).factory, dim)


@pytest.mark.parametrize("type", ["hsnw", "LSH", "PQ5", "IVF10", "", "Flat; rm -rf", "IVF99999999999999,Flat"])
def test_an_unknown_type_names_those_that_exist(type: str) -> None:
    with pytest.raises(DebaterError, match="no index type") as caught:
        check_type(type, DIM)
    assert "auto, flat, hnsw, ivf, sq8, ivfpq, binary" in caught.value.hint


@pytest.mark.parametrize("type", ["PQ8,RFlat", "IDMap,Flat", "PQ8,Refine(SQ8)"])
def test_what_is_done_anyway_is_not_taken_from_a_factory_string(type: str) -> None:
    with pytest.raises(DebaterError, match="done in any case"):
        check_type(type, DIM)


def test_memory_is_read_as_people_write_it() -> None:
    assert [parse_memory(text) for text in ("4GB", "500 mb", "1.5g", "64KiB", "12")] == [
        4 * 10**9, 5 * 10**8, 15 * 10**8, 64_000, 12
    ]  # fmt: skip
    for text in ("", "GB", "-1GB", "0", "4 gigs", "1e9", "inf"):
        with pytest.raises(DebaterError, match="no amount of memory"):
            parse_memory(text)


@pytest.mark.parametrize("recall", [0, -1, 1.01, float("nan")])
def test_an_impossible_recall_is_refused(recall: float) -> None:
    with pytest.raises(DebaterError, match="recall"):
        check_recall(recall)


# GPUs, as far as a CPU can show


@pytest.fixture
def pretended_gpus(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """FAISS's GPU functions, played by clones on the CPU."""
    faiss, calls = import_faiss(), []

    class Options:
        shard, use_cuvs = None, False

    def clone(index: object, co: Options) -> object:
        if isinstance(faiss.downcast_index(index), faiss.IndexIVFFastScan | faiss.IndexHNSW):
            raise RuntimeError("This index type is not implemented on GPU.")
        calls.append({"shard": co.shard, "cuvs": co.use_cuvs, "type": type(faiss.downcast_index(index)).__name__})
        return faiss.clone_index(index)

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", clone, raising=False)
    monkeypatch.setattr(faiss, "GpuMultipleClonerOptions", Options, raising=False)
    return calls


@pytest.mark.parametrize("type", TYPES)
def test_an_index_built_with_gpus_is_the_one_of_the_cpu(
    type: str, pretended_gpus: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_faiss().omp_set_num_threads(1)
    rows = clustered(1500)
    built(rows, type, tmp_path / "gpu")
    assert bool(pretended_gpus) == (type not in ("flat", "hnsw"))
    monkeypatch.setattr(import_faiss(), "get_num_gpus", lambda: 0)
    built(rows, type, tmp_path / "cpu")
    assert (tmp_path / "gpu").read_bytes() == (tmp_path / "cpu").read_bytes()


@pytest.mark.parametrize("shard", [True, False])
@pytest.mark.parametrize("type", ["flat", "ivf", "sq8"])
def test_searching_on_gpus_gives_the_same_answers(
    type: str, shard: bool, pretended_gpus: list[dict], tmp_path: Path
) -> None:
    rows, queries = clustered(3000), clustered(10, seed=1)
    index, _ = built(rows, type, tmp_path / "i")
    before = index.search(queries, 10), index.search(queries, 10, allowed=np.arange(100))
    pretended_gpus.clear()
    index.to_gpus(shard=shard)
    assert [call["shard"] for call in pretended_gpus] == [shard]
    after = index.search(queries, 10), index.search(queries, 10, allowed=np.arange(100))
    np.testing.assert_array_equal(before, after)


def test_a_type_that_no_gpu_knows_is_a_sentence(pretended_gpus: list[dict], tmp_path: Path) -> None:
    index, _ = built(clustered(1500), "hnsw", tmp_path / "i")
    with pytest.raises(DebaterError, match="on GPUs"):
        index.to_gpus()


def test_cuvs_is_used_where_faiss_has_it(pretended_gpus: list[dict], monkeypatch: pytest.MonkeyPatch) -> None:
    faiss = import_faiss()
    monkeypatch.setattr(faiss, "get_compile_options", lambda: "OPTIMIZE AVX2 GPU NVIDIA_CUVS ")
    gpu.on_gpus(faiss.IndexFlatIP(DIM))
    assert pretended_gpus[0]["cuvs"]


# Without FAISS, or with too much of it


def test_without_faiss_the_exact_install_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(DebaterError, match=r'pip install "debater-search\[cpu\]"'):
        import_faiss()


def test_both_faiss_wheels_are_refused_and_one_is_named_for_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.distribution
    pretend = {"faiss-cpu", "faiss-gpu"}
    monkeypatch.setattr(
        "debater_search.vectors.library.distribution", lambda name: None if name in pretend else real(name)
    )
    with pytest.raises(DebaterError, match=r"faiss-cpu and faiss-gpu are both installed.*pip uninstall faiss-cpu"):
        import_faiss()
    pretend.remove("faiss-cpu")
    monkeypatch.setattr("debater_search.vectors.library.import_module", lambda name: name)
    monkeypatch.setattr("debater_search.vectors.library._installed", lambda wheel: wheel in pretend)
    assert import_faiss() == "faiss"
