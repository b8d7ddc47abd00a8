"""What is in an index, without loading its model."""

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from debater_search.files import folder_size
from debater_search.store.documents import DocumentStore
from debater_search.store.facets import FieldDescription, describe_fields
from debater_search.store.folders import open_manifest
from debater_search.store.manifest import MANIFEST_NAME, EmbeddingsManifest, read_manifest
from debater_search.vectors import backend


def describe(index: Path, values: int = 10) -> dict[str, Any]:
    """What an index's manifests say of it, its size on disk, and its fields with at most so many values each.

    Raises DebaterError where it is none or damaged.
    """
    manifest = open_manifest(index)
    with closing(DocumentStore(index / manifest.documents, manifest.generation)) as documents:
        fields = [_plain(field) for field in describe_fields(documents, values)]
    facts: dict[str, Any] = {
        "index": str(index),
        "corpus": manifest.corpus.source,
        "documents": manifest.corpus.documents,
        **({"passages": manifest.passages.count} if manifest.passages else {}),
        "delta": manifest.vectors.added if manifest.vectors else 0,
        "deleted": manifest.deleted,
        "generation": manifest.generation,
        "language": manifest.language,
        "type": manifest.vectors.type if manifest.vectors else "lexical only",
    }
    if manifest.vectors is not None:
        facts |= backend(manifest.vectors.backend).describe(manifest.vectors)
    if manifest.encoder is not None:
        embeddings = read_manifest(index / manifest.embeddings[0] / MANIFEST_NAME, EmbeddingsManifest)
        facts |= {
            "model": manifest.encoder.name,
            "fingerprint": manifest.encoder.fingerprint,
            "dim": embeddings.dim,
            "dtype": embeddings.dtype,
            **({"encoded_in": "int8"} if embeddings.encoder.int8 else {}),
            "thinking_steps": manifest.encoder.thinking_steps,
            "stored_steps": embeddings.thinking_steps,
        }
    return facts | {
        "bytes": folder_size(index),
        "created": manifest.created,
        "fields": fields,
        "warnings": manifest.warnings,
    }


def _plain(field: FieldDescription) -> dict[str, Any]:
    """What is known of a field, as JSON."""
    return {name: value for name, value in asdict(field).items() if value is not None}
