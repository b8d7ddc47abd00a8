"""The newest committed state of an index, shared by threads."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TypeVar

from debater_search.errors import DebaterError, InvalidError
from debater_search.search.snapshot import Snapshot

T = TypeVar("T")


class LatestSnapshot:
    """Opens the newest state of an index when a change was committed.

    The thread that first sees the change opens the new state. Until it is open, other threads go on with the state
    before it, or wait once the documents of that state are gone. `check` raises DebaterError for a state that must not
    be used. Without `follow` only `refresh` looks for changes, and a query whose state is gone.
    """

    def __init__(self, folder: Path, device: str, check: Callable[[Snapshot], None], *, follow: bool = True) -> None:
        self._folder, self._device, self._check, self._follow = folder, device, check, follow
        self._opening = Lock()
        self._closed = False
        self.last = self._open()
        """The state that was opened last."""

    def run(self, work: Callable[[Snapshot], T]) -> T:
        """Do `work` on the newest state, and again on a newer state if a change has removed what it reads."""
        snapshot = self.get()
        while True:
            try:
                return work(snapshot)
            except DebaterError:
                if snapshot.is_current():
                    raise
            with self._opening:
                snapshot = self._renewed()

    def get(self) -> Snapshot:
        """The newest state, or the one before it while another thread opens the newest; InvalidError once closed."""
        self.require_open()
        if not self._follow or self.last.is_current() or not self._opening.acquire(blocking=False):
            return self.last
        try:
            return self._renewed()
        finally:
            self._opening.release()

    def refresh(self) -> None:
        """Open the newest state if there is a newer one than `last`.

        Raises:
            DebaterError: it cannot be opened, or must not be used (`last` stays); or all is closed.

        """
        self.require_open()
        if not self.last.is_current():
            with self._opening:
                self._renewed()

    def require_open(self) -> None:
        """Raise InvalidError after `close`."""
        if self._closed:
            raise InvalidError("This engine is closed.", "Open it again with `SearchEngine.open`.")

    def close(self) -> None:
        """Close the files; queries that come later, and those that still read, raise InvalidError."""
        with self._opening:
            self._closed = True
            self.last.documents.close()

    def _renewed(self) -> Snapshot:
        """The newest state; the caller holds the lock."""
        self.require_open()
        if not self.last.is_current():
            snapshot = self._open()
            with suppress(DebaterError):  # a query that needs the vectors says what is wrong with them
                snapshot.warm_up(self.last)
            self.last = snapshot
        return self.last

    def _open(self) -> Snapshot:
        snapshot = Snapshot.open(self._folder, self._device)
        self._check(snapshot)
        return snapshot
