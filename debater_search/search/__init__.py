"""Search an index: `SearchEngine.open(folder).search("a question")`."""

from debater_search.search.engine import SearchEngine
from debater_search.search.request import MODES, RESCORES, Mode, Rescore
from debater_search.search.snippet import stem
from debater_search.store.folders import latest_index, list_indexes

__all__ = ["MODES", "RESCORES", "Mode", "Rescore", "SearchEngine", "latest_index", "list_indexes", "stem"]
