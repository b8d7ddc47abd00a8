"""Vector indexes: one protocol, `VectorIndex`, and its backends. No torch."""

from debater_search.vectors.base import VectorIndex
from debater_search.vectors.build import Built, build_index
from debater_search.vectors.faiss import FaissIndex
from debater_search.vectors.library import gpu_count, require_one_faiss
from debater_search.vectors.planner import TYPES, Plan, check_recall, check_type, make_plan, parse_memory

__all__ = [
    "TYPES",
    "Built",
    "FaissIndex",
    "Plan",
    "VectorIndex",
    "build_index",
    "check_recall",
    "check_type",
    "gpu_count",
    "make_plan",
    "parse_memory",
    "require_one_faiss",
]
