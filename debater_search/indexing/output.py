"""The folder an index goes to: who may write there, and how a finished index is replaced in one step.

Only the manifest makes an index; until it is there the folder is unfinished, and the same command goes on with it.
With `force` the new index is built in a sibling folder `.NAME.building` and replaces the old one when it is complete.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from debater_search.data.files import require_writable
from debater_search.errors import DebaterError, InvalidError, UnavailableError
from debater_search.files import TEMPORARY_SUFFIX, rename_folder
from debater_search.indexing.vectors import forget_vectors
from debater_search.locks import LOCK_NAME, writing
from debater_search.store.generations import is_part
from debater_search.store.lease import LEASE_NAME
from debater_search.store.manifest import (
    DOCUMENTS_NAME,
    EMBEDDINGS_NAME,
    JOB_NAME,
    MANIFEST_NAME,
    EncodingJob,
    IndexManifest,
    manifest_bytes,
    parse_manifest,
    read_manifest,
    write_manifest,
)
from debater_search.store.places import Place
from debater_search.store.shard import is_shard_name


def check_output(folder: str | Path, *, force: bool = False, encode_only: bool = False) -> None:
    """Make sure that an index may be built in `folder`; quick, so that it can come before a model is loaded.

    Raises:
        InvalidError: the folder holds anything that is not an index, or (without `force`) a finished output.
        DebaterError: the folder cannot be written to, or another writer is at work there.

    Examples:
        >>> from debater_search.indexing import check_output
        >>> check_output("indexes/new")  # free
        >>> check_output("indexes/notes")
        Traceback (most recent call last):
            ...
        debater_search.errors.InvalidError: ... holds an index already. Encode only what changed with `update`, ...
    """
    folder = Path(folder).resolve()
    _undo_half_a_swap(folder)
    require_writable(folder)
    if not _occupied(folder):
        return
    if not is_ours(folder):
        raise InvalidError(f"{folder} is not empty and not an index.", "Choose another `folder`; nothing was changed.")
    if force:
        return
    if (folder / MANIFEST_NAME).exists():
        raise InvalidError(
            f"{folder} holds an index already.",
            "Encode only what changed with `update`, choose another `folder`, or replace it with `force`.",
        )
    if encode_only and (folder / EMBEDDINGS_NAME / MANIFEST_NAME).exists():
        raise InvalidError(
            f"{folder} holds finished embeddings already.", "Choose another `folder`, or replace it with `force`."
        )


@contextmanager
def workplace(folder: Path, *, force: bool, encode_only: bool = False) -> Iterator[Path]:
    """Give the folder to build in, to one writer only; when the block ends well, the index is at `folder`.

    Raises:
        DebaterError: as `check_output`.

    """
    with _made(folder), writing(folder):
        check_output(folder, force=force, encode_only=encode_only)  # again: another writer may have finished just now
        if not (force and _occupied(folder)):
            yield folder
            return
        place = _sibling(folder, "building")
        if _occupied(place) and not is_ours(place):
            raise InvalidError(f"{place} is in the way: it is not an index.", "Move it elsewhere.")
        with _made(place):
            yield place
        _swap(place, folder)


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder if there is none; if the block fails before anything is kept in it, remove it again."""
    created = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(f"{folder} cannot be made: {error.strerror}.", "Choose another `folder`.") from None
    try:
        yield
    except BaseException:
        if created:
            with suppress(OSError):
                folder.rmdir()
        raise


def claim(embeddings: Path, job: EncodingJob | None, *, force: bool) -> EncodingJob | None:
    """Register the job whose shards the folder `embeddings` will hold; None: no shards, for a lexical index.

    Returns the job, with the batch size of an earlier run of it.

    Raises:
        InvalidError: shards of another job are there (without `force`; with it they are removed).

    """
    if _occupied(embeddings):
        found = _read_job(embeddings, lenient=force)
        if job is not None and found is not None and found.model_copy(update={"batch_tokens": None}) == job:
            return found
        if not (force or _only_begun(embeddings)):
            raise InvalidError(
                f"{embeddings.parent} holds the unfinished work of another command ({_difference(found, job)}).",
                "Run that command again, choose another `folder`, or start over with `force`.",
            )
        shutil.rmtree(embeddings)
    if job is not None:
        embeddings.mkdir(parents=True, exist_ok=True)
        write_manifest(embeddings / JOB_NAME, job)
    return job


