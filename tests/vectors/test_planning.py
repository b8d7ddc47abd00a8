"""Which index is built, and the library that builds it: missing, or there twice."""

import importlib.metadata
import sys

import pytest

from debater_search.errors import DebaterError, InvalidError
from debater_search.vectors import VectorSettings
from debater_search.vectors.faiss import TYPES, parse_memory, planner, require_one_faiss, trial
from debater_search.vectors.faiss.library import import_faiss
from debater_search.vectors.faiss.planner import make_plan
from debater_search.vectors.faiss.trial import check_type
from tests.vectors.vector_sets import DIM


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
    faiss = import_faiss()
    for count in (1, 1000, 10**8):
        assert faiss.index_factory(dim, make_plan(type, count, dim).factory, faiss.METRIC_INNER_PRODUCT)


@pytest.mark.parametrize(
    "type", ["hsnw", "LSH", "PQ5", "IVF10", "", "Flat; rm -rf", "IVF99999999999999,Flat", "\0", "\ud800"]
)
def test_an_unknown_type_names_those_that_exist(type: str) -> None:
    with pytest.raises(DebaterError, match="no index type") as caught:
        check_type(type, DIM)
    assert "auto, flat, hnsw, ivf, sq8, ivfpq, binary" in caught.value.hint


@pytest.mark.parametrize(
    "type",
    [
        "HNSW0",
        "HNSW1",
        "HNSW00",
        "PCAR8,HNSW0_SQ8",
        "IVF4_HNSW0,Flat",
        "NSG0",
        "NSG1",
        "PQ8x0",
        "RR0,Flat",
        "IVF0,Flat",
    ],
)
def test_a_type_that_would_abort_or_hang_the_process_is_refused(type: str) -> None:
    with pytest.raises(InvalidError, match="no index type"):
        check_type(type, DIM)


@pytest.mark.parametrize("type", ["HNSW100000000", "IVF200000000,Flat"])
def test_a_type_that_takes_gigabytes_for_a_few_vectors_is_refused(type: str) -> None:
    with pytest.raises(InvalidError, match="no index type"):
        check_type(type, DIM)


@pytest.mark.parametrize("type", ["HNSW2", "HNSW", "NSG8", "IVF65536,PQ8", "PQ4x10", "OPQ4,IVF4,PQ4x4fs"])
def test_a_type_that_needs_more_vectors_than_a_trial_has_is_accepted(type: str) -> None:
    check_type(type, DIM)


def test_a_type_that_is_slow_to_train_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_PATIENCE", 0.01)
    check_type("OPQ8,PQ8", DIM)


@pytest.mark.parametrize("type", ["PQ8,RFlat", "IDMap,Flat", "PQ8,Refine(SQ8)"])
def test_what_is_done_anyway_is_not_taken_from_a_factory_string(type: str) -> None:
    with pytest.raises(DebaterError, match="done in any case"):
        check_type(type, DIM)


def test_memory_is_read_as_people_write_it() -> None:
    assert [parse_memory(text) for text in ("4GB", "500 mb", "1.5g", "64KiB", "12")] == [
        4 * 10**9, 5 * 10**8, 15 * 10**8, 64_000, 12
    ]  # fmt: skip
    for text in ("", "GB", "-1GB", "0", "4 gigs", "1e9", "inf", "9" * 400 + "GB", f"1.{'0' * 5000}GB"):
        with pytest.raises(DebaterError, match="not an amount of memory"):
            parse_memory(text)


@pytest.mark.parametrize("recall", [0, -1, 1.01, float("nan")])
def test_an_impossible_recall_is_refused(recall: float) -> None:
    with pytest.raises(DebaterError, match="recall"):
        VectorSettings(recall=recall)


def test_without_faiss_the_exact_install_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(DebaterError, match="pip install faiss-cpu"):
        import_faiss()


def test_both_faiss_wheels_are_refused_and_one_is_named_for_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.distribution
    pretend = {"faiss-cpu", "faiss-gpu"}
    monkeypatch.setattr(
        "debater_search.vectors.faiss.library.distribution", lambda name: None if name in pretend else real(name)
    )
    with pytest.raises(DebaterError, match=r"faiss-cpu and faiss-gpu are both installed.*pip uninstall faiss-cpu"):
        import_faiss()
    pretend.remove("faiss-cpu")
    monkeypatch.setattr("debater_search.vectors.faiss.library.import_module", lambda name: name)
    monkeypatch.setattr("debater_search.vectors.faiss.library._installed", lambda wheel: wheel in pretend)
    assert import_faiss() == "faiss"


def test_wheels_are_compared_before_anything_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend = {"faiss-gpu", "faiss-gpu-cuvs"}
    monkeypatch.setattr("debater_search.vectors.faiss.library._installed", lambda wheel: wheel in pretend)
    monkeypatch.setattr("debater_search.vectors.faiss.library.import_module", lambda name: pytest.fail("imported"))
    with pytest.raises(DebaterError, match=r"keep faiss-gpu-cuvs if .*pip uninstall faiss-gpu "):
        require_one_faiss()
    pretend.remove("faiss-gpu")
    require_one_faiss()


def test_without_faiss_the_extra_that_brings_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("debater_search.vectors.faiss.library.import_module", missing)
    with pytest.raises(DebaterError, match="not installed") as caught:
        check_type("auto", 8)  # before anything is encoded
    assert "pip install faiss-cpu" in caught.value.hint
