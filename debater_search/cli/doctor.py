"""`debater doctor`: why is it slow or broken here?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from debater_search.cli.completion import index_names
from debater_search.cli.errors import MISTAKE
from debater_search.cli.index_option import found_index
from debater_search.cli.options import Json, examples
from debater_search.cli.output import Output, results

if TYPE_CHECKING:
    from debater_search.doctor import Finding

EXAMPLES = examples(
    "debater doctor",
    "debater doctor --index indexes/papers --model debater-small",
    "debater doctor --online --json",
)
_COLOURS = {"ok": "green", "note": "yellow", "problem": "bold red"}


def doctor(
    index: Annotated[
        Path | None,
        typer.Option(
            "--index",
            "-i",
            help="Also examine this index: a folder, or a name in indexes/.",
            metavar="INDEX",
            autocompletion=index_names,
            callback=found_index,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Also load this model and encode 64 texts.", metavar="M")
    ] = None,
    online: Annotated[
        bool, typer.Option("--online", help="Also ask the services in the network: the hub, Milvus, S3, Ray.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Find out why it is slow or broken here.

    Examines libraries, GPUs, threads, memory, disk and caches. Each line is ok, a note or a problem, with the command
    that mends it. Exit code 2 if there is a problem.
    """
    with results(as_json) as out:
        from debater_search.doctor import Asked, examine

        found = []
        for finding in examine(Asked(None if index is None else str(index), model, online)):
            found.append(finding)
            if not as_json:
                _show(out, finding)
        problems, notes = (sum(finding.level == level for finding in found) for level in ("problem", "note"))
        if as_json:
            out.json({"problems": problems, "notes": notes, "findings": [finding.as_dict() for finding in found]})
        else:
            out.show(f"{_count(problems, 'problem')}, {_count(notes, 'note')}.")
        raise typer.Exit(MISTAKE if problems else 0)


def _show(out: Output, finding: "Finding") -> None:
    from rich.text import Text

    from debater_search.terminal import printable

    lead = Text.assemble((f"{finding.level:<9}", _COLOURS[finding.level]), f"{finding.subject:<12}")
    out.beside(lead, finding.message)
    if finding.remedy:
        out.beside(" " * len(lead), Text(printable(finding.remedy), style="bold"))


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
