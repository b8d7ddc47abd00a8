"""The prompt of `debater search`: one query per line, from a person or a pipe; the model stays loaded."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib.util import find_spec
from typing import Protocol

from debater_search.cli.errors import MISTAKE, explain
from debater_search.cli.interrupts import Cancelled, cancelling
from debater_search.cli.options import Mode
from debater_search.cli.output import Output
from debater_search.errors import DebaterError
from debater_search.terminal import printable, say

HELP = "One query per line; :help shows what else can be typed, :q quits."
COMMANDS = {
    ":k 20": "show 20 hits per query",
    ":mode lexical": "search by words; dense: by vectors, hybrid: by both",
    ":where year > 2020": "search only documents that this filter allows",
    ":where": "search all documents again",
    ":like ID": "find documents like the one with this id",
    ":help": "show these commands",
    ":q": "quit; so does Ctrl-D",
}
QUIT = (":q", ":quit", ":exit")
OTHERS_COMMANDS = ("help", "quit", "exit")  # at the prompts of other programs; here they are queries
WAYS = ":help shows commands, :q quits."
MAX_DIGITS = 19  # of a number; no collection has as many documents
SHOWN = 40  # characters of a filter in the prompt
HISTORY = 1000  # lines kept from prompt to prompt
EXPECTED = {"k": "a whole number from 1", "mode": "one of " + ", ".join(Mode), "like": "the id of a document"}


class Conversation(Protocol):
    """What the prompt needs: settings that a line may change, and an answer to a query."""

    k: int
    mode: Mode
    where: str | None

    def restrict(self, where: str | None) -> None:
        """Filter the documents from now on; None removes the filter."""

    def answer(self, query: str) -> None:
        """Search and print."""

    def answer_like(self, id: str) -> None:
        """Search for documents like one and print."""


def converse(search: Conversation, out: Output) -> int:
    """Answer line after line until `:q` or the end of input; a line that fails is explained and the next one read.

    A person's Ctrl-C cancels the line or the query, and the next line is read.

    Returns the exit code: 2 if a line of a pipe failed, else 0.
    """
    failed, person = False, sys.stdin.isatty()
    with _history(out), cancelling() if person else nullcontext():
        for line in _lines(search, out):
            try:
                if line in QUIT:
                    break
                if line == ":help":
                    print(
                        *(f"{command:<20}{effect}" for command, effect in COMMANDS.items()), sep="\n", file=sys.stderr
                    )
                elif line.startswith(":"):
                    done = obey(line, search)
                    if done and person:
                        say(done)
                else:
                    search.answer(line)
                    if line in OTHERS_COMMANDS and person:
                        say(WAYS)
            except Cancelled:
                say("")  # the terminal shows ^C
                say("The query was cancelled.")
            except DebaterError as error:
                explain(error)
                failed = True
    return MISTAKE if failed and not person else 0


def obey(line: str, search: Conversation) -> str:
    """Do what `:k 20`, `:mode lexical`, `:where year > 2020` or `:like ID` says; DebaterError for anything else.

    Returns what holds from now on, if a setting was changed.
    """
    name, _, value = line[1:].partition(" ")
    value = value.strip()
    if name == "k" and value.isascii() and value.isdigit() and len(value) < MAX_DIGITS and int(value) > 0:
        search.k = int(value)
        return f"{search.k:,} {'hit' if search.k == 1 else 'hits'} per query from now on."
    if name == "mode" and value in set(Mode):
        search.mode = Mode(value)
        return f"The mode is {search.mode.value} from now on."
    if name == "where":
        search.restrict(value or None)
        return f"Only documents with {value} are searched from now on." if value else "All documents are searched."
    if name == "like" and value:
        search.answer_like(value)
        return ""
    if name in EXPECTED:
        raise DebaterError(f":{name} takes {EXPECTED[name]}, not {value!r}.", ":help shows all commands.")
    raise DebaterError(f"There is no command {line!r}.", ":help shows all commands.")


@contextmanager
def _history(out: Output) -> Iterator[None]:
    """Keep typed lines for the next prompt, if the platform has readline."""
    if not sys.stdin.isatty() or not out.on_terminal or out.as_json or find_spec("readline") is None:
        yield
        return
    import readline

    from debater_search.cache import cache_folder

    file = cache_folder("prompt") / "history"
    with suppress(OSError):  # the first prompt finds no history
        readline.read_history_file(file)
    readline.set_history_length(HISTORY)
    try:
        yield
    finally:
        with suppress(OSError):
            readline.write_history_file(file)


def _prompt(search: Conversation) -> str:
    """`query [lexical, year > 2020]> `: what differs from a plain search is in brackets."""
    settings = [search.mode.value] if search.mode is not Mode.dense else []
    if search.where:
        settings.append(search.where if len(search.where) <= SHOWN else f"{search.where[:SHOWN]}…")
    return f"query [{printable(', '.join(settings))}]> " if settings else "query> "


def _lines(search: Conversation, out: Output) -> Iterator[str]:
    """Non-empty lines of standard input, asked for where a person types them."""
    if sys.stdin.isatty():
        say(HELP)
    elif isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # a line that is not UTF-8 fails alone
    told = False
    while True:
        try:
            line = out.ask(_prompt(search)) if sys.stdin.isatty() else sys.stdin.readline()
        except Cancelled:
            say("")  # the next prompt gets a line of its own
            if not told:
                say(":q or Ctrl-D quits.")
            told = True
            continue
        except EOFError:
            print(file=sys.stderr)  # the person's Ctrl-D leaves the cursor behind the prompt
            return
        if not line and not sys.stdin.isatty():
            return
        if line.strip():
            yield line.strip()
