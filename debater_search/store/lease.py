"""One writer at a time on object storage, which has no locks: a file that is renewed while its holder lives."""

import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from debater_search.errors import BusyError, DebaterError
from debater_search.store.places import ObjectStore

LEASE_NAME = "lease.json"
RENEWED = 30.0
"""Seconds between two renewals."""
EXPIRES = 120.0
"""Seconds without a renewal after which a holder counts as dead."""


@contextmanager
def leasing(place: ObjectStore, *, force: bool = False) -> Iterator[None]:
    """Be the only writer of a place while the block runs; `force` takes the lease of another holder.

    Two that begin in the same moment both look at what was written last, so that one of them gives up. It is no lock:
    a holder that stood still for two minutes may lose its place without knowing. What both write is the same then, for
    only the same job may write to a place.

    Raises:
        BusyError: another writer is at work.

    """
    place.make()
    mine = {"id": uuid.uuid4().hex, "holder": f"process {os.getpid()} on {socket.gethostname()}"}
    held = _held(place)
    if held is not None and not force:
        raise BusyError(
            f"{place} is being written to by {held.get('holder', 'another process')}.",
            f"Wait for its end; a holder that died is forgotten after {EXPIRES:.0f} seconds, or at once with `force`.",
        )
    _write(place, mine)
    if (now := _held(place)) is None or now.get("id") != mine["id"]:
        raise BusyError(f"Another process began to write to {place} in the same moment.", "Run this again.")
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(place, mine, ended), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        with suppress(DebaterError, OSError):
            place.remove(LEASE_NAME)


def _renew(place: ObjectStore, mine: dict[str, str], ended: threading.Event) -> None:
    while not ended.wait(RENEWED):
        with suppress(DebaterError, OSError):  # the next renewal may succeed, and the work goes on meanwhile
            _write(place, mine)


def _write(place: ObjectStore, mine: dict[str, str]) -> None:
    with place.writing(LEASE_NAME) as file:
        file.write(json.dumps(mine).encode())


def _held(place: ObjectStore) -> dict[str, str] | None:
    """What the living holder of a place wrote; None if there is none."""
    age = place.age(LEASE_NAME)
    if age is None or age > EXPIRES:
        return None
    try:
        found = json.loads(place.read(LEASE_NAME))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else {}
