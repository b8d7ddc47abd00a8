"""Vector indexes around the one that is searched: without deleted rows, and with documents in place of passages."""

from collections.abc import Sequence

import numpy as np

from debater_search.store.documents import DocumentStore
from debater_search.types import Document
from debater_search.vectors import Selection, VectorIndex


class Excluding:
    """An index without the vectors at the positions `holes`, int64 ascending, which it does not know as dropped."""

    def __init__(self, index: VectorIndex, holes: np.ndarray) -> None:
        self.index, self.holes = index, holes

    def __len__(self) -> int:
        return len(self.index) - len(self.holes)

    def search(
        self, queries: np.ndarray, k: int, within: Selection | None = None, *, exact: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `VectorIndex.search`."""
        if within is None:
            within = Selection(self.holes, exclude=True)
        elif within.exclude:
            within = Selection(np.union1d(within.positions, self.holes), exclude=True)
        else:
            within = Selection(np.setdiff1d(within.positions, self.holes, assume_unique=True))
        return self.index.search(queries, k, within, exact=exact)


class BestPassages:
    """An index of passages that answers with documents: the score of a document is that of its best passage.

    `owners`, int64 [rows], is the position of each row's document, -1 if it was deleted. The passages of a document
    have consecutive rows, and the first row is the document's position.
    """

    def __init__(self, index: VectorIndex, owners: np.ndarray) -> None:
        self.index, self.owners = index, owners
        self._rows = np.flatnonzero(owners >= 0)
        self._live = owners[self._rows]  # ascending
        self._documents = len(np.unique(self._live))

    def __len__(self) -> int:
        return self._documents

    def search(
        self, queries: np.ndarray, k: int, within: Selection | None = None, *, exact: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `VectorIndex.search`, with positions of documents, also in `within`."""
        rows, documents, there = None, len(self), len(self._rows)
        if within is not None:
            chosen = self._rows_of(within.positions)
            named = len(np.unique(self.owners[chosen]))
            rows = Selection(chosen, within.exclude)
            documents = documents - named if within.exclude else named
            there = there - len(chosen) if within.exclude else len(chosen)
        k = min(k, documents)
        wide = min(2 * k, there)
        while True:  # look further until there are passages of k different documents
            scores, found = self.index.search(queries, wide, rows, exact=exact)
            owners = self.owners[found]
            first = [np.sort(np.unique(row, return_index=True)[1])[:k] for row in owners]
            if wide == there or all(len(columns) == k for columns in first):
                break
            wide = min(2 * wide, there)
        best = np.array(first, np.int64).reshape(len(queries), k)
        return np.take_along_axis(scores, best, axis=1), np.take_along_axis(owners, best, axis=1)

    def best_rows(self, query: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """For each document at `positions`, int64 [n], the row of its passage nearest to a query [dim]: int64 [n]."""
        rows = self._rows_of(np.unique(positions))
        if not len(rows):
            return np.empty(0, np.int64)
        _, (found,) = self.index.search(query[None], len(rows), Selection(rows), exact=True)
        documents, first = np.unique(self.owners[found], return_index=True)
        return found[first][documents.searchsorted(positions)]

    def _rows_of(self, positions: np.ndarray) -> np.ndarray:
        """The rows of the documents at these positions, both ascending."""
        starts = self._live.searchsorted(positions, "left")
        counts = self._live.searchsorted(positions, "right") - starts
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self._rows[np.repeat(starts, counts) + offsets]


def nearest_passages(
    index: BestPassages, documents: DocumentStore, query: np.ndarray, positions: Sequence[int]
) -> list[Document]:
    """For each document at `positions`, its passage nearest to a query [dim]."""
    rows = index.best_rows(query, np.array(positions, np.int64)).tolist()
    return [passage for row in rows for passage in documents.read_rows(row, row + 1)]
