"""Manifests: the JSON file in every folder that says what made it. Its rename is the folder's commit point."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from debater_search.errors import DamagedError, InvalidError, MissingError, UnavailableError
from debater_search.files import atomic, sha256_file
from debater_search.identity import EncoderInfo
from debater_search.refusals import dotted, refusal

SCHEMA_VERSION = 1
INDEX_SCHEMA_VERSION = 3
MANIFEST_NAME = "manifest.json"
MEND = "Run the `debater index` command that made it again, with --force."
JOB_NAME = "job.json"
DOCUMENTS_NAME = "documents.sqlite"
EMBEDDINGS_NAME = "embeddings"

# Manifests may come from strangers: no name in one may lead out of its folder.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(/[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)?$")]
DType = Literal["float32", "float16"]


class Manifest(BaseModel):
    """What all manifests share: the version of their layout."""

    newest: ClassVar[int] = SCHEMA_VERSION
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def of_version(cls, version: int, content: bytes) -> Self:
        """Read the JSON of a manifest whose layout has this version, which is at most `newest`."""
        return cls.model_validate_json(content)


class CorpusInfo(BaseModel):
    """The documents an index holds; `fingerprint` is a sha256 over their contents in order.

    `columns` are those that were read as id, title and text, where they have other names than usual (`roles`).
    """

    source: str
    fingerprint: str
    documents: Annotated[int, Field(gt=0)]
    columns: dict[str, list[str]] = {}

    @model_serializer(mode="wrap")
    def _without_usual_columns(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = write(self)
        return fields if self.columns else {name: value for name, value in fields.items() if name != "columns"}


class ShardInfo(BaseModel):
    """One Parquet file of an embeddings folder."""

    file: FileName
    rows: Annotated[int, Field(gt=0)]
    sha256: str


class PassageSettings(BaseModel):
    """How documents were cut: tokens of a passage, the title and the model's own included, and tokens in common."""

    tokens: Annotated[int, Field(gt=0)]
    overlap: Annotated[int, Field(ge=0)]


class Passages(PassageSettings):
    """`count` is how many passages the documents have."""

    count: Annotated[int, Field(gt=0)]


class EmbeddingsManifest(Manifest):
    """`embeddings/manifest.json`; `thinking_steps` is how many steps are stored beside the embedding, 0 for none.

    With `passages` the rows are passages, and the id of a document comes once for each of its own.
    """

    encoder: EncoderInfo
    corpus: CorpusInfo
    dim: Annotated[int, Field(gt=0)]
    dtype: DType
    thinking_steps: Annotated[int, Field(ge=0)]
    passages: PassageSettings | None = None
    shards: list[ShardInfo]


class EncodingJob(Manifest):
    """`embeddings/job.json`, written before the first shard: only the very same job may add to shards found there."""

    encoder: str
    corpus: str
    dtype: DType
    all_steps: bool
    shard_size: Annotated[int, Field(gt=0)]
    passages: PassageSettings | None = None
    int8: bool = False
    batch_tokens: Annotated[int, Field(gt=0)] | None = None
    """Padded tokens of a forward pass, chosen by the first run and kept by those that go on with its work."""


