"""The one exception for what a user did or met; anything else that escapes is a bug.

Exception
└── DebaterError(message, hint)   command line: one sentence, a hint, exit code 2
"""


class DebaterError(Exception):
    """A mistake or circumstance that the user can mend: `message` says what, `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()
