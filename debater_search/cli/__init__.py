"""The `debater` command line: parses, calls one stage, prints. Stages are imported when a command runs, not before."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from debater_search.cli.commands import app as app

__all__ = ["app", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command (`argv` without the program's name; default: sys.argv) and return its exit code.

    0 done, 1 our failure, 2 the user's mistake, 130 interrupted.
    """
    # First of all, so that even an interrupt during the imports below ends in one line and 130.
    from debater_search.cli.interrupts import interruptible

    with interruptible():
        from debater_search.cli.run import run

        return run(argv)


def __getattr__(name: str) -> Any:
    if name == "app":
        from debater_search.cli.commands import app

        return app
    raise AttributeError(f"module 'debater_search.cli' has no attribute {name!r}")
