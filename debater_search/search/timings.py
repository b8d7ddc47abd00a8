"""Seconds that the stages of a query take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Timings:
    """Measures the stages of one answer; a stage that was not needed took no time."""

    def __init__(self) -> None:
        self.seconds = {"encode": 0.0, "retrieve": 0.0, "fetch": 0.0}

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Measure the block as this stage."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - start
