"""`debater add`, `debater delete` and `debater compact`: change an index in place."""

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from debater_search.cli.asking import agreed, someone_is_there
from debater_search.cli.completion import model_names
from debater_search.cli.errors import FAILURE
from debater_search.cli.index_option import Index
from debater_search.cli.info import show_facts
from debater_search.cli.options import (
    MODEL,
    BaseModel,
    Columns,
    Device,
    Json,
    SkipBad,
    Wait,
    Where,
    examples,
    parse_columns,
)
from debater_search.cli.output import Output, results
from debater_search.errors import DebaterError

if TYPE_CHECKING:
    from debater_search.indexing import Change

log = logging.getLogger(__name__)

_SHOWN = 10  # ids in a warning

ADD_EXAMPLES = examples(
    "debater add indexes/papers new-papers.jsonl",
    "debater add indexes/notes today.md",
    "generate | debater add indexes/papers -",
    "debater add indexes/papers new-papers.jsonl --wait",
    "debater index --update papers.jsonl    # hold exactly these documents",
)
DELETE_EXAMPLES = examples(
    "debater delete indexes/papers 1706.03762 1810.04805",
    "debater delete indexes/papers --ids gone.txt",
    'debater delete indexes/papers --where "year < 1990 or title is missing"',
)
COMPACT_EXAMPLES = examples("debater compact indexes/papers", "debater compact indexes/papers --json")

Moved = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="New path of the model, if it was moved.",
        metavar="M",
        rich_help_panel=MODEL,
        autocompletion=model_names,
    ),
]


def add(
    index: Index,
    corpus: Annotated[
        str,
        typer.Argument(
            help="A jsonl, csv, tsv or parquet file (.gz too), a text (txt, md, html, pdf), a folder, or -.",
            metavar="CORPUS",
        ),
    ],
    columns: Columns = None,
    skip_bad: SkipBad = False,
    model: Moved = None,
    base_model: BaseModel = None,
    device: Device = "auto",
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Add documents to an index, or replace those with the same ids."""
    with results(as_json) as out:
        from debater_search.indexing import add, check_corpus

        reading: Any = {"columns": parse_columns(columns), "skip_bad": skip_bad}
        check_corpus(corpus, **reading, index=index)  # before the model is loaded
        encoder = moved_encoder(index, model, base_model, device)
        change = add(index, corpus, **reading, encoder=encoder, device=device, wait=patience(wait), progress=True)
        show_change(out, change)


def delete(
    index: Index,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of the documents to delete.", metavar="ID")] = None,
    file: Annotated[Path | None, typer.Option("--ids", help="A file of ids, one per line.", metavar="FILE")] = None,
    where: Where = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete what --where finds without asking.")] = False,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Delete documents by their ids, or all that a filter allows."""
    with results(as_json) as out:
        from debater_search.indexing import delete

        if where is not None and (ids or file):
            raise DebaterError("Ids and --where exclude each other.", "Give one of them.")
        given = (
            _found(index, where, yes=yes) if where is not None else [*(ids or []), *(_read_ids(file) if file else [])]
        )
        if not given and where is None:
            raise DebaterError("No ids were given.", "Name the documents to delete, a file of --ids, or --where.")
        change = delete(index, given, wait=patience(wait))
        if change.unknown:
            shown = ", ".join(change.unknown[:_SHOWN]) + (", …" if len(change.unknown) > _SHOWN else "")
            log.warning("No document has the id: %s.", shown)
        show_change(out, change)


def compact(index: Index, wait: Wait = False, as_json: Json = False) -> None:
    """Fold additions and deletions into an index; nothing is encoded."""
    with results(as_json) as out:
        from debater_search.indexing import compact

        done = compact(index, wait=patience(wait), progress=True)
        facts = {"index": str(index), "documents": done.documents, "folded": done.folded, "dropped": done.dropped}
        if as_json:
            return out.json(facts | {"generation": done.generation})
        if done.converted:
            out.show(f"The documents in {index} have the layout of this release now.")
        elif not done.folded and not done.dropped:
            return out.show(f"There is nothing to fold in {index}.")
        return show_facts(out, facts)


def patience(wait: bool) -> float:
    """The seconds that another writer is waited for."""
    return math.inf if wait else 0


def moved_encoder(index: Path, model: str | None, base_model: str | None, device: str) -> Any:
    """The index's model from where the options say it is; None if they do not: then it is loaded only if needed."""
    if model is None and base_model is None:
        return None
    from debater_search.encoder import load_again
    from debater_search.identity import require_dense
    from debater_search.store.folders import open_manifest

    info = require_dense(open_manifest(index).encoder, index)
    return load_again(info, index, model=model, base_model=base_model, device=device)


def show_change(out: Output, change: "Change") -> None:
    """Print what a change did."""
    counts = {
        "added": change.added,
        "updated": change.updated,
        "deleted": change.deleted,
        "unchanged": change.unchanged,
        "encoded": change.encoded,
        "documents": change.documents,
    }
    if out.as_json:
        more = {"unknown": change.unknown, "generation": change.generation}
        out.json({"index": str(change.folder)} | counts | more)
        return
    out.facts([("index", str(change.folder)), *((name, f"{count:,}") for name, count in counts.items())])
    if change.dropped:
        shown = ", ".join(change.dropped) + (", …" if change.deleted > len(change.dropped) else "")
        out.show(f"Deleted, because --update makes the index equal to the corpus: {shown}")


def _found(index: Path, where: str, *, yes: bool) -> list[str]:
    """The ids of the documents to delete: those that a filter allows, once a person has agreed or with --yes."""
    from debater_search.indexing import matching

    found = matching(index, where)
    if not found:
        log.info("No document of %s matches.", index)
    elif not yes:
        counted = f"{len(found):,} {'document' if len(found) == 1 else 'documents'} of {index}"
        if not someone_is_there():
            raise DebaterError(
                f"--where would delete {counted}, and there is no terminal to ask on.", "Add --yes to delete them."
            )
        if not agreed(f"Delete {counted}?"):
            log.info("Nothing was deleted.")
            raise typer.Exit(FAILURE)
    return found


def _read_ids(file: Path) -> list[str]:
    from debater_search.data.files import numbered_lines

    return [line.strip() for _, line in numbered_lines(file) if line.strip()]
