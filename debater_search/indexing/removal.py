"""Remove an index: what a server keeps of it first, then its folder."""

import shutil
from pathlib import Path

from debater_search.errors import InvalidError, MissingError
from debater_search.indexing.output import is_ours
from debater_search.indexing.vectors import remove_lost, remove_vectors
from debater_search.locks import writing


def drop(folder: str | Path) -> None:
    """Remove an index, finished or not, with its collection if its vectors lie in Milvus. There is no way back.

    Raises:
        MissingError: there is no such folder.
        InvalidError: it is not an index.
        UnavailableError: the server that keeps its vectors does not answer. Nothing was removed.
        BusyError: a writer is at work.

    Examples:
        >>> from debater_search.indexing import drop
        >>> drop("indexes/notes")
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingError(f"The index {folder} does not exist.", "Give the folder of an index.")
    if not is_ours(folder):
        raise InvalidError(f"{folder} is not an index.", "Nothing was removed.")
    with writing(folder):
        remove_vectors(folder)
        remove_lost(folder)
        shutil.rmtree(folder)