def claim_place(place: Place, job: EncodingJob, *, force: bool) -> EncodingJob:
    """As `claim`, for a place on object storage; the caller holds its lease."""
    if force:
        place.remove(MANIFEST_NAME)  # first: what follows replaces shards that it names
    names = place.names() - {LEASE_NAME}
    found = None
    if JOB_NAME in names:
        try:
            found = parse_manifest(place.read(JOB_NAME), EncodingJob, f"{place}/{JOB_NAME}")
        except DebaterError:
            if not force:
                raise
    if found is not None and found.model_copy(update={"batch_tokens": None}) == job:
        return found
    if names and not force:
        raise InvalidError(
            f"{place} holds the unfinished work of another command ({_difference(found, job)}).",
            "Run that command again, choose another place, or start over with `force`.",
        )
    for name in names:
        place.remove(name)
    with place.writing(JOB_NAME) as file:
        file.write(manifest_bytes(job))
    return job


def _read_job(embeddings: Path, *, lenient: bool) -> EncodingJob | None:
    """The registered job; None if there is none or, with `lenient`, if it cannot be read."""
    if not (embeddings / JOB_NAME).exists():
        return None
    try:
        return read_manifest(embeddings / JOB_NAME, EncodingJob)
    except DebaterError:
        if not lenient:
            raise
        return None


def _difference(found: EncodingJob | None, job: EncodingJob | None) -> str:
    if found is None or job is None:
        return "its embeddings are of another job"
    asked = job.model_dump()
    names = [
        name.replace("_", " ")
        for name, value in found.model_dump().items()
        if value != asked[name] and name != "batch_tokens"
    ]
    return f"different: {', '.join(names)}"


def _occupied(folder: Path) -> bool:
    try:
        return folder.exists() and any(path.name != LOCK_NAME for path in folder.iterdir())
    except OSError as error:
        raise UnavailableError(f"{folder} cannot be used: {error.strerror}.", "Choose another `folder`.") from None


def is_ours(folder: Path) -> bool:
    """Whether a folder holds an index, finished or not, and nothing else."""
    names = set(os.listdir(folder)) - {LOCK_NAME}
    if not all(map(is_part, names)):
        return False
    if {DOCUMENTS_NAME, DOCUMENTS_NAME + TEMPORARY_SUFFIX} & names:
        return True
    if names == {EMBEDDINGS_NAME}:  # interrupted after the job was registered, before the database got its name
        return _only_begun(folder / EMBEDDINGS_NAME) or _is_of_a_job(folder / EMBEDDINGS_NAME)
    try:
        read_manifest(folder / MANIFEST_NAME, IndexManifest)
    except DebaterError:
        return False
    return True


def _only_begun(embeddings: Path) -> bool:
    """Whether the folder holds no more than a job that was about to be registered."""
    return embeddings.is_dir() and set(os.listdir(embeddings)) <= {JOB_NAME + TEMPORARY_SUFFIX}


def _is_of_a_job(embeddings: Path) -> bool:
    """Whether the folder holds a registered job and its shards, and nothing else."""
    names = {name.removesuffix(TEMPORARY_SUFFIX) for name in os.listdir(embeddings)} - {JOB_NAME, MANIFEST_NAME}
    return all(map(is_shard_name, names)) and _read_job(embeddings, lenient=True) is not None


def _sibling(folder: Path, role: str) -> Path:
    return folder.with_name(f".{folder.name}.{role}")


def _swap(new: Path, folder: Path) -> None:
    old = _sibling(folder, "replaced")
    forget_vectors(old)  # of a swap that was killed after its renames
    shutil.rmtree(old, ignore_errors=True)
    rename_folder(folder, old)
    rename_folder(new, folder)
    forget_vectors(old)
    shutil.rmtree(old, ignore_errors=True)


def _undo_half_a_swap(folder: Path) -> None:
    """Put the old index back if a kill came between the two renames of `_swap`."""
    old = _sibling(folder, "replaced")
    if old.exists() and not folder.exists():
        with writing(old):  # refused while the swap is still at work
            rename_folder(old, folder)
