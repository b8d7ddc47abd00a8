"""Manifests of indexes in the layout before vector backends (schema version 1): read, and turned into that of today."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from debater_search.identity import EncoderInfo
from debater_search.store.manifest import (
    INDEX_SCHEMA_VERSION,
    CorpusInfo,
    FileInfo,
    FileName,
    Passages,
    VectorRecord,
)

_VECTORS = "vectors/index.faiss"


class Delta(BaseModel):
    """What was added since the base was built: how many rows, and the flat index of their vectors."""

    rows: Annotated[int, Field(gt=0)]
    vectors: FileName


class VectorSearch(BaseModel):
    """How the base is searched, as the FAISS backend keeps it in its state."""

    factory: str = "Flat"
    reason: str = ""
    parameters: dict[str, float] = {}
    target: float = 0.95
    recall: dict[int, float] = {}


class IndexManifest1(BaseModel):
    """The part of the old layout that has changed; what else there is, is kept as it is.

    Deleted rows are in the vector index, and are not listed: whoever searches it must exclude them.
    """

    model_config = ConfigDict(extra="allow")

    encoder: EncoderInfo | None
    corpus: CorpusInfo
    type: str | None
    vector_search: VectorSearch | None = None
    passages: Passages | None = None
    files: dict[FileName, FileInfo]
    vectors: FileName = _VECTORS
    delta: Delta | None = None
    deleted: Annotated[int, Field(ge=0)] = 0

    def upgraded(self) -> dict[str, Any]:
        """The fields of `IndexManifest`."""
        record = self._record()
        files = {name: info for name, info in self.files.items() if record is None or name not in record.files}
        rest = self.model_dump(exclude={"type", "vector_search", "vectors", "delta", "files"})
        return rest | {"schema_version": INDEX_SCHEMA_VERSION, "vectors": record, "files": files}

    def _record(self) -> VectorRecord | None:
        if self.encoder is None:
            return None
        names = [self.vectors, *([self.delta.vectors] if self.delta else [])]
        segments = [{"file": self.delta.vectors, "rows": self.delta.rows}] if self.delta else []
        search = self.vector_search or VectorSearch()
        return VectorRecord(
            backend="faiss",
            type=self.type or "flat",
            dim=self.encoder.dim,
            rows=(self.passages.count if self.passages else self.corpus.documents) + self.deleted,
            added=self.delta.rows if self.delta else 0,
            state=search.model_dump(mode="json") | {"base": self.vectors, "segments": segments},
            files={name: self.files[name] for name in names if name in self.files},
        )
