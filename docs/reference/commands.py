"""The page of commands, from the Typer program."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer

from docs.reference.markdown import cell, code, table

INTRODUCTION = """# Commands

Every command, as its `--help` shows it; made from the program by `make reference`. Exit codes: [Errors](errors.md).
Options that share a line are one option. `--json` prints one JSON document on standard output and nothing else there;
progress and messages go to standard error.

"""


def page() -> str:
    """The page."""
    from debater_search.cli import app

    program = typer.main.get_command(app)
    return INTRODUCTION + "\n".join(_sections(program, "debater", typer.Context(program, info_name="debater")))


def _sections(program: Any, name: str, context: typer.Context) -> Iterator[str]:
    """A section for each command of a program, and of programs in it."""
    for word, command in program.commands.items():
        inner = typer.Context(command, info_name=word, parent=context)
        if hasattr(command, "commands"):
            yield from _sections(command, f"{name} {word}", inner)
        elif not command.hidden:
            yield _section(command, f"{name} {word}", inner)


def _section(command: Any, name: str, context: typer.Context) -> str:
    pieces = [re.sub(r"\{(.*)\}", r"\1", piece) for piece in command.collect_usage_pieces(context)]
    usage = " ".join([name, *pieces])
    parts = [f"## {name}", inspect.cleandoc(command.help or ""), f"```text\n{usage}\n```"]
    for title, kind in (("argument", "argument"), ("option", "option")):
        rows = list(_rows(command, context, kind))
        if rows:
            parts.append(table((title, "meaning"), rows).rstrip())
    examples = inspect.cleandoc(command.epilog or "").removeprefix("Examples:")
    if examples:
        parts.append(f"Examples:\n\n```sh\n{inspect.cleandoc(examples)}\n```")
    return "\n\n".join(parts) + "\n"


def _rows(command: Any, context: typer.Context, kind: str) -> Iterator[tuple[str, str]]:
    """What --help says of each parameter of a kind, but for --help itself; the usage tells which are required."""
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if parameter.param_type_name == kind and record is not None and parameter.name != "help":
            name = record[0] if kind == "option" else record[0].partition(" ")[0]
            yield code(name), cell(record[1].removesuffix("[required]"))
