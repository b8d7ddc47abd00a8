"""Ranking that any backend reuses: ties by position, some vectors left out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from debater_search.vectors.ranking import ranked, without


@given(
    scores=st.lists(st.lists(st.integers(0, 4), min_size=30, max_size=30), min_size=1, max_size=4),
    left_out=st.sets(st.integers(0, 29), max_size=29),
    k=st.integers(1, 30),
)
def test_vectors_are_left_out_whatever_their_scores_ties_by_position(
    scores: list[list[int]], left_out: set[int], k: int
) -> None:
    table = np.array(scores, np.float32)

    def look(queries: np.ndarray, hits: int) -> tuple[np.ndarray, np.ndarray]:
        rows = table[queries[:, 0].astype(int)]
        order = np.argsort(-rows, axis=1, kind="stable")[:, ::1][:, :hits]
        return np.take_along_axis(rows, order, axis=1), order

    there = 30 - len(left_out)
    k = min(k, there)
    queries = np.arange(len(scores), dtype=np.float32)[:, None]
    past = without(look, np.array(sorted(left_out), np.int64), 30)
    _, positions = ranked(past, queries, k, there)
    for row, found in zip(table, positions.tolist(), strict=True):
        expected = sorted((p for p in range(30) if p not in left_out), key=lambda p: (-row[p], p))
        assert found == expected[:k]


def test_it_looks_further_while_all_that_it_finds_is_left_out() -> None:
    def look(queries: np.ndarray, hits: int) -> tuple[np.ndarray, np.ndarray]:
        return -np.arange(hits, dtype=np.float32)[None], np.arange(hits)[None]

    scores, positions = without(look, np.arange(50), 1000)(np.zeros((1, 1)), 3)
    assert positions.tolist() == [[50, 51, 52]]
    assert scores.tolist() == [[-50, -51, -52]]


def test_an_index_that_gives_out_is_asked_no_further() -> None:
    asked = []

    def look(queries: np.ndarray, hits: int) -> tuple[np.ndarray, np.ndarray]:
        asked.append(hits)
        found = np.array([[4, 2, 7] + [-1] * (hits - 3)])
        return np.where(found < 0, -np.inf, 1).astype(np.float32), found

    scores, positions = without(look, np.array([2], np.int64), 1000)(np.zeros((1, 1)), 5)
    assert positions.tolist() == [[4, 7, -1, -1, -1]]
    assert np.isneginf(scores[0, 2:]).all()
    assert len(asked) == 1
