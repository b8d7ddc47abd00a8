"""From a corpus to an index: documents → SQLite, embeddings → Parquet shards, vectors → FAISS, manifest last."""

from debater_search.indexing.build import BuildResult, build
from debater_search.indexing.output import check_output

__all__ = ["BuildResult", "build", "check_output"]
