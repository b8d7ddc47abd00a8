"""`debater drop`: remove an index and what a server keeps of it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from debater_search.cli.options import Json, examples
from debater_search.cli.output import results

EXAMPLES = examples("debater drop indexes/papers", "debater drop indexes/papers --yes")


def drop(
    index: Annotated[Path, typer.Argument(help="An index folder.", metavar="INDEX")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove an index and, if Milvus keeps its vectors, its collection."""
    with results(as_json) as out:
        from debater_search.indexing import drop as remove

        if not yes and index.is_dir() and sys.stdin.isatty() and sys.stderr.isatty():
            typer.confirm(f"Remove {index}? It cannot be restored.", abort=True, err=True)
        remove(index)
        if as_json:
            return out.json({"index": str(index), "dropped": True})
        return out.show(f"{index} is removed.")
