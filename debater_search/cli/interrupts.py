"""Ctrl-C and SIGTERM end a command with one line and exit code 130, whatever it was doing."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 130
MESSAGE = "Interrupted."


class Interruption(SystemExit):
    """Ends a command as Ctrl-C does, with a sentence of what to do next."""

    def __init__(self, hint: str) -> None:
        super().__init__(EXIT_CODE)
        self.hint = hint


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into KeyboardInterrupt for the duration of the block."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """Let the first signal end the process, while the block runs: it only reads, and waits for input in a thread."""
    before = {number: signal.signal(number, _leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    # A second signal leaves at once: the first may wait for a thread or be swallowed by a library.
    signal.signal(signum, _leave)
    if _importing(frame):
        # Libraries catch what their imports raise, and an interrupted C extension may crash. Nothing is lost here.
        _leave(signum, frame)
    raise KeyboardInterrupt


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _leave(_signum: int, _frame: FrameType | None) -> None:
    os.write(2, f"{MESSAGE}\n".encode())  # not sys.stderr: its buffer may be in use by the code we interrupted
    os._exit(EXIT_CODE)
