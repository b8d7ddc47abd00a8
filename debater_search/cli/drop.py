"""`debater drop`: remove an index and what a server keeps of it."""

import logging
from typing import Annotated

import typer

from debater_search.cli.asking import agreed, someone_is_there
from debater_search.cli.errors import FAILURE
from debater_search.cli.index_option import Index
from debater_search.cli.options import Json, examples
from debater_search.cli.output import results

log = logging.getLogger(__name__)

EXAMPLES = examples("debater drop indexes/papers", "debater drop indexes/papers --yes")


def drop(
    index: Index,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, as without a terminal.")] = False,
    as_json: Json = False,
) -> None:
    """Remove an index and, if Milvus keeps its vectors, its collection."""
    with results(as_json) as out:
        from debater_search.indexing import drop as remove

        if not yes and index.is_dir() and someone_is_there() and not agreed(f"Remove {index}? It cannot be restored."):
            log.info("Nothing was removed.")
            raise typer.Exit(FAILURE)
        remove(index)
        if as_json:
            return out.json({"index": str(index), "dropped": True})
        return out.show(f"{index} is removed.")
