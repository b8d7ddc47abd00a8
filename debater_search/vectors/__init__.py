"""Vector indexes: one protocol, `VectorIndex`, and its backends. No torch."""

from debater_search.vectors.base import VectorIndex
from debater_search.vectors.faiss import TYPES, FaissIndex, check_type

__all__ = ["TYPES", "FaissIndex", "VectorIndex", "check_type"]
