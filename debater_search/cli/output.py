"""The one sink of results: tables for people, one JSON document for programs. Nothing else writes to stdout.

While a command works, `sys.stdout` is stderr: whatever a library prints cannot mix with the results.
"""

import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, TextIO

from debater_search.cli.errors import worded
from debater_search.cli.layout import layout
from debater_search.terminal import (
    NARROWEST,
    breaks,
    printable,
    printable_json,
    printable_lines,
    say,
    screen_width,
    text_width,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

# Set before torch and transformers are imported; what the user has set stays.
_ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads starve each other on a shared machine
    "TOKENIZERS_PARALLELISM": "true",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


@contextmanager
def results(as_json: bool) -> Iterator["Output"]:
    """Everything a command does: `with results(as_json) as out: …; out.json(…)`. Notes and progress go to stderr."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    out = Output(sys.stdout, as_json)
    with redirect_stdout(sys.stderr), _notes_on_stderr(), warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")  # libraries' advice to their programmers
        yield out


class Output:
    """Where results go. Commands call `json` or the methods for people, by `as_json`."""

    def __init__(self, stream: TextIO, as_json: bool) -> None:
        self.stream, self.as_json = stream, as_json
        if isinstance(stream, io.TextIOWrapper):  # a title outside the locale's alphabet must not end a command
            stream.reconfigure(encoding="utf-8" if as_json else None, errors="backslashreplace")

    def csv(self, rows: Iterable[Sequence[str]]) -> None:
        """Write rows as CSV (RFC 4180), in UTF-8; on a terminal control characters are spelled out."""
        import csv

        if isinstance(self.stream, io.TextIOWrapper):
            self.stream.reconfigure(encoding="utf-8", newline="")
        written = io.StringIO()
        csv.writer(written, lineterminator="\n" if self.on_terminal else "\r\n").writerows(rows)
        self.stream.write(printable_lines(written.getvalue()) if self.on_terminal else written.getvalue())
        self.stream.flush()

    def json(self, document: Any) -> None:
        """Write one JSON document on one line."""
        self.stream.write(printable_json(json.dumps(document, ensure_ascii=False, allow_nan=False)) + "\n")
        self.stream.flush()

    def show(self, *parts: "str | Text") -> None:
        """Print text; colours, and lines broken between words, only on a terminal. A `str` is taken literally."""
        console = self._console()
        for part in parts:
            text = printable_lines(part, self.width) if isinstance(part, str) else part
            console.print(text, soft_wrap=True)
        self.stream.flush()

    def beside(self, lead: "str | Text", text: "str | Text") -> None:
        """Print `text`, one line, beside `lead`; on a terminal its further lines stand below its first one."""
        from rich.text import Text

        lead, text = (Text(printable(part)) if isinstance(part, str) else part for part in (lead, text))
        indent, lines = text_width(lead.plain), [text]
        if self.width is not None:
            if indent > self.width // 2:  # too little is left beside it
                self.show(lead)
                lead, indent = Text("    "), 4
            lines = list(text.divide(breaks(text.plain, max(self.width - indent, NARROWEST))))
        for number, line in enumerate(lines):
            line.rstrip()
            self.show((lead if number == 0 else Text(" " * indent)) + line)

    def next(self, *commands: str) -> None:
        """Print what to do next. Commands are never broken into lines, so that they can be copied."""
        from rich.text import Text

        for number, command in enumerate(commands):
            self.show(Text(("Next: " if number == 0 else "      ") + printable(command)))

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> None:
        """Print a table: the first `text_columns` to the left, the others, numbers, to the right."""
        from rich.text import Text

        if title:
            self.beside("", Text(printable(title), style="bold"))
        row = self.growing_table(head, rows, text_columns=text_columns)
        for cells in rows:
            row(cells)

    def growing_table(
        self, head: Sequence[str], expected: Sequence[Sequence[str]], *, text_columns: int = 1
    ) -> Callable[[Sequence[str]], None]:
        """What prints the rows of a table, and its head above the first one; in JSON mode it prints nothing.

        Columns are as wide as those of the `expected` rows, and no cell is cut.
        """
        from rich.text import Text

        printed = [list(map(printable, cells)) for cells in [head, *expected]]
        places = layout(printed[0], printed[1:], text_columns, self.width)

        to_come = [Text(line, style="dim") for line in places.lines(printed[0], is_head=True)]

        def row(cells: Sequence[str]) -> None:
            if not self.as_json:
                self.show(*to_come, *map(Text, places.lines(list(map(printable, cells)))))
                to_come.clear()

        return row

    def facts(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Print `name  value` lines, aligned."""
        names = [printable(name) for name, _ in pairs]
        width = max(map(text_width, names), default=0)
        for name, (_, value) in zip(names, pairs, strict=True):
            self.beside(f"{name}{' ' * (width - text_width(name))}  ", value)

    def ask(self, prompt: str) -> str:
        """Read one line that a person types, with line editing and history; EOFError at the end."""
        if self.as_json or not self.on_terminal:
            sys.stderr.write(prompt)
            sys.stderr.flush()
            return input()
        with suppress(ImportError):  # not on every platform
            import_module("readline")  # input() edits lines once it is imported, if stdout is the terminal
        with redirect_stdout(self.stream):
            return input(prompt)

    @property
    def width(self) -> int | None:
        """The columns of the terminal that results go to; None if they go elsewhere: then no line is broken."""
        return screen_width(self.stream)

    @property
    def on_terminal(self) -> bool:
        """Whether a person reads the results as they come."""
        return self.stream.isatty()

    def _console(self) -> "Console":
        from rich.console import Console

        return Console(file=self.stream, width=self.width, markup=False, emoji=False, highlight=False)


NOTED = {"columns": "--columns", "passages": "--passages"}
"""Arguments that notes of any command name, as the user of `debater index` types them."""


class _Notes(logging.Handler):
    """One line on stderr for each note or warning of ours; what was said before is not said again."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        kind = f"{record.levelname.capitalize()}: " if record.levelno >= logging.WARNING else ""
        line = f"{kind}{worded(record.getMessage(), NOTED)}"
        if line not in self._said:
            self._said.add(line)
            say(line)


@contextmanager
def _notes_on_stderr() -> Iterator[None]:
    logger, handler = logging.getLogger("debater_search"), _Notes()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
