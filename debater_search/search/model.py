"""The model that encodes the queries of an index."""

from threading import Lock
from typing import TYPE_CHECKING

from debater_search.errors import DebaterError
from debater_search.search.snapshot import Snapshot

if TYPE_CHECKING:
    from debater_search.encoder import Encoder


class QueryModel:
    """A model that the caller gave, or the index's own, loaded when it is first needed; many threads may share it."""

    def __init__(self, given: "Encoder | None" = None) -> None:
        self._given = given
        self._lock = Lock()
        self._loaded: tuple[str, Encoder] | None = None  # with its fingerprint, which takes longer to compute

    @property
    def device(self) -> str:
        """Where vectors are searched: on the GPU of a model that was given, else on the CPU."""
        return "cpu" if self._given is None else str(self._given.device)

    def check(self, snapshot: Snapshot) -> None:
        """Raise DebaterError if a model was given and another one made this index."""
        if self._given is not None:
            snapshot.require_made_by(self._given)

    def of(self, snapshot: Snapshot) -> "Encoder":
        """The model that made this state of the index.

        Raises:
            DebaterError: the index has no embeddings; its model cannot be loaded from where it was, or has changed.

        """
        made_by = snapshot.require_dense()
        if self._given is not None:
            return self._given
        with self._lock:
            if self._loaded is None or self._loaded[0] != made_by.fingerprint:
                self._loaded = None  # an index of another model has replaced the one before
                encoder = _load(snapshot)
                snapshot.require_made_by(encoder)
                self._loaded = made_by.fingerprint, encoder
            return self._loaded[1]


def _load(snapshot: Snapshot) -> "Encoder":
    from debater_search.encoder import Encoder

    try:
        return Encoder.load(**snapshot.require_dense().recipe)
    except DebaterError as error:
        raise DebaterError(
            f"The model of the index {snapshot.folder} cannot be loaded. {error.message}",
            "If it is elsewhere now, name it with --model.",
        ) from error
