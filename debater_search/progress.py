"""One progress line for every long job: what is done, how fast, how long still. It goes to stderr.

On a terminal the line is live (rich); elsewhere a plain line appears every few seconds, so that logs stay readable.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from debater_search.terminal import printable, text_width

PLAIN_LINE_SECONDS = 10.0
SEPARATOR = " · "

_SLOW = 0.1
"""Below so many units per second, the line says how long one takes."""


def duration(seconds: float) -> str:
    """Seconds as people say them: 42s, 3m10s, 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class Progress:
    """Counts work done and shows it. Made by `progress`; `advance` is all that a job calls."""

    def __init__(self, label: str, total: int | None, unit: str, enabled: bool) -> None:
        self.label, self.total, self.unit = printable(label), total, unit
        self.done = self._before = 0
        self.facts = ""
        self.filled = 0
        """Texts that have as many tokens as the model reads: almost all of them were cut."""
        self._tokens = self._padded = 0
        self._enabled = enabled
        self._start = time.monotonic()
        self._last_line, self._printed = self._start, (-1, "")  # when, and what it said
        self._live = None
        if enabled and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True, markup=False, emoji=False, highlight=False)  # file names may hold [ and :
            self._live = Live(self.line(console.width), console=console, refresh_per_second=8, transient=False)
            self._live.start()

    def resume_at(self, done: int) -> None:
        """Count `done` units as finished before the clock started; they do not enter the rate."""
        self.done = self._before = done

    def advance(self, n: int = 1, facts: str = "", *, tokens: int = 0, padded: int = 0, filled: int = 0) -> None:
        """`n` more units are done; `facts` (loss, …) replace those shown before.

        `tokens` were encoded for them, `padded` counts padding too: their rate and the share of padding are facts.
        `filled` of them have as many tokens as the model reads.
        """
        self.filled += filled
        self.done += n
        if padded:
            self._tokens, self._padded = self._tokens + tokens, self._padded + padded
            rate = self._tokens / max(time.monotonic() - self._start, 1e-9)
            facts = f"{rate:,.0f} tokens/s · {1 - self._tokens / self._padded:.0%} padding"
        self.facts = facts or self.facts
        if self._live is not None:
            self._live.update(self.line(self._live.console.width))
        elif self._enabled and time.monotonic() - self._last_line >= PLAIN_LINE_SECONDS:
            self._print_line()

    def line(self, width: int | None = None) -> str:
        """The line as it stands: label, count, rate, time left, facts; the last ones only if `width` has room."""
        elapsed = time.monotonic() - self._start
        rate = (self.done - self._before) / elapsed if elapsed > 0 else 0.0
        of = "" if self.total is None else f"/{self.total:,}"
        parts = [f"{self.label}: {self.done:,}{of} {self.unit}"]
        if rate > 0:
            parts.append(f"{rate:,.1f}/s" if rate >= _SLOW else f"{duration(1 / rate)} each")
        if rate > 0 and self.total is not None:
            left = self.total - self.done
            parts.append(f"{duration(left / rate)} left" if left > 0 else f"done in {duration(elapsed)}")
        parts += self.facts.split(SEPARATOR) if self.facts else []
        while width is not None and len(parts) > 1 and text_width(SEPARATOR.join(parts)) > width:
            parts.pop()
        return SEPARATOR.join(parts)

    def close(self) -> None:
        """Show the final state and give the terminal back."""
        if self._live is not None:
            self._live.update(self.line(self._live.console.width))
            self._live.stop()
        elif self._enabled and (self.done, self.facts) != self._printed:
            self._print_line()

    def _print_line(self) -> None:
        self._last_line, self._printed = time.monotonic(), (self.done, self.facts)
        print(self.line(), file=sys.stderr, flush=True)


@contextmanager
def progress(label: str, total: int | None, unit: str, *, enabled: bool) -> Iterator[Progress]:
    """Show a job of `total` units while it runs: `with progress("Encoding", 9, "documents", enabled=True) as bar`.

    Without a total the line says what is done and how fast, not how long still.
    """
    bar = Progress(label, total, unit, enabled)
    try:
        yield bar
    finally:
        bar.close()
