"""Manifests: the JSON file in every folder that says what made it. Its rename is the folder's commit point."""

from pathlib import Path
from typing import Annotated, Any, Literal, Required, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from debater_search.errors import DamagedError, DebaterError
from debater_search.files import atomic, sha256_file

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
MEND = "Run the `debater index` command that made it again, with --force."
JOB_NAME = "job.json"
DOCUMENTS_NAME = "documents.sqlite"
EMBEDDINGS_NAME = "embeddings"
INDEX_FILE = "index.faiss"
VECTORS_FILE = f"vectors/{INDEX_FILE}"

# Manifests may come from strangers: no name in one may lead out of its folder.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(/[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)?$")]
DType = Literal["float32", "float16"]


class Manifest(BaseModel):
    """What all manifests share: the version of their layout."""

    schema_version: int = SCHEMA_VERSION


@with_config(ConfigDict(extra="forbid"))
class Recipe(TypedDict, total=False):
    """The arguments of `Encoder.load` that a manifest may name."""

    model: Required[str]
    base_model: str
    thinking_steps: int
    max_length: int
    dim: int


class EncoderInfo(BaseModel):
    """The model that made the vectors: who it is (`fingerprint`) and how to load it again (`recipe`)."""

    name: str
    fingerprint: str
    dim: Annotated[int, Field(gt=0)]
    thinking_steps: Annotated[int, Field(gt=0)]
    recipe: Recipe
    int8: bool = False
    """Whether documents are encoded in 8-bit integers; queries never are."""

    def __str__(self) -> str:
        return f"{self.name} (fingerprint {self.fingerprint[:12]})"

    @classmethod
    def of(cls, encoder: Any) -> "EncoderInfo":
        """What a manifest keeps of an Encoder."""
        return cls(
            name=encoder.name,
            fingerprint=encoder.fingerprint,
            dim=encoder.dim,
            thinking_steps=encoder.thinking_steps,
            recipe=encoder.recipe,
            int8=encoder.dtype == "int8",
        )


class CorpusInfo(BaseModel):
    """The documents an index holds; `fingerprint` is a sha256 over their contents in order."""

    source: str
    fingerprint: str
    documents: Annotated[int, Field(gt=0)]


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


class Delta(BaseModel):
    """What was added to an index since its base was built: how many rows, and the flat index of their vectors."""

    rows: Annotated[int, Field(gt=0)]
    vectors: FileName


class VectorSearch(BaseModel):
    """How the vectors are searched: the FAISS factory string and why it was chosen, search parameters, and recall.

    `recall` is against exact search at each depth, as measured; `target` what recall@10 was tuned to reach.
    """

    factory: str
    reason: str
    parameters: dict[str, float]
    target: float
    recall: dict[int, float]


class IndexManifest(Manifest):
    """`manifest.json` of an index. Without an encoder the index is lexical only: no embeddings, no vectors.

    `generation` counts the changes since it was built. The rows of the folders in `embeddings`, one after the other,
    are the positions of the documents, or of their passages: the first folder is the base, whose index is `vectors`;
    the others are the `delta`. `deleted` rows have no document any more.
    """

    name: str
    created: str
    encoder: EncoderInfo | None
    corpus: CorpusInfo
    type: str | None
    vector_search: VectorSearch | None = None
    passages: Passages | None = None
    warnings: list[str]
    files: dict[FileName, FileInfo]
    generation: Annotated[int, Field(ge=0)] = 0
    documents: FileName = DOCUMENTS_NAME
    embeddings: Annotated[list[FileName], Field(min_length=1)] = [EMBEDDINGS_NAME]
    vectors: FileName = VECTORS_FILE
    delta: Delta | None = None
    deleted: Annotated[int, Field(ge=0)] = 0

    @property
    def target_recall(self) -> float:
        """What recall@10 is tuned to reach when the vectors are built again."""
        return self.vector_search.target if self.vector_search else 0.95

    @property
    def rows(self) -> int:
        """How many positions were given out since the base was built; the next document gets this one."""
        return (self.passages.count if self.passages else self.corpus.documents) + self.deleted


M = TypeVar("M", bound=Manifest)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest so that a reader finds either the whole of it or none."""
    with atomic(path) as temporary:
        temporary.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_manifest(path: Path, kind: type[M]) -> M:
    """Read a manifest.

    Raises:
        DebaterError: the file is missing, half-written, not a manifest of this kind, or of a newer version.

    """
    if path.exists() and not path.is_file():  # to read a FIFO would wait for a writer
        raise DamagedError(f"{path} is damaged: it is no regular file.", MEND)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DebaterError(
            f"{path.parent} is unfinished: it has no {path.name}.",
            "Run its `debater index` command again, without --encode-only: it goes on where it stopped.",
        ) from None
    except OSError as error:
        raise DebaterError(f"{path} cannot be read: {error.strerror}.", "Check the path and its permissions.") from None
    try:
        version = Manifest.model_validate_json(content).schema_version
        if version > SCHEMA_VERSION:
            raise DebaterError(
                f"{path} has schema version {version}, newer than this program's {SCHEMA_VERSION}.",
                "Upgrade debater-search, or build the index again with this version.",
            )
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DebaterError(f"{path} is damaged: {where + ': ' if where else ''}{first['msg']}.", MEND) from None
