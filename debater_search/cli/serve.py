"""`debater serve` and `debater keys`: indexes over HTTP, and who may use them."""

import logging
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from debater_search.cli.index_option import Indexes
from debater_search.cli.options import INDEXES, Device, Json, examples
from debater_search.cli.output import Output, results
from debater_search.errors import DebaterError

if TYPE_CHECKING:
    from datetime import datetime

    from debater_search.serving.keys import Key

log = logging.getLogger(__name__)

SERVE_EXAMPLES = examples(
    "debater serve indexes/papers",
    "debater serve --host 0.0.0.0 --keys keys.json      # behind a proxy with TLS",
    "debater serve indexes/papers --judgements judgements.jsonl",
    "debater serve indexes/papers --rerank cross-encoder/ms-marco-MiniLM-L6-v2",
)
KEYS_EXAMPLES = examples(
    "debater keys add page --scope search,document --index 'papers*'",
    "debater keys add indexer --scope write --expires 90d",
    "debater keys list",
    "debater keys revoke page",
)
_KEYS = Path("keys.json")
LIMITS, OFFERS = "Limits", "Page, tools and log"


def serve(
    indexes: Indexes = None,
    host: Annotated[str, typer.Option(help="Address to listen on.", metavar="HOST")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for a free one.", metavar="N")
    ] = 8080,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", help="File of keys, which `debater keys` makes.", metavar="FILE"),
    ] = None,
    no_keys: Annotated[bool, typer.Option("--no-keys", help="Serve other machines without keys.")] = False,
    rerank: Annotated[str | None, typer.Option(help="Reranker: a folder or a hub id.", metavar="MODEL")] = None,
    judgements: Annotated[
        Path | None, typer.Option(help="Take judgements of hits, and append them to this file.", metavar="FILE")
    ] = None,
    max_k: Annotated[
        int, typer.Option(min=1, max=10_000, help="Most hits of a search.", metavar="N", rich_help_panel=LIMITS)
    ] = 100,
    queue: Annotated[
        int,
        typer.Option(
            min=1, help="Requests that may wait; more are refused with 429.", metavar="N", rich_help_panel=LIMITS
        ),
    ] = 256,
    rate: Annotated[
        float,
        typer.Option(
            min=0,
            help="Requests per second of a key or address; 0: no limit.",
            metavar="N",
            rich_help_panel=LIMITS,
        ),
    ] = 20,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Origin of web pages whose scripts may use it.", metavar="URL", rich_help_panel=OFFERS),
    ] = None,
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="Serve the search page.", rich_help_panel=OFFERS)
    ] = True,
    mcp: Annotated[
        bool, typer.Option("--mcp/--no-mcp", help="Serve agents' tools (MCP) at /mcp/.", rich_help_panel=OFFERS)
    ] = True,
    log_queries: Annotated[
        bool, typer.Option("--log-queries", help="Log the text of queries.", rich_help_panel=OFFERS)
    ] = False,
    device: Device = "auto",
) -> None:
    """Serve indexes over HTTP: an API, a search page, tools for agents.

    The API searches, reads and changes documents, and embeds and reranks texts.
    """
    with results(False):
        from debater_search.serving import Settings, require_libraries
        from debater_search.store.folders import all_indexes

        settings = Settings(
            host=host,
            port=port,
            keys=keys,
            no_keys=no_keys,
            rerank=rerank,
            judgements=judgements,
            device=device,
            allow_origins=tuple(allow_origin or ()),
            page=page,
            mcp=mcp,
            log_queries=log_queries,
            max_k=max_k,
            queue=queue,
            rate=rate,
        )
        folders = indexes or all_indexes(INDEXES)
        require_libraries()
        if rerank is not None:
            _require_reranker(rerank)
        from debater_search.serving.server import run

        run(folders, settings)


def _require_reranker(model: str) -> None:
    """Raise DebaterError for what is no reranker, before the server listens: it loads its models afterwards."""
    from debater_search.encoder.loading.cross_encoder import check_folder
    from debater_search.encoder.loading.hub import locate
    from debater_search.extras import require_installed

    require_installed("sentence_transformers", extra="rerank")
    check_folder(locate(model).folder)


class Action(StrEnum):
    """What `debater keys` does."""

    add = "add"
    list = "list"
    revoke = "revoke"


def keys(
    action: Annotated[Action, typer.Argument(help="Add, list or revoke.", metavar="add|list|revoke")],
    name: Annotated[str | None, typer.Argument(help="Name of the key.", metavar="NAME")] = None,
    scope: Annotated[
        str,
        typer.Option(
            metavar="SCOPE,…", help="What the key may do: search, document, embed, rerank, metrics, write, judge."
        ),
    ] = "search,document",
    index: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Pattern of the names of indexes that it may see. Default: all."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="PERIOD", help="Period after which it expires: 12h, 90d, 4w.")
    ] = None,
    file: Annotated[Path, typer.Option("--keys", help="File of keys.", metavar="FILE")] = _KEYS,
    as_json: Json = False,
) -> None:
    """Make, list and revoke the keys of a server.

    A key is shown once; the file keeps its hash.
    """
    with results(as_json) as out:
        from debater_search.serving.keys import add_key, expiry, list_keys, revoke_key

        if action is Action.list:
            return _show(out, list_keys(file))
        if name is None:
            raise DebaterError("No name was given.", f"Say: debater keys {action} NAME.")
        if action is Action.revoke:
            revoke_key(file, name)
            return out.json({"revoked": name}) if as_json else out.show(f"Revoked {name}.")
        until = None if expires is None else expiry(expires)
        scopes = [part.strip() for part in scope.split(",") if part.strip()]
        token = add_key(file, name, scopes=scopes, indexes=index or ["*"], expires=until)
        _tell_unmatched(index or [])
        if as_json:
            return out.json({"name": name, "key": token})
        return out.facts([("key", token), ("name", name), ("file", f"{file} (keeps only a hash: note the key now)")])


def _tell_unmatched(patterns: "Sequence[str]") -> None:
    """Warn of patterns that match none of the indexes here; a server may have others."""
    from debater_search.serving.keys import Caller
    from debater_search.store.folders import list_indexes

    names = [folder.name for folder in list_indexes(INDEXES)]
    for pattern in patterns:
        if names and not any(map(Caller("", frozenset(), (pattern,)).may_see, names)):
            log.warning("No index in %s matches %s. Indexes: %s.", INDEXES, pattern, ", ".join(names))


def _show(out: Output, keys: "Sequence[Key]") -> None:
    """Print keys, without what would let anybody use them."""
    if out.as_json:
        return out.json({"keys": [key.model_dump(mode="json", exclude={"sha256"}) for key in keys]})
    rows = [
        (key.name, ", ".join(key.scopes), ", ".join(key.indexes), "expired" if key.has_expired else _date(key.expires))
        for key in keys
    ]
    return out.table("", ("key", "scopes", "indexes", "expires"), rows, text_columns=4)


def _date(when: "datetime | None") -> str:
    return "never" if when is None else f"{when:%Y-%m-%d %H:%M} UTC"
