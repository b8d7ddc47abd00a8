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

from debater_search.terminal import printable, printable_json, printable_lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PLAIN_WIDTH = 1000  # where there is no terminal, nothing is wrapped

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

    def show(self, *parts: "RenderableType") -> None:
        """Print text or tables; colours only on a terminal. A `str` is taken literally."""
        console = self._console()
        for part in parts:
            if isinstance(part, str):
                console.print(printable_lines(part), soft_wrap=True)
            else:
                console.print(part)
        self.stream.flush()

    def table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1
    ) -> None:
        """Print a table: the first `text_columns` to the left, the others, numbers, to the right."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        heading = Text(printable(title)) if title else None
        lines = box.SIMPLE_HEAD if self.on_terminal else None
        table = Table(title=heading, title_justify="left", box=lines, pad_edge=False)
        for number, column in enumerate(columns):
            table.add_column(Text(printable(column)), justify="left" if number < text_columns else "right")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        self.show(table)

    def growing_table(
        self, columns: Sequence[str], widths: Sequence[int], *, text_columns: int = 1
    ) -> Callable[[Sequence[str]], None]:
        """Print the head of a table and return what prints a row of it; in JSON mode neither prints anything."""

        def row(cells: Sequence[str]) -> None:
            if not self.as_json:
                fitted = [
                    f"{printable(cell):{'<' if number < text_columns else '>'}{width}}"
                    for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
                ]
                self.show("  ".join(fitted))

        row(columns)
        return row

    def facts(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Print `name  value` lines, aligned."""
        width = max((len(name) for name, _ in pairs), default=0)
        self.show(*(f"{name:<{width}}  {printable(value)}" for name, value in pairs))

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
    def on_terminal(self) -> bool:
        """Whether a person reads the results as they come."""
        return self.stream.isatty()

    def _console(self) -> "Console":
        from rich.console import Console

        return Console(file=self.stream, width=None if self.on_terminal else PLAIN_WIDTH, markup=False, highlight=False)


class _Notes(logging.Handler):
    """One line on stderr for each note or warning of ours; what was said before is not said again."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        kind = f"{record.levelname.capitalize()}: " if record.levelno >= logging.WARNING else ""
        line = f"{kind}{printable(record.getMessage())}"
        if line not in self._said:
            self._said.add(line)
            print(line, file=sys.stderr, flush=True)


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
