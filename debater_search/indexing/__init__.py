"""From a corpus to an index: documents → SQLite, embeddings → Parquet shards, vectors → FAISS, manifest last.

`build` is three calls: `store_documents`, `encode`, `index`.
"""

from debater_search.indexing.building import BuildResult, build, check_build, index
from debater_search.indexing.change import Change, add, delete, update
from debater_search.indexing.compaction import Compaction, compact
from debater_search.indexing.description import describe, facets, matching
from debater_search.indexing.documents import StoredDocuments, check_corpus, store_documents
from debater_search.indexing.encoding import Encoded, EncodingSettings, encode
from debater_search.indexing.engines.pool import usual_workers
from debater_search.indexing.output import check_output
from debater_search.indexing.remote import check_encode_to, encode_to
from debater_search.indexing.removal import drop
from debater_search.indexing.verification import Verification, verify

__all__ = [
    "BuildResult",
    "Change",
    "Compaction",
    "Encoded",
    "EncodingSettings",
    "StoredDocuments",
    "Verification",
    "add",
    "build",
    "check_build",
    "check_corpus",
    "check_encode_to",
    "check_output",
    "compact",
    "delete",
    "describe",
    "drop",
    "encode",
    "encode_to",
    "facets",
    "index",
    "matching",
    "store_documents",
    "update",
    "usual_workers",
    "verify",
]


def __dir__() -> list[str]:
    return sorted(__all__)
