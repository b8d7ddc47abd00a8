"""The one error door: every way a command can end becomes an exit code and, where something went wrong, a sentence.

Below the command line, messages and hints name arguments, in backquotes: `index_type`. Here each becomes what the user
of the running command types instead: --index-type, or TASK.

done                          0
DebaterError, usage error     2   the user's mistake: a sentence and a hint
OSError of a file or disk     2 or 1   by whether the user or the machine can mend it
KeyboardInterrupt, SIGTERM  130
anything else                 1   our bug: the traceback, and a line that says so
"""

import errno
import os
import re
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING

from debater_search.errors import DebaterError

if TYPE_CHECKING:
    import typer

DONE, FAILURE, MISTAKE = 0, 1, 2

# What the user can mend by naming another file or changing its rights.
_USERS_FILE = {
    errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR,
    errno.EPERM, errno.EROFS,
}  # fmt: skip
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG}


_OTHER_NAMES = {"analyses": "analyse", "baselines": "baseline", "encoder": "model", "folder": "output"}
"""Arguments of Python functions whose command-line parameter has another name."""


def flags_of(program: "typer.Typer") -> dict[str, str]:
    """How each argument of a one-command program is typed: argument → its long flag or, if positional, its metavar."""
    import typer

    flags = {}
    for parameter in typer.main.get_command(program).params:
        if parameter.name is not None:
            options = [option for option in parameter.opts if option.startswith("--")]
            flags[parameter.name] = options[0] if options else parameter.metavar or parameter.name.upper()
    return flags | {other: flags[name] for other, name in _OTHER_NAMES.items() if name in flags and other not in flags}


def explain(error: Exception, flags: Mapping[str, str] | None = None) -> int:
    """Say on stderr what went wrong, in a sentence where it is no bug; return the exit code that fits.

    `flags`, from `flags_of`, words the arguments that messages name in backquotes; other names stay as they are.
    """
    if isinstance(error, DebaterError):
        return _say(worded(error.message, flags or {}), worded(error.hint, flags or {}), MISTAKE)
    if isinstance(error, OSError) and error.errno in _USERS_FILE | _MACHINE:
        return _say_os_error(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's own, not imported here
        return _say("The memory is full.", "Close other programs, or use a smaller batch or model.", FAILURE)
    traceback.print_exception(error)
    return _say(
        "This is a bug in debater, not your mistake.", "Please report it with the lines above and the command.", FAILURE
    )


def worded(text: str, flags: Mapping[str, str]) -> str:
    """The text with arguments in backquotes as the user types them; names that `flags` lacks stay as they are."""
    return re.sub(r"`([a-z_]+)`", lambda found: flags.get(found[1], found[0]), text)


def _say(message: str, hint: str, code: int) -> int:
    from debater_search.terminal import say

    say(f"Error: {message}")
    for line in hint.splitlines():  # a command ends its line, so that it can be copied
        say(line)
    return code


def _say_os_error(error: OSError) -> int:
    where = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, str | bytes) else ""
    message = f"{os.strerror(error.errno or 0)}{where}."
    if error.errno in _USERS_FILE:
        return _say(message, "Check the path and its permissions.", MISTAKE)
    return _say(message, "Free some space or handles and run the same command again.", FAILURE)
