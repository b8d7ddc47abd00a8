"""Ctrl-C and SIGTERM end a command with one line and exit code 130, whatever it was doing.

At a prompt Ctrl-C ends only the line or the query at hand.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

EXIT_CODE = 130
MESSAGE = "Interrupted."


class Interruption(SystemExit):
    """Ends a command as Ctrl-C does, with a sentence of what to do next."""

    def __init__(self, hint: str) -> None:
        super().__init__(EXIT_CODE)
        self.hint = hint


class Cancelled(KeyboardInterrupt):
    """Ctrl-C within `cancelling`."""


def interruptible() -> AbstractContextManager[None]:
    """Turn SIGINT and SIGTERM into KeyboardInterrupt for the duration of the block."""
    return _handling(_interrupt, signal.SIGINT, signal.SIGTERM)


def cancelling() -> AbstractContextManager[None]:
    """Let every Ctrl-C raise `Cancelled` for the duration of the block; SIGTERM ends the command as before."""
    return _handling(_cancel, signal.SIGINT)


def leaving_at_once() -> AbstractContextManager[None]:
    """Let the first signal end the process, while the block runs: it only reads, and waits for input in a thread."""
    return _handling(_leave, signal.SIGINT, signal.SIGTERM)


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    # A second signal leaves at once: the first may wait for a thread or be swallowed by a library.
    signal.signal(signum, _leave)
    if _importing(frame):
        # Libraries catch what their imports raise, and an interrupted C extension may crash. Nothing is lost here.
        _leave(signum, frame)
    raise KeyboardInterrupt


def _cancel(signum: int, frame: FrameType | None) -> None:
    if _importing(frame):
        _leave(signum, frame)
    raise Cancelled


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _leave(_signum: int, _frame: FrameType | None) -> None:
    os.write(2, f"{MESSAGE}\n".encode())  # not sys.stderr: its buffer may be in use by the code we interrupted
    os._exit(EXIT_CODE)
