"""The Typer program: which commands there are."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

import debater_search
from debater_search.cli import (
    change,
    doctor,
    drop,
    eval,
    export,
    facets,
    index,
    info,
    mcp,
    mine,
    reading,
    search,
    serve,
    train,
    verify,
)
from debater_search.cli.help import Command, Group
from debater_search.cli.options import INDEXES, Device, Force, Json, examples
from debater_search.cli.output import results

_HELP = {"help_option_names": ["--help", "-h"]}
app = typer.Typer(cls=Group, no_args_is_help=True, pretty_exceptions_enable=False, context_settings=_HELP)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"debater {debater_search.__version__}")
        raise typer.Exit


@app.callback(epilog="Each command's --help shows examples.")
def debater(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Dense retrieval with language models that deliberate before they search."""


def demo(
    train: Annotated[
        bool,
        typer.Option(
            "--train", help="Train an encoder first and compare it; takes minutes and needs a clone of the repository."
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Default: indexes/demo, with --train indexes/demo-trained."),
    ] = None,
    force: Force = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Try it: index the bundled collection, then ask your own questions."""
    with results(as_json) as out:
        from debater_search.cli.demo import run_demo
        from debater_search.cli.demo_train import train_demo

        if train:
            return train_demo(out, output or INDEXES / "demo-trained", force=force, device=device)
        raise typer.Exit(run_demo(out, output or INDEXES / "demo", force=force, device=device))


COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    "train": (train.train, train.EXAMPLES),
    "index": (index.index, index.EXAMPLES),
    "add": (change.add, change.ADD_EXAMPLES),
    "delete": (change.delete, change.DELETE_EXAMPLES),
    "compact": (change.compact, change.COMPACT_EXAMPLES),
    "drop": (drop.drop, drop.EXAMPLES),
    "search": (search.search, search.EXAMPLES),
    "serve": (serve.serve, serve.SERVE_EXAMPLES),
    "keys": (serve.keys, serve.KEYS_EXAMPLES),
    "mcp": (mcp.mcp, mcp.EXAMPLES),
    "eval": (eval.evaluate, eval.EXAMPLES),
    "mine": (mine.mine, mine.EXAMPLES),
    "export": (export.export, export.EXAMPLES),
    "info": (info.info, info.EXAMPLES),
    "list": (reading.list_all, reading.LIST_EXAMPLES),
    "get": (reading.get, reading.GET_EXAMPLES),
    "facets": (facets.facets, facets.EXAMPLES),
    "verify": (verify.verify, verify.EXAMPLES),
    "doctor": (doctor.doctor, doctor.EXAMPLES),
    "demo": (demo, examples("debater demo", "debater demo --train   # train, index, search, compare")),
}
GROUPS: dict[str, str] = {
    **dict.fromkeys(("demo", "doctor"), "Try it, and find out what is wrong"),
    **dict.fromkeys(("index", "add", "delete", "compact", "verify", "drop"), "Build and change an index"),
    **dict.fromkeys(("search", "facets", "list", "info", "get", "serve", "keys", "mcp"), "Search and serve"),
    **dict.fromkeys(("train", "mine", "eval", "export"), "Train and measure a model"),
}
"""Command → its group in --help, in the order of --help."""

for _name in dict.fromkeys([*GROUPS, *COMMANDS]):
    app.command(_name, cls=Command, epilog=COMMANDS[_name][1], rich_help_panel=GROUPS.get(_name))(COMMANDS[_name][0])


def program_for(arguments: Sequence[str]) -> tuple[typer.Typer, str, Sequence[str]]:
    """The Typer program that understands `arguments`, its name, and what is left for it to parse.

    Where the first argument is a command, that is a program of this command alone: before the command's --help Typer
    would check the options of the whole program, and import pydantic for it, which takes half as long again.
    """
    name = arguments[0] if arguments else ""
    if name not in COMMANDS:
        return app, "debater", arguments
    function, epilog = COMMANDS[name]
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name, cls=Command, epilog=epilog, context_settings=_HELP)(function)
    return alone, f"debater {name}", arguments[1:]
