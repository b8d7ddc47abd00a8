"""The files of an index by generation. A change writes new files beside those that a manifest names.

A fresh index is generation 0: `documents.sqlite`, `embeddings/`, `vectors/`. What generation 3 adds is called
`embeddings-3/` and `delta-3/`; the base that `compact` makes is `documents-3.sqlite`, `embeddings-3/`, `vectors-3/`.
Readers keep the files of the generation they opened; the next writer removes what the manifest no longer names. Only
the documents' database is changed in place, row by row (`store.edits`).
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from debater_search.errors import DebaterError
from debater_search.files import TEMPORARY_SUFFIX
from debater_search.locks import writing
from debater_search.store.edits import recover
from debater_search.store.folders import open_manifest
from debater_search.store.manifest import DOCUMENTS_NAME, MANIFEST_NAME, IndexManifest

_LOGS = ("-wal", "-shm")  # what SQLite keeps beside a database that is in use
_OF_A_GENERATION = re.compile(rf"(documents(-\d+)?\.sqlite({'|'.join(_LOGS)})?|(embeddings|vectors|delta)(-\d+)?)")
COLLECTIONS_NAME = "collections.json"
"""What the index keeps on a server: written by the vector backend, never swept."""

_BESIDE = {MANIFEST_NAME, COLLECTIONS_NAME, "results.json"}  # what evaluating an index found may lie in it


def documents_name(generation: int) -> str:
    """The database of a new base."""
    stem, _, ending = DOCUMENTS_NAME.partition(".")
    return f"{stem}-{generation}.{ending}"


def embeddings_name(generation: int) -> str:
    """The folder of the shards that a change writes."""
    return f"embeddings-{generation}"


def vectors_name(generation: int) -> str:
    """The folder of the vectors of a new base."""
    return f"vectors-{generation}" if generation else "vectors"


def delta_name(generation: int) -> str:
    """The folder of what a change adds to the vectors, or drops from them."""
    return f"delta-{generation}"


def is_part(name: str) -> bool:
    """Whether an index may hold a file or folder of this name, finished or not."""
    name = name.removesuffix(TEMPORARY_SUFFIX)
    return name in _BESIDE or _OF_A_GENERATION.fullmatch(name) is not None


@contextmanager
def changing(folder: Path, *, wait: float = 0) -> Iterator[IndexManifest]:
    """Be the only writer of a finished index; gives its manifest. A change that fails leaves none of its files.

    Another writer is waited for, for `wait` seconds at most.

    Raises:
        DebaterError: there is no such index, it is damaged, or another writer is at work.

    """
    open_manifest(folder)
    with writing(folder, wait=wait):
        manifest = open_manifest(folder)
        _recover(folder, manifest)
        try:
            yield manifest
        except BaseException:
            with suppress(OSError, DebaterError):  # what went wrong before is the news
                _recover(folder, open_manifest(folder))
            raise


def _recover(folder: Path, manifest: IndexManifest) -> None:
    """Undo, or finish, what a change before left half done."""
    # A killed change may have left finished shards: its rerun, which is of the same generation, goes on with them.
    _sweep(folder, manifest, spared=embeddings_name(manifest.generation + 1))
    recover(folder / manifest.documents, manifest.generation)


def _sweep(folder: Path, manifest: IndexManifest, *, spared: str) -> None:
    """Remove what earlier generations and killed changes left."""
    documents = manifest.documents
    named = {spared, documents, *(documents + log for log in _LOGS), *manifest.embeddings}
    named |= {name.partition("/")[0] for name in manifest.all_files}
    for path in list(folder.iterdir()):
        temporary = is_part(path.name) and path.name.endswith(TEMPORARY_SUFFIX)
        if temporary or (path.name not in named and _OF_A_GENERATION.fullmatch(path.name)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
