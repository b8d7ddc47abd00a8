"""What is in an index, without loading its model."""

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from debater_search.coerce import require_names, require_whole
from debater_search.files import folder_size
from debater_search.filters import parse_filter
from debater_search.store.documents import DocumentStore
from debater_search.store.facets import FieldDescription, count_values, describe_fields, require_countable
from debater_search.store.filters import allowed, never_true, require_fields
from debater_search.store.folders import open_manifest
from debater_search.store.manifest import MANIFEST_NAME, EmbeddingsManifest, IndexManifest, read_manifest
from debater_search.store.oddities import odd_values
from debater_search.vectors import backend

logger = logging.getLogger(__name__)


def describe(index: str | Path, values: int = 10) -> dict[str, Any]:
    """What an index's manifests say of it, its size on disk, and its fields with at most so many values each.

    Raises DebaterError where it is none or damaged.

    Examples:
        >>> from debater_search.indexing import describe
        >>> facts = describe("indexes/notes")
        >>> facts["documents"], facts["model"], [field["name"] for field in facts["fields"]]
        (3, 'debater-small', ['year'])
    """
    index = Path(index)
    manifest = open_manifest(index)
    with _documents(index, manifest) as documents:
        fields = [_plain(field) for field in describe_fields(documents, values)]
        odd = odd_values(documents)
    facts: dict[str, Any] = {
        "index": str(index),
        "corpus": manifest.corpus.source,
        **({"columns": manifest.corpus.columns} if manifest.corpus.columns else {}),
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
        "warnings": [*manifest.warnings, *odd],
    }


def matching(index: str | Path, where: str) -> list[str]:
    """The ids of the documents that a filter allows, in the order of the documents.

    Raises:
        InvalidError: the filter is wrong.
        MissingError: there is no such index, or no document has a field that the filter names.

    Examples:
        >>> from debater_search.indexing import matching
        >>> matching("indexes/notes", "year < 1960")
        ['wings', 'ice']
    """
    index = Path(index)
    with _documents(index, open_manifest(index)) as documents, documents.reading():
        return documents.ids(_positions(documents, where).tolist())


def facets(index: str | Path, fields: Sequence[str], *, where: str | None = None, values: int = 10) -> dict[str, Any]:
    """How many documents have which value of these metadata fields, among all or among those that a filter allows.

    `documents` is the number of all these; a field has a description as in `describe`, with at most `values` values and
    their counts, or `ranges` of numbers: the first number, the first one behind the range, the count.

    Raises:
        InvalidError: the filter is wrong; `values` is below 1; an earlier version made the index.
        MissingError: there is no such index, or no document has one of the fields or a field that the filter names.

    Examples:
        >>> from debater_search.indexing import facets
        >>> [years] = facets("indexes/notes", ["year"], where="year < 1960")["fields"]
        >>> years["documents"], years["min"], years["max"]
        (2, 1948, 1955)
    """
    index = Path(index)
    with _documents(index, open_manifest(index)) as documents:
        return facets_in(documents, index, fields, where, values)


def facets_in(
    documents: DocumentStore, index: Path, fields: Sequence[str], where: str | None, values: int
) -> dict[str, Any]:
    """As `facets`, of documents that are open."""
    require_whole(values, "values", 1)
    require_names(fields, "fields")
    with documents.reading():
        require_countable(documents, fields)
        among = None if where is None else _positions(documents, where)
        counted = [_plain(count_values(documents, name, among, values)) for name in dict.fromkeys(fields)]
        number = len(documents) if among is None else len(among)
    return {"index": str(index), "where": where, "documents": number, "fields": counted}


def _documents(index: Path, manifest: IndexManifest) -> closing[DocumentStore]:
    return closing(DocumentStore(index / manifest.documents, manifest.generation))


def _positions(documents: DocumentStore, where: str) -> np.ndarray:
    """The positions of the documents that a filter allows, int64, ascending."""
    tree = parse_filter(where)
    require_fields(tree, documents)
    for note in never_true(tree, documents):
        logger.warning(note)
    return allowed(tree, documents)


def _plain(field: FieldDescription) -> dict[str, Any]:
    """What is known of a field, as JSON."""
    return {name: value for name, value in asdict(field).items() if value is not None}
