"""Milvus as a vector backend: a cluster, a server, or milvus-lite's file on one machine."""

from debater_search.vectors.milvus.backend import MilvusBackend
from debater_search.vectors.milvus.kinds import TYPES

__all__ = ["TYPES", "MilvusBackend"]
