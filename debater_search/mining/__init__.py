"""Mine hard negatives: what a search finds near a query that does not answer it, written as training data."""

from debater_search.mining.miner import check_output, mine
from debater_search.mining.questions import check_source
from debater_search.mining.report import Summary
from debater_search.mining.settings import CHOICES, MODES, MiningSettings

__all__ = ["CHOICES", "MODES", "MiningSettings", "Summary", "check_output", "check_source", "mine"]


def __dir__() -> list[str]:
    return sorted(__all__)
