"""`debater add`, `debater delete` and `debater compact`: change an index in place."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from debater_search.cli.info import show_facts
from debater_search.cli.options import BaseModel, Device, Json, examples
from debater_search.cli.output import Output, results
from debater_search.errors import DebaterError

if TYPE_CHECKING:
    from debater_search.indexing import Change

log = logging.getLogger(__name__)

_SHOWN = 10  # ids in a warning

ADD_EXAMPLES = examples(
    "debater add indexes/papers new-papers.jsonl",
    "generate | debater add indexes/papers -",
    "debater index --update papers.jsonl      # make the index hold exactly these documents",
)
DELETE_EXAMPLES = examples(
    "debater delete indexes/papers 1706.03762 1810.04805", "debater delete indexes/papers --ids gone.txt"
)
COMPACT_EXAMPLES = examples("debater compact indexes/papers", "debater compact indexes/papers --json")

Index = Annotated[Path, typer.Argument(help="An index folder.", metavar="INDEX")]
Moved = Annotated[
    str | None, typer.Option("--model", "-m", help="New path of the model, if it was moved.", metavar="M")
]


def add(
    index: Index,
    corpus: Annotated[
        str, typer.Argument(help="A jsonl, csv, tsv or parquet file (.gz too), a folder, or -.", metavar="CORPUS")
    ],
    model: Moved = None,
    base_model: BaseModel = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Add documents to an index; one whose id is there already takes the old one's place."""
    with results(as_json) as out:
        from debater_search.data import read_corpus
        from debater_search.indexing import add

        read_corpus(corpus).check_start()  # before the model is loaded
        encoder = moved_encoder(index, model, base_model, device)
        show_change(out, add(index, corpus, encoder=encoder, device=device, progress=True))


def delete(
    index: Index,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of the documents to delete.", metavar="ID…")] = None,
    file: Annotated[Path | None, typer.Option("--ids", help="A file of ids, one per line.", metavar="FILE")] = None,
    as_json: Json = False,
) -> None:
    """Delete documents from an index by their ids."""
    with results(as_json) as out:
        from debater_search.indexing import delete

        given = [*(ids or []), *(_read_ids(file) if file else [])]
        if not given:
            raise DebaterError("No ids were given.", "Name the documents to delete, or a file of ids with --ids.")
        change = delete(index, given)
        if change.unknown:
            shown = ", ".join(change.unknown[:_SHOWN]) + (", …" if len(change.unknown) > _SHOWN else "")
            log.warning("No document has the id: %s.", shown)
        show_change(out, change)


def compact(index: Index, as_json: Json = False) -> None:
    """Fold what was added to an index and deleted from it into its base; nothing is encoded."""
    with results(as_json) as out:
        from debater_search.indexing import compact

        done = compact(index, progress=True)
        facts = {"index": str(index), "documents": done.documents, "folded": done.folded, "dropped": done.dropped}
        if as_json:
            return out.json(facts | {"generation": done.generation})
        if done.converted:
            out.show(f"The documents in {index} have the layout of this release now.")
        elif not done.folded and not done.dropped:
            return out.show(f"There is nothing to fold in {index}.")
        return show_facts(out, facts)


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
        return out.json({"index": str(change.folder)} | counts | more)
    return out.facts([("index", str(change.folder)), *((name, f"{count:,}") for name, count in counts.items())])


def _read_ids(file: Path) -> list[str]:
    from debater_search.data.files import numbered_lines

    return [line.strip() for _, line in numbered_lines(file) if line.strip()]
