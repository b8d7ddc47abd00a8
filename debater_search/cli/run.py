"""Run a command: Typer parses and calls it, and every way it can end becomes an exit code."""

import os
import sys
from collections.abc import Sequence

from debater_search.cli.commands import program_for
from debater_search.cli.errors import DONE, explain, flags_of
from debater_search.cli.interrupts import EXIT_CODE as INTERRUPTED
from debater_search.cli.interrupts import MESSAGE, Interruption


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names, show what went wrong on stderr, and return the exit code."""
    _fill_closed_streams()
    program, name, arguments = program_for(sys.argv[1:] if argv is None else argv)
    try:
        program(args=list(arguments), prog_name=name)
    except Interruption as interrupted:  # a SystemExit that says more
        print(f"{MESSAGE} {interrupted.hint}", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as leaving:  # how Typer ends, with or without a usage error; None is success
        code = leaving.code if isinstance(leaving.code, int) else DONE
        if code == INTERRUPTED:  # Typer makes this of KeyboardInterrupt and says nothing
            print(MESSAGE, file=sys.stderr)
        return code
    except KeyboardInterrupt:
        print(MESSAGE, file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        return explain(error, flags_of(program))
    return DONE


def _fill_closed_streams() -> None:
    """Send what a closed stdout or stderr would have had nowhere, and keep files from being opened in their place.

    Whatever a library prints would otherwise be written into the file that has their number.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
