"""Search an index: `SearchEngine.open(folder).search("a question")`."""

from debater_search.search.engine import SearchEngine
from debater_search.search.marks import QueryMarks
from debater_search.search.request import MODES, RESCORES, Mode, Rescore
from debater_search.store.folders import latest_index, list_indexes
from debater_search.types import Answer, BatchAnswer, DocumentPage, Like

__all__ = [
    "MODES",
    "RESCORES",
    "Answer",
    "BatchAnswer",
    "DocumentPage",
    "Like",
    "Mode",
    "QueryMarks",
    "Rescore",
    "SearchEngine",
    "latest_index",
    "list_indexes",
]


def __dir__() -> list[str]:
    return sorted(__all__)
