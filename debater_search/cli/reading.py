"""`debater list` and `debater get`: which indexes there are, and documents of an index."""

import json
import logging
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from debater_search.cli.index_option import Index
from debater_search.cli.options import INDEXES, Json, Where, examples
from debater_search.cli.output import Output, results
from debater_search.errors import InvalidError, MissingError
from debater_search.terminal import age_in_words, size_in_words

if TYPE_CHECKING:
    from debater_search.types import Document

log = logging.getLogger(__name__)

LIST_EXAMPLES = examples("debater list", "debater list /data/indexes --json")
GET_EXAMPLES = examples(
    "debater get indexes/papers 1706.03762",
    "debater get indexes/papers 1706.03762 1810.04805 --json",
    'debater get indexes/papers --where "year > 2019" -k 50',
)
_SHOWN = 10  # documents that a filter allows
_MISSED = 3  # ids without a document for which similar ones are looked up
_COLUMNS = ("index", "model", "documents", "size", "age")


def list_all(
    folder: Annotated[Path, typer.Argument(help="The folder that holds the indexes.", metavar="DIR")] = INDEXES,
    as_json: Json = False,
) -> None:
    """List the indexes in a folder: model, documents, size, age."""
    with results(as_json) as out:
        from debater_search.store.folders import list_indexes

        if folder != INDEXES and not folder.is_dir():
            raise MissingError(f"There is no folder {folder}.", "Name the folder that holds the indexes.")
        found = [_summary(index) for index in list_indexes(folder)]
        if as_json:
            return out.json({"indexes": found})
        if not found:
            return out.show(f"There is no index in {folder}.", "Make one: debater index CORPUS")
        return out.table("", _COLUMNS, [_row(summary) for summary in found], text_columns=2)


def get(
    index: Index,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of the documents.", metavar="ID")] = None,
    where: Where = None,
    k: Annotated[
        int | None, typer.Option("-k", min=1, help=f"Documents shown with --where. Default: {_SHOWN}.", metavar="N")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show documents of an index: title, metadata, text."""
    with results(as_json) as out:
        if ids and (where is not None or k is not None):
            raise InvalidError("Ids and a filter exclude each other.", "Give ids, or --where and -k.")
        if ids:
            return _show_named(out, index, ids)
        if where is None:
            raise InvalidError("There is neither an id nor a filter.", "Give ids, or --where FILTER.")
        return _show_allowed(out, index, where, k or _SHOWN)


def _show_named(out: Output, index: Path, ids: Sequence[str]) -> None:
    from debater_search.store.documents import DocumentStore
    from debater_search.store.folders import open_manifest
    from debater_search.store.nearest import near_ids

    manifest = open_manifest(index)
    with closing(DocumentStore(index / manifest.documents, manifest.generation)) as documents:
        found = {id: documents.find(id) for id in ids}
        missing = [id for id, document in found.items() if document is None]
        near = [repr(other) for id in missing[:_MISSED] for other in near_ids(id, documents)]
    _show_documents(out, index, list(filter(None, found.values())))
    if missing:
        hint = f"Similar ids: {', '.join(dict.fromkeys(near))}." if near else "Hits show the ids of documents."
        raise MissingError(f"There is no document {' and no '.join(map(repr, missing))} in {index}.", hint)


def _show_allowed(out: Output, index: Path, where: str, k: int) -> None:
    from debater_search.search import SearchEngine

    with SearchEngine.open(index) as engine:
        page = engine.browse(where, k)
    _show_documents(out, index, page.documents)
    if not page.total:
        log.warning("No document matches the filter.")
    elif page.total > k:
        log.info("The first %s of %s documents: -k %s shows all.", f"{k:,}", f"{page.total:,}", page.total)


def _show_documents(out: Output, index: Path, documents: Sequence["Document"]) -> None:
    for number, document in enumerate(documents):
        shown = {"id": document.id, "title": document.title, "text": document.text, "metadata": document.metadata}
        if out.as_json:
            out.json({"index": str(index), **shown})
            continue
        if number:
            out.show("")
        _show_document(out, shown)


def _summary(index: Path) -> dict[str, Any]:
    """An index by its manifest alone, and its size on disk."""
    from debater_search.files import folder_size
    from debater_search.store.manifest import MANIFEST_NAME, IndexManifest, read_manifest

    manifest = read_manifest(index / MANIFEST_NAME, IndexManifest)
    return {
        "index": str(index),
        "model": manifest.encoder.name if manifest.encoder else None,
        "documents": manifest.corpus.documents,
        "type": manifest.vectors.type if manifest.vectors else "lexical only",
        "generation": manifest.generation,
        "bytes": folder_size(index),
        "created": manifest.created,
    }


def _row(summary: dict[str, Any]) -> tuple[str, ...]:
    model = summary["model"] or "words only"
    documents, size = f"{summary['documents']:,}", size_in_words(summary["bytes"])
    return summary["index"], model, documents, size, _age(summary["created"])


def _age(created: str) -> str:
    """The time since an index was built, in its largest unit."""
    try:
        since = datetime.now(UTC) - datetime.fromisoformat(created)
    except (ValueError, TypeError):  # a manifest may say anything
        return "unknown"
    return age_in_words(since.total_seconds()) or "now"


def _show_document(out: Output, document: dict[str, Any]) -> None:
    """Print the fields, aligned, and the text below them."""
    facts = {"id": document["id"], "title": document["title"], **document["metadata"]}
    out.facts([(name, _in_words(value)) for name, value in facts.items() if value not in ("", None)])
    if document["text"]:
        out.show("", document["text"])


def _in_words(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
