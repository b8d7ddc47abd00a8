"""Indexes on the command line: a folder, or the name of one in `indexes/`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from debater_search.cli.completion import INDEXES, index_names


def found_index(index: Path | None) -> Path | None:
    """The folder of an index: `index`, or `indexes/index` if only that is there.

    Raises DebaterError, naming both places, if neither is there.
    """
    if index is None or index == INDEXES or len(index.parts) != 1 or _is_index(index):
        return index
    named = INDEXES / index
    if named.is_dir():
        return named
    from debater_search.errors import InvalidError, MissingError
    from debater_search.store.folders import other_indexes

    if index.exists():
        raise InvalidError(f"{index} is not an index, and {named} does not exist.", other_indexes(index))
    raise MissingError(f"The index {index} does not exist, and {named} does not either.", other_indexes(index))


def found_indexes(indexes: Sequence[Path] | None) -> list[Path] | None:
    """The folders of several indexes, as `found_index` finds them."""
    return [folder for index in indexes if (folder := found_index(index))] if indexes else None


def _is_index(folder: Path) -> bool:
    """Whether a folder holds a part of an index, which may be unfinished or damaged."""
    return any((folder / part).exists() for part in ("manifest.json", "documents.sqlite", "embeddings"))


Index = Annotated[
    Path,
    typer.Argument(
        help="An index: a folder, or its name in indexes/.",
        metavar="INDEX",
        autocompletion=index_names,
        callback=found_index,
    ),
]
Indexes = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Indexes: folders, or their names in indexes/. Default: all in indexes/.",
        metavar="INDEX",
        autocompletion=index_names,
        callback=found_indexes,
    ),
]
