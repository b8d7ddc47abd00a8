"""Vector indexes as the engine wraps them: passages answer as documents, holes are left out."""

from pathlib import Path

import numpy as np
import pytest

from debater_search.indexing import build, delete
from debater_search.search.passages import BestPassages, Excluding
from debater_search.vectors import Selection
from debater_search.vectors.faiss.index import FaissIndex
from tests.fakes import FakeEncoder, tiny_corpus
from tests.indexing.changed_index import opened
from tests.vectors.numpy_backend import NumpyIndex
from tests.vectors.vector_sets import DIM, all_but, only, vectors

OWNERS = np.array([0, 0, 0, 3, -1, 5, 5, -1, -1, 9, 10, 10])
DOCUMENTS = [0, 3, 5, 9, 10]
ROWS, QUERIES = vectors(len(OWNERS)), vectors(6, seed=1)


class Counted(NumpyIndex):
    """Without the rows whose document was deleted; counts searches."""

    searches = 0

    def search(self, *args: object, **options: object) -> tuple:
        self.searches += 1
        return super().search(*args, **options)


@pytest.fixture
def index() -> Counted:
    return Counted(ROWS, np.flatnonzero(OWNERS >= 0))


def expected(query: np.ndarray, among: list[int]) -> list[tuple[int, float]]:
    scores = {document: max(ROWS[document == OWNERS] @ query) for document in among}
    return sorted(scores.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("k", [1, 2, 100])
@pytest.mark.parametrize(
    ("within", "among"),
    [
        (None, DOCUMENTS),
        (only(np.array([3, 4, 5, 10, 77])), [3, 5, 10]),
        (all_but(np.array([0, 1, 9])), [3, 5, 10]),
        (only(np.array([4])), []),
    ],
)
def test_a_document_has_the_score_of_its_best_passage(
    index: Counted, within: Selection | None, among: list[int], k: int
) -> None:
    passages = BestPassages(index, OWNERS)
    assert len(passages) == 5
    for exact in (False, True):
        scores, positions = passages.search(QUERIES, k, within, exact=exact)
        for query, row, found in zip(QUERIES, scores, positions, strict=True):
            best = expected(query, among)[:k]
            assert found.tolist() == [document for document, _ in best]
            assert row.tolist() == pytest.approx([score for _, score in best], abs=1e-6)


def test_the_best_passages_of_all_hits_come_from_one_search(index: Counted) -> None:
    positions = np.array([10, 0, 9, 5])
    rows = BestPassages(index, OWNERS).best_rows(QUERIES[0], positions)
    assert index.searches == 1
    assert OWNERS[rows].tolist() == positions.tolist()
    for document, row in zip(positions, rows, strict=True):
        assert ROWS[row] @ QUERIES[0] == max(ROWS[document == OWNERS] @ QUERIES[0])
    assert BestPassages(index, OWNERS).best_rows(QUERIES[0], np.empty(0, np.int64)).tolist() == []


def test_holes_are_left_out_of_every_selection() -> None:
    holes, rows = np.array([1, 4]), vectors(8)
    whole = FaissIndex(DIM)
    whole.add(rows)
    index = Excluding(whole, holes)
    assert len(index) == 6
    for within, left in (
        (None, [0, 2, 3, 5, 6, 7]),
        (only(np.array([1, 2, 3])), [2, 3]),
        (all_but(np.array([0, 1])), [2, 3, 5, 6, 7]),
    ):
        found = index.search(QUERIES, 8, within)[1]
        assert [sorted(row) for row in found.tolist()] == [left] * len(QUERIES)


@pytest.mark.parametrize("options", [{}, {"passages": 24, "overlap": 2}])
def test_after_a_deletion_no_list_of_positions_goes_along_with_a_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict
) -> None:
    build(tiny_corpus(), FakeEncoder(), tmp_path / "i", **options)
    delete(tmp_path / "i", ["d3"])
    asked: list[object] = []
    search = FaissIndex.search

    def watched(
        self: FaissIndex, queries: np.ndarray, k: int, within: Selection | None = None, *, exact: bool = False
    ) -> tuple:
        asked.append(within)
        return search(self, queries, k, within, exact=exact)

    monkeypatch.setattr(FaissIndex, "search", watched)
    assert "d3" not in opened(tmp_path / "i").search_batch(["wing"], 100)["0"]
    assert asked == [None]
