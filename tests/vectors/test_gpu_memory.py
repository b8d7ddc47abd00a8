"""The memory of GPUs: what happens where it runs out, and how little is taken; GPUs are played by `cards`."""

import gc
from pathlib import Path

import numpy as np
import pytest

from debater_search.errors import DebaterError
from debater_search.indexing import build, compact, delete
from debater_search.search import SearchEngine
from debater_search.vectors.faiss import gpu
from debater_search.vectors.faiss.library import import_faiss
from tests.fakes import FakeEncoder, tiny_corpus
from tests.vectors.cards import FULL, MB, Cards, Resources, on
from tests.vectors.vector_sets import built, clustered


@pytest.mark.parametrize("full", FULL, ids=str)
def test_where_one_gpu_does_not_hold_the_index_each_holds_a_part(cards: Cards, tmp_path: Path, full: Exception) -> None:
    index, _ = built(clustered(3000), "flat", tmp_path / "i")
    cards.room, cards.full = 2000, full
    index.to_gpus("cuda")
    assert [clone["shard"] for clone in cards.clones] == [True]
    with pytest.raises(DebaterError, match=r"does not take the index: .*(memory|alloc)"):
        index.to_gpus("cuda:0")


@pytest.mark.parametrize("full", FULL, ids=str)
def test_a_search_that_the_memory_does_not_hold_is_done_on_the_cpu_and_so_are_those_after_it(
    cards: Cards, tmp_path: Path, caplog: pytest.LogCaptureFixture, full: Exception
) -> None:
    index, queries = built(clustered(3000), "flat", tmp_path / "i")[0], clustered(10, seed=1)
    expected = index.search(queries, 5)
    index.to_gpus("cuda")
    cards.searches.clear()
    cards.searches_until_full, cards.full = 1, full
    for _ in range(3):
        np.testing.assert_array_equal(index.search(queries, 5), expected)
    assert len(cards.searches) == 2
    assert [line for line in caplog.messages if "memory of the GPU is full" in line] == caplog.messages[-1:]


def test_any_other_error_of_a_search_is_not_taken_for_a_full_card(cards: Cards, tmp_path: Path) -> None:
    index, _ = built(clustered(3000), "flat", tmp_path / "i")
    index.to_gpus("cuda")
    cards.searches_until_full, cards.full = 0, RuntimeError("an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match="illegal memory access"):
        index.search(clustered(3, seed=1), 5)


@pytest.mark.parametrize("moment", ["clone", "search"])
@pytest.mark.parametrize("full", [FULL[1], FULL[3]], ids=str)
def test_an_index_is_built_on_the_cpu_where_the_gpus_memory_is_full(
    cards: Cards, tmp_path: Path, caplog: pytest.LogCaptureFixture, full: Exception, moment: str
) -> None:
    import_faiss().omp_set_num_threads(1)
    rows = clustered(1500)
    cards.full = full
    if moment == "clone":
        cards.room = -1
    else:
        cards.searches_until_full = 0
    built(rows, "ivf", tmp_path / "gpu")
    assert "The memory of the GPU is full: lists are chosen on the CPU." in caplog.messages
    assert (moment == "search") or "The memory of the GPU is full: lists are made on the CPU." in caplog.messages
    cards.room, cards.searches_until_full = 10**9, 10**9
    built(rows, "ivf", tmp_path / "cpu")
    assert (tmp_path / "gpu").read_bytes() == (tmp_path / "cpu").read_bytes()


def test_an_index_that_looks_into_more_lists_than_gpus_can_select_stays_on_the_cpu(
    cards: Cards, tmp_path: Path
) -> None:
    index, _ = built(clustered(3000), "ivf", tmp_path / "i")
    index.configure(breadth=2049)
    cards.clones.clear()
    with pytest.raises(DebaterError, match=r"looks into 2,049 lists for each query, and FAISS on GPUs into 2,048"):
        index.to_gpus("cuda")
    assert cards.clones == []
    index.configure(breadth=2048)
    index.to_gpus("cuda")


def test_copies_share_a_small_scratch_memory_on_each_card(cards: Cards, tmp_path: Path) -> None:
    first, _ = built(clustered(3000), "flat", tmp_path / "a")
    second, _ = built(clustered(3000, seed=1), "flat", tmp_path / "b")
    first.to_gpus("cuda")
    second.to_gpus("cuda")
    assert len(cards.clones) == 2
    assert [each.scratch for each in Resources.made] == [256 * MB] * 2  # one for each card


def test_what_changes_the_base_is_copied_and_the_copy_before_is_given_back(cards: Cards, tmp_path: Path) -> None:
    corpus = tiny_corpus(1200)
    build(corpus, FakeEncoder(), tmp_path / "i", type="flat")
    near = SearchEngine.open(tmp_path / "i", encoder=on("cuda"))
    near.search(corpus[7].content, 1)
    delete(tmp_path / "i", ["d7"])
    near.search(corpus[8].content, 1)
    assert (len(cards.clones), len(gpu._copies)) == (1, 1)
    compact(tmp_path / "i")
    assert near.search(corpus[8].content, 1)[0].id == "d8"
    gc.collect()
    assert (len(cards.clones), len(gpu._copies)) == (2, 1)
