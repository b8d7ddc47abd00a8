"""What a user did or met; anything else that escapes is a bug.

Exception
└── DebaterError(message, hint)     the kind tells each door how to answer
    ├── InvalidError                an argument, a file or a text is not what it must be
    ├── MissingError                something that was named does not exist
    ├── BusyError                   another process is at work there; try again later
    ├── DamagedError                a file on disk is not what was written
    └── UnavailableError            a library, a device, a server or room on a disk is missing
"""

from typing import ClassVar, Literal

Kind = Literal["invalid", "missing", "busy", "damaged", "unavailable"]


class DebaterError(Exception):
    """A mistake or circumstance that the user can mend: `message` says what is wrong, `hint` what to do.

    Below the command line, messages and hints name arguments (`overlap`), never flags: each door words them its way.
    `kind` is what an application decides by; the command line exits with 2 whatever it is.

    Examples:
        >>> try:
        ...     SearchEngine.open("indexes/not-there")
        ... except DebaterError as error:
        ...     print(error.kind, "-", error.message)
        missing - The index indexes/not-there does not exist.
    """

    kind: ClassVar[Kind] = "invalid"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class InvalidError(DebaterError):
    """An argument, a file or a text is not what it must be."""


class MissingError(DebaterError):
    """Something that was named does not exist: a folder, a document, a field, a model, a task."""

    kind = "missing"


class BusyError(DebaterError):
    """Another process is at work there; the same call works once it has finished."""

    kind = "busy"


class DamagedError(DebaterError):
    """A file on disk is not what was written: truncated, changed, or of another version's layout."""

    kind = "damaged"


class UnavailableError(DebaterError):
    """What the work needs is not there now: a library, a device, memory, room on a disk, a server."""

    kind = "unavailable"


KINDS: dict[str, type[DebaterError]] = {
    error.kind: error for error in (InvalidError, MissingError, BusyError, DamagedError, UnavailableError)
}
"""The error of each kind, for those that come from another process."""
