"""From a corpus to an index: documents → SQLite, embeddings → Parquet shards, vectors → FAISS, manifest last."""

from debater_search.indexing.build import BuildResult, build
from debater_search.indexing.output import check_output
from debater_search.indexing.verify import Verification, verify

__all__ = ["BuildResult", "Verification", "build", "check_output", "verify"]