class FileInfo(BaseModel):
    """Size and hash of a file, as it was when the manifest was written."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "FileInfo":
        """Measure a file."""
        return cls(bytes=path.stat().st_size, sha256=sha256_file(path))


class VectorRecord(BaseModel):
    """What a vector backend must remember of an index: `rows` vectors of `dim` numbers, and its own `state`.

    `type` is the type that was chosen, in the backend's words. `added` rows came after the index was built; `dropped`
    rows are never found. `files` are all files that the backend owns.
    """

    backend: str
    type: str
    dim: Annotated[int, Field(gt=0)]
    rows: Annotated[int, Field(ge=0)]
    added: Annotated[int, Field(ge=0)] = 0
    dropped: Annotated[int, Field(ge=0)] = 0
    state: dict[str, Any] = {}
    files: dict[FileName, FileInfo] = {}
    warnings: list[str] = []


class IndexManifest(Manifest):
    """`manifest.json` of an index. Without an encoder the index is lexical only: no embeddings, no vectors.

    `generation` counts the changes since it was built. The rows of the folders in `embeddings`, one after the other,
    are the positions of the documents, or of their passages: the first folder is the base, the others were added later.
    `deleted` rows have no document any more. `content` is the sum of the hashes of the documents' rows
    (`store.database`); without it the documents are a file of the layout before generations. `superseded` are vectors
    that readers of the generation before may still open; the next writer removes them. `language` says how words are
    compared (`store.lexical`); the documents' database says it too.
    """

    newest: ClassVar[int] = INDEX_SCHEMA_VERSION
    schema_version: int = INDEX_SCHEMA_VERSION
    name: str
    created: str
    encoder: EncoderInfo | None
    corpus: CorpusInfo
    passages: Passages | None = None
    warnings: list[str]
    files: dict[FileName, FileInfo]
    generation: Annotated[int, Field(ge=0)] = 0
    documents: FileName = DOCUMENTS_NAME
    language: str = "english"
    content: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None
    embeddings: Annotated[list[FileName], Field(min_length=1)] = [EMBEDDINGS_NAME]
    vectors: VectorRecord | None = None
    superseded: VectorRecord | None = None
    deleted: Annotated[int, Field(ge=0)] = 0

    @classmethod
    def of_version(cls, version: int, content: bytes) -> Self:
        """Read the JSON of a manifest of this version; the first version is turned into the layout of today."""
        if version > 1:
            return cls.model_validate_json(content)
        from debater_search.store.manifest_1 import IndexManifest1

        return cls.model_validate(IndexManifest1.model_validate_json(content).upgraded())

    @property
    def all_files(self) -> dict[FileName, FileInfo]:
        """Every file of the index but the embeddings, those of the vectors included."""
        return self.files | (self.vectors.files if self.vectors else {})

    def contradiction(self) -> str | None:
        """What this manifest says about rows in one place and denies in another; None if it agrees with itself."""
        if self.vectors is None:
            return "embeddings but no vectors" if self.encoder is not None else None
        if self.vectors.rows != self.rows:
            return f"{self.vectors.rows:,} vectors for {self.rows:,} rows"
        if self.content is not None and self.vectors.dropped != self.deleted:
            return f"{self.vectors.dropped:,} dropped vectors for {self.deleted:,} deleted rows"
        return None

    @property
    def rows(self) -> int:
        """How many positions were given out since the base was built; the next document gets this one."""
        return (self.passages.count if self.passages else self.corpus.documents) + self.deleted


M = TypeVar("M", bound=Manifest)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest so that a reader finds either the whole of it or none."""
    with atomic(path) as temporary:
        temporary.write_bytes(manifest_bytes(manifest))


def manifest_bytes(manifest: Manifest) -> bytes:
    """A manifest as it lies on disk."""
    return (manifest.model_dump_json(indent=2) + "\n").encode()


def read_manifest(path: Path, kind: type[M]) -> M:
    """Read a manifest.

    Raises:
        DebaterError: the file is missing, half-written, not a manifest of this kind, or of a newer version.

    """
    if path.exists() and not path.is_file():  # to read a FIFO would wait for a writer
        raise DamagedError(f"{path} is damaged: it is not a regular file.", MEND)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise MissingError(
            f"{path.parent} is unfinished: it has no {path.name}.",
            "Run its `debater index` command again, without --encode-only: it resumes where it stopped.",
        ) from None
    except OSError as error:
        raise UnavailableError(
            f"{path} cannot be read: {error.strerror}.", "Check the path and its permissions."
        ) from None
    return parse_manifest(content, kind, path)


def parse_manifest(content: bytes, kind: type[M], path: object) -> M:
    """Read a manifest's bytes; `path` is what messages call it.

    Raises:
        DamagedError: it is not a manifest of this kind.
        InvalidError: it is of a newer version.

    """
    try:
        version = Manifest.model_validate_json(content).schema_version
        if version > kind.newest:
            raise InvalidError(
                f"{path} has schema version {version}, newer than this program's {kind.newest}.",
                "Upgrade debater-search, or build the index again with this version.",
            )
        return kind.of_version(version, content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DamagedError(f"{path} is damaged: {refusal(first, dotted(first['loc']) or 'it')}.", MEND) from None
