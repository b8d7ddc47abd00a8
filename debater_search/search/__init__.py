"""Search an index: `SearchEngine.open(folder).search("a question")`."""

from debater_search.search.engine import MODES, Mode, SearchEngine
from debater_search.search.snippet import stem
from debater_search.store.folders import latest_index, list_indexes

__all__ = ["MODES", "Mode", "SearchEngine", "latest_index", "list_indexes", "stem"]
