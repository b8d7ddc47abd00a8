"""Filters of queries, and the documents of a snapshot that they allow."""

import logging
from collections import OrderedDict
from threading import Lock

from debater_search.filters import Filter, parse_filter
from debater_search.search.once import once
from debater_search.store.documents import DocumentStore
from debater_search.store.filters import allowed, never_true, require_fields
from debater_search.vectors import Selection

logger = logging.getLogger(__name__)

CACHED_FILTERS = 64
CACHED_POSITIONS = 50_000_000
"""Positions that cached filters hold together, 8 bytes each."""


class Restriction:
    """A filter over the documents of a snapshot: as a tree, and as the positions that it allows.

    `notes` are sentences about comparisons that can never be true.

    Raises:
        MissingError: no document has a field that the filter names.

    """

    def __init__(self, tree: Filter, documents: DocumentStore) -> None:
        require_fields(tree, documents)
        self.tree, self._documents = tree, documents
        self.notes = tuple(never_true(tree, documents))

    @once
    def selection(self) -> Selection:
        """The positions of the documents that the filter allows."""
        return Selection(allowed(self.tree, self._documents))

    @property
    def positions_held(self) -> int:
        """How many positions are in memory; 0 before `selection` was read."""
        selection: Selection | None = vars(self).get("selection")
        return 0 if selection is None else len(selection.positions)


class Restrictions:
    """The last filters that queries of a snapshot had; many threads may share it."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents
        self._cached: OrderedDict[str, Restriction] = OrderedDict()  # by the filter's text, the last used at the end
        self._lock = Lock()

    def get(self, where: str) -> Restriction:
        """Parse and check a filter, unless it is cached.

        Raises:
            InvalidError: the filter is wrong.
            MissingError: no document has a field that it names.

        """
        with self._lock:
            if where in self._cached:
                self._cached.move_to_end(where)
                return self._cached[where]
        restriction = Restriction(parse_filter(where), self._documents)
        for note in restriction.notes:
            logger.warning(note)
        with self._lock:
            restriction = self._cached.setdefault(where, restriction)  # another thread may have been first
            self._cached.move_to_end(where)
            self._evict()
        return restriction

    def _evict(self) -> None:
        held = sum(restriction.positions_held for restriction in self._cached.values())
        while len(self._cached) > CACHED_FILTERS or (held > CACHED_POSITIONS and len(self._cached) > 1):
            _, oldest = self._cached.popitem(last=False)
            held -= oldest.positions_held
