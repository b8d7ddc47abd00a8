"""From a corpus to an index: documents → SQLite, embeddings → Parquet shards, vectors → FAISS, manifest last."""

from debater_search.indexing.build import BuildResult, build
from debater_search.indexing.change import Change, add, delete, update
from debater_search.indexing.compaction import Compaction, compact
from debater_search.indexing.model import load_again
from debater_search.indexing.output import check_output
from debater_search.indexing.pool import usual_workers
from debater_search.indexing.verification import Verification, verify

__all__ = [
    "BuildResult",
    "Change",
    "Compaction",
    "Verification",
    "add",
    "build",
    "check_output",
    "compact",
    "delete",
    "load_again",
    "update",
    "usual_workers",
    "verify",
]
