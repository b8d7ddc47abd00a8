"""Building an index, and its recall: measured, and tuned to a target."""

from pathlib import Path

import numpy as np
import pytest

from debater_search.errors import DebaterError
from debater_search.vectors.faiss import TYPES
from debater_search.vectors.faiss.index import FaissIndex
from debater_search.vectors.faiss.library import import_faiss
from debater_search.vectors.faiss.tuning import tune
from debater_search.vectors.recall import RecallTest
from tests.vectors.vector_sets import ALL_TYPES, DIM, built, clustered, exact, share_found, vectors


@pytest.mark.parametrize("type", ALL_TYPES)
def test_the_same_vectors_make_the_same_file(type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("debater_search.vectors.faiss.build._TRAINING", 500)  # a sample, not all
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


def test_a_rotation_is_trained_on_fewer_vectors_than_dimensions(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((300, 320)).astype(np.float32)  # FAISS itself would crash
    index, _ = built(rows, "OPQ4_16,PQ4x4", tmp_path / "i")
    assert (index.search(rows[:5], 1)[1][:, 0] == np.arange(5)).all()


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
