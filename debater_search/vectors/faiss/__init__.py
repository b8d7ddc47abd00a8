"""The FAISS backend: indexes in files of this machine, searched on its CPU or GPUs."""

from debater_search.vectors.faiss.backend import FaissBackend
from debater_search.vectors.faiss.library import require_one_faiss
from debater_search.vectors.faiss.planner import TYPES, parse_memory

__all__ = ["TYPES", "FaissBackend", "parse_memory", "require_one_faiss"]
