"""GPUs, as far as a CPU can show: FAISS's GPU functions are played by others of the same names that stay on the CPU."""

import logging
from pathlib import Path

import numpy as np
import pytest

from debater_search.errors import DebaterError
from debater_search.indexing import add, build, compact
from debater_search.search import SearchEngine
from debater_search.vectors.faiss import TYPES, gpu
from debater_search.vectors.faiss.index import FaissIndex
from debater_search.vectors.faiss.library import import_faiss
from debater_search.vectors.faiss.planner import make_plan
from debater_search.vectors.faiss.trial import check_type
from tests.fakes import FakeEncoder, tiny_corpus
from tests.vectors.cards import Cards, on
from tests.vectors.vector_sets import DIM, built, clustered, exact, only, share_found


@pytest.mark.parametrize("type", [*TYPES, "IVF8_HNSW8,Flat"])
def test_an_index_built_with_gpus_is_the_one_of_the_cpu(
    type: str, cards: Cards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_faiss().omp_set_num_threads(1)
    rows = clustered(1500)
    built(rows, type, tmp_path / "gpu")
    assert bool(cards.clones) == (type not in ("flat", "hnsw"))
    monkeypatch.setattr(import_faiss(), "get_num_gpus", lambda: 0)
    built(rows, type, tmp_path / "cpu")
    assert (tmp_path / "gpu").read_bytes() == (tmp_path / "cpu").read_bytes()


@pytest.mark.parametrize("k", [1, 10, 300, 2500])
@pytest.mark.parametrize("type", ["flat", "ivf", "sq8", "PCA8,IVF4,Flat"])
def test_searching_on_gpus_gives_the_same_answers(type: str, k: int, cards: Cards, tmp_path: Path) -> None:
    rows, queries = clustered(3000), clustered(10, seed=1)
    index, _ = built(rows, type, tmp_path / "i")
    plain, near = FaissIndex.load(tmp_path / "i"), index
    cards.clones.clear()
    near.to_gpus("cuda")
    assert [(clone["shard"], clone["gpus"]) for clone in cards.clones] == [(False, [0, 1])]
    for within in (None, only(np.arange(100)), only(np.arange(0, 3000, 2))):
        for ours, theirs in zip(near.search(queries, k, within), plain.search(queries, k, within), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_only_searches_that_no_filter_narrows_and_a_gpu_can_select_go_there(cards: Cards, tmp_path: Path) -> None:
    index, _ = built(clustered(30_000), "ivf", tmp_path / "i")
    index.to_gpus("cuda")
    cards.searches.clear()
    queries = clustered(3, seed=1)
    index.search(queries, 10)
    index.search(queries, 1000)  # wider: as many more lists as a CPU would look into
    assert cards.searches == [10, 1000]
    index.search(queries, 10, only(np.arange(100)))
    index.search(queries, 2100)
    assert cards.searches == [10, 1000]


def test_a_deeper_search_looks_into_more_lists_and_the_next_into_as_few_as_before(cards: Cards, tmp_path: Path) -> None:
    rows, queries = clustered(20_000), clustered(50, seed=1)
    index, _ = built(rows, "ivf", tmp_path / "i")
    plain = FaissIndex.load(tmp_path / "i")
    index.to_gpus("cuda:1")
    assert cards.clones[-1]["gpus"] == [1]
    for k in (10, 1000, 10):
        np.testing.assert_array_equal(index.search(queries, k), plain.search(queries, k))
    assert share_found(index.search(queries, 1000)[1], exact(queries, rows, 1000)) > 0.9


@pytest.mark.parametrize("type", ["hnsw", "ivfpq", "binary"])
def test_a_type_that_no_gpu_knows_is_a_sentence(type: str, cards: Cards, tmp_path: Path) -> None:
    index, _ = built(clustered(1500), type, tmp_path / "i")
    with pytest.raises(DebaterError, match="on GPUs"):
        index.to_gpus("cuda")


def test_without_a_gpu_a_build_with_gpus_is_asked_for() -> None:
    with pytest.raises(DebaterError, match=r"finds no GPU.*pip install faiss-gpu"):
        FaissIndex(DIM).to_gpus("cuda")


@pytest.mark.parametrize(("type", "used"), [("ivf", True), ("flat", True), ("sq8", False), ("PCA8,IVF4,SQ8", False)])
def test_cuvs_is_used_where_faiss_has_it_for_the_type(type: str, used: bool, cards: Cards, tmp_path: Path) -> None:
    cards.cuvs = True
    index, _ = built(clustered(1500), type, tmp_path / "i")
    index.to_gpus("cuda")
    assert cards.clones[-1]["cuvs"] == used


# The engine


def test_an_engine_searches_where_its_encoder_is_also_after_a_change(cards: Cards, tmp_path: Path) -> None:
    corpus = tiny_corpus(1200)
    build(corpus[:-1], FakeEncoder(), tmp_path / "i", type="ivf", recall=0.9)
    cards.clones.clear()
    plain = SearchEngine.open(tmp_path / "i", encoder=FakeEncoder())
    near = SearchEngine.open(tmp_path / "i", encoder=on("cuda:1"))
    expected = plain.search_batch(["wing unique7.", "title 21"], 20)
    assert cards.clones == []
    assert near.search_batch(["wing unique7.", "title 21"], 20) == expected
    assert [clone["gpus"] for clone in cards.clones] == [[1]]
    assert 20 in cards.searches
    add(tmp_path / "i", corpus[-1:], encoder=FakeEncoder())
    assert near.search(corpus[-1].content, 1)[0].id == "d1199"
    assert len(cards.clones) == 1  # the base is what it was


def test_an_index_that_no_gpu_searches_is_searched_on_the_cpu_and_a_line_says_so(
    cards: Cards, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build(tiny_corpus(), FakeEncoder(), tmp_path / "i", type="hnsw")
    with caplog.at_level(logging.INFO):
        assert SearchEngine.open(tmp_path / "i", encoder=on("cuda")).search("unique7.", 1)[0].id == "d7"
    assert "Vectors are searched on the CPU. FAISS does not search this type of index on GPUs." in caplog.messages


# CAGRA


def test_cagra_without_cuvs_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match=r"cuVS.*pip install faiss-gpu-cuvs"):
        build(tiny_corpus(), FakeEncoder(), tmp_path / "i", type="cagra")
    assert not (tmp_path / "i").exists()


def test_a_graph_of_cuvs_is_saved_as_one_that_opens_anywhere(cards: Cards, tmp_path: Path) -> None:
    cards.cuvs = True
    check_type("cagra", DIM)
    rows, queries = clustered(2500), clustered(40, seed=1)
    index, outcome = built(rows, "cagra", tmp_path / "i", recall=0.97)
    assert outcome.reached
    assert type(import_faiss().read_index(str(tmp_path / "i"))) is import_faiss().IndexHNSWCagra
    assert share_found(index.search(queries, 10)[1], exact(queries, rows, 10)) > 0.95
    few = np.arange(0, 2500, 25)
    found = index.search(queries, 10, only(few))[1]
    np.testing.assert_array_equal(found, few[exact(queries, rows[few], 10)])


def test_vectors_beyond_the_gpus_memory_are_a_sentence(cards: Cards, tmp_path: Path) -> None:
    cards.cuvs = True
    with pytest.raises(DebaterError, match=r"cannot build the graph of 2,600 vectors: out of memory"):
        built(clustered(2600), "cagra", tmp_path / "i")


def test_an_index_of_type_cagra_is_compacted_without_cuvs(cards: Cards, tmp_path: Path) -> None:
    cards.cuvs = True
    build(tiny_corpus(300), FakeEncoder(), tmp_path / "i", type="cagra")
    cards.cuvs = False
    add(tmp_path / "i", tiny_corpus(301)[-1:], encoder=FakeEncoder())
    compact(tmp_path / "i")
    engine = SearchEngine.open(tmp_path / "i", encoder=FakeEncoder())
    assert engine.manifest.vectors.type == "cagra"
    assert make_plan("cagra", 301, 64).factory == "HNSW32"
    assert engine.search(tiny_corpus(301)[-1].content, 1)[0].id == "d300"


def test_a_device_is_named_as_torch_names_it(cards: Cards) -> None:
    assert [list(gpu.gpus_of(device)) for device in ("cuda", "cuda:1", "cuda:2", "cpu", "mps", "")] == [
        [0, 1], [1], [], [], [], []
    ]  # fmt: skip
