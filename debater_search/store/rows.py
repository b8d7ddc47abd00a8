"""Rows of the embeddings and the documents that they belong to."""

import numpy as np

from debater_search.store.documents import DocumentStore


def owners_of(documents: DocumentStore, rows: int) -> np.ndarray:
    """The position of each row's document, int64 [rows]; -1 if the document was deleted."""
    owners = np.full(rows, -1, np.int64)
    pairs = np.array(documents.rows(), np.int64).reshape(-1, 2)
    owners[pairs[:, 0]] = pairs[:, 1]
    return owners


def deleted_rows(documents: DocumentStore, rows: int) -> np.ndarray:
    """The rows whose document was deleted, int64, ascending."""
    return np.flatnonzero(owners_of(documents, rows) < 0)
