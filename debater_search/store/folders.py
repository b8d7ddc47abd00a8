"""Find indexes on disk, and check that one is whole before it is opened."""

from pathlib import Path

from debater_search.errors import DamagedError, DebaterError, InvalidError, MissingError
from debater_search.files import sha256_file
from debater_search.refusals import nearest
from debater_search.store.manifest import (
    DOCUMENTS_NAME,
    EMBEDDINGS_NAME,
    MANIFEST_NAME,
    MEND,
    IndexManifest,
    read_manifest,
)


def list_indexes(parent: str | Path = "indexes") -> list[Path]:
    """The finished indexes in a folder, newest first.

    Examples:
        >>> from debater_search.search import list_indexes
        >>> [folder.name for folder in list_indexes("indexes")]
        ['notes']
    """
    found = []
    for path in Path(parent).glob(f"*/{MANIFEST_NAME}"):
        try:
            found.append((read_manifest(path, IndexManifest).created, path.parent))
        except DebaterError:
            continue  # not an index, or not one this version can read
    return [folder for _, folder in sorted(found, reverse=True)]


def latest_index(parent: str | Path = "indexes") -> Path:
    """The newest finished index in a folder; MissingError if there is none.

    Examples:
        >>> from debater_search.search import latest_index
        >>> latest_index("indexes").name
        'notes'
    """
    return _some(list_indexes(parent), parent)[0]


def all_indexes(parent: str | Path = "indexes") -> list[Path]:
    """The finished indexes in a folder, by name; MissingError if there is none."""
    return sorted(_some(list_indexes(parent), parent))


def _some(indexes: list[Path], parent: str | Path) -> list[Path]:
    if not indexes:
        raise MissingError(f"There is no index in {Path(parent)}.", "Make one: debater index CORPUS")
    return indexes


def index_folder(index: str | Path) -> Path:
    """The folder of an index that is given as a folder, or by its name in `indexes/`."""
    folder = Path(index)
    named = Path("indexes", folder)
    is_name = len(folder.parts) == 1 and not _has_parts(folder) and (named / MANIFEST_NAME).is_file()
    return named if is_name else folder


def _has_parts(folder: Path) -> bool:
    """Whether a folder holds a part of an index, which may be unfinished or damaged."""
    return any((folder / part).exists() for part in (MANIFEST_NAME, DOCUMENTS_NAME, EMBEDDINGS_NAME))


def open_manifest(folder: Path) -> IndexManifest:
    """Read an index's manifest and check that the files it names are there, in full length.

    Raises:
        MissingError, InvalidError: there is no such index, or it is unfinished.
        DamagedError: one of its files is missing or truncated.

    """
    if not folder.is_dir():
        raise MissingError(f"The index {folder} does not exist.", other_indexes(folder))
    if not _has_parts(folder):
        raise InvalidError(f"{folder} is not an index.", other_indexes(folder))
    manifest = read_manifest(folder / MANIFEST_NAME, IndexManifest)
    if contradiction := manifest.contradiction():
        raise DamagedError(f"{folder / MANIFEST_NAME} is damaged: it names {contradiction}.", MEND)
    if not (folder / manifest.documents).is_file():
        raise DamagedError(f"The index {folder} is damaged: {manifest.documents} is missing.", MEND)
    for name, info in manifest.all_files.items():
        path = folder / name
        if not path.is_file():
            raise DamagedError(f"The index {folder} is damaged: {name} is missing.", MEND)
        if path.stat().st_size != info.bytes:
            raise DamagedError(
                f"The index {folder} is damaged: {name} has {path.stat().st_size:,} bytes instead of {info.bytes:,}.",
                MEND,
            )
    return manifest


def require_undamaged(documents: Path, manifest: IndexManifest) -> None:
    """Raise DamagedError unless a database of the layout before generations is the file that its manifest names."""
    if sha256_file(documents) != manifest.files[manifest.documents].sha256:
        raise DamagedError(f"{documents} is damaged: its hash is not the one in the manifest.", MEND)


def other_indexes(folder: Path) -> str:
    """A hint: the index of that name in the default place, else those beside the folder, else all there, the nearest
    name first.
    """
    named = Path("indexes", folder)
    if len(folder.parts) == 1 and (named / MANIFEST_NAME).is_file():
        return f"Did you mean {named}?"
    found = {index.name: str(index) for index in list_indexes(folder.parent) or list_indexes()}
    if not found:
        return "Make one: debater index CORPUS"
    near = nearest(folder.name, found)
    return f"{f'Did you mean {near}? ' if near else ''}Indexes: {', '.join(found.values())}."
