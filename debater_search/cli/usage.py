"""What Typer refuses to parse, in sentences like all others: an unknown option, a value that is none of the choices."""

import re
import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from debater_search.errors import InvalidError

_EXTRA = re.compile(r"Got unexpected extra argument(?:s|\(s\))? \((?P<words>.*)\)", re.DOTALL)
_CHOICES = re.compile(r"'(?P<given>.*)' is not one of (?P<choices>'.*')\.?$", re.DOTALL)

# The base of Typer's errors of usage, which Typer itself does not export.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


@contextmanager
def in_sentences(context: Any) -> Iterator[None]:
    """Turn an error of usage of the block into an InvalidError; `context` is Typer's, of the command."""
    try:
        yield
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # no mistake: the program without arguments
            raise
        raise _explained(error, context) from None


def unknown_command(name: str, known: Collection[str]) -> InvalidError:
    """The error for a command that does not exist, with the nearest one."""
    from debater_search.refusals import nearest

    near = nearest(name, known)
    return InvalidError(
        f"There is no command {name}.", f"Did you mean {near}?" if near else "debater --help lists the commands."
    )


def _explained(error: Any, context: Any) -> InvalidError:
    help_of = f"{context.command_path} --help"
    if isinstance(error, typer.BadParameter) and error.param is not None:
        return _bad_value(error, help_of)
    if hasattr(error, "possibilities"):
        return _unknown_option(error.option_name, context.command, help_of)
    if hasattr(error, "option_name"):
        return InvalidError(f"{error.option_name} needs a value.", f"{help_of} explains it.")
    if found := _EXTRA.match(error.format_message()):
        return _too_many(found["words"], context, help_of)
    return InvalidError(f"{error.format_message().rstrip('.')}.", f"{help_of} shows how it is used.")


def _too_many(words: str, context: Any, help_of: str) -> InvalidError:
    """The error for words behind the last argument: the rest of a query, where the command takes one."""
    if query := context.params.get("query"):
        return InvalidError(
            f"The query has several words: {query} {words}.",
            f"Put the query in quotes: {context.command_path} {_in_quotes(f'{query} {words}')}",
        )
    return InvalidError(f"Unexpected argument: {words}.", f"{help_of} shows how it is used.")


def _in_quotes(query: str) -> str:
    return shlex.quote(query) if set(query) & set('"$`\\!') else f'"{query}"'


def _bad_value(error: Any, help_of: str) -> InvalidError:
    """The error for the value of an option or argument, which may be missing."""
    from pydantic import ValidationError

    from debater_search.refusals import either, nearest, quoted, refusal_of

    options = [option for option in error.param.opts if option.startswith("-")]
    name = max(options, key=len) if options else (error.param.metavar or error.param.name.upper())
    if not error.message:  # only a missing argument has none
        return InvalidError(f"{name} is missing.", f"{help_of} shows how it is used.")
    if found := _CHOICES.search(error.message):
        choices = re.findall(r"'([^']*)'", found["choices"])
        near = nearest(found["given"], choices)
        hint = f"Did you mean {near}?" if near else f"{help_of} explains them."
        place = name if options else "The value"
        return InvalidError(f"{place} is {quoted(found['given'])}, but it must be {either(choices)}.", hint)
    if isinstance(error.__cause__, ValidationError):
        errors = error.__cause__.errors()
        return InvalidError(f"{refusal_of(errors, name, quoted(errors[0]['input']))}.", f"{help_of} explains it.")
    return InvalidError(f"{name}: {error.message.rstrip('.')}.", f"{help_of} explains it.")


def _unknown_option(option: str, command: Any, help_of: str) -> InvalidError:
    """The error for an option that a command does not have, with those that begin so, or else the nearest."""
    from debater_search.refusals import either, nearest

    known = {name.lstrip("-"): name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    word = option.lstrip("-")
    begin = [name for short, name in known.items() if len(word) > 1 and short.startswith(word)]
    near = nearest(word, known, 0.7) if len(word) > 1 else None
    meant = begin or ([known[near]] if near else [])
    hint = f"Did you mean {either(meant)}?" if meant else f"{help_of} lists the options."
    return InvalidError(f"There is no option {option}.", hint)
