"""Vectors for tests of indexes, and indexes built of them."""

from pathlib import Path

import numpy as np

from debater_search.vectors import Selection, VectorSettings
from debater_search.vectors.faiss import TYPES
from debater_search.vectors.faiss.build import Built, build_index
from debater_search.vectors.faiss.index import FaissIndex

DIM = 16
FACTORIES = ["PQ8", "PQ4x4fs", "PCA12,IVF8,PQ4x4fs", "HNSW16_SQ8", "SQ8", "PCA8,IVF4,Flat", "IVF8_HNSW8,Flat"]
ALL_TYPES = [*TYPES, *FACTORIES]


def built(rows: np.ndarray, type: str, path: Path, *, recall: float = 0.95) -> tuple[FaissIndex, Built]:
    outcome = build_index(np.array_split(rows, 3), rows.shape[1], VectorSettings(type, recall=recall), path)
    return FaissIndex.load(path), outcome


def only(positions: np.ndarray) -> Selection:
    return Selection(np.sort(positions).astype(np.int64))


def all_but(positions: np.ndarray) -> Selection:
    return Selection(np.sort(positions).astype(np.int64), exclude=True)


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
