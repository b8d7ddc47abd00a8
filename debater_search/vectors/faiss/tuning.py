"""Search parameters of an approximate FAISS index, tuned to a target recall."""

from bisect import bisect_left
from collections.abc import Sequence

from debater_search.vectors.faiss.index import FaissIndex
from debater_search.vectors.recall import DEPTHS, RecallTest

_K_FACTORS = (2, 4, 8, 16, 32, 64)
_LADDER = sorted({round(2 ** (step / 2)) for step in range(40)})


def tune(index: FaissIndex, test: RecallTest, target: float) -> bool:
    """Set the least search parameters with which recall@10 reaches the target; False where even the most do not.

    Codes may lose half of what may be lost at all, which sets the number of candidates that are rescored; lists or
    graph the rest.
    """
    if index.exact:
        return True

    def reached(wanted: float) -> bool:
        return test.recall(index, DEPTHS[0]) >= wanted

    index.configure(breadth=index.widest)
    for k_factor in _K_FACTORS if "k_factor" in index.parameters else ():
        index.configure(k_factor=k_factor)
        if reached((1 + target) / 2):
            break
    if not reached(target):
        return False
    steps = _steps(index.widest)

    def enough(breadth: int) -> bool:
        index.configure(breadth=breadth)
        return reached(target)

    index.configure(breadth=steps[bisect_left(steps, True, hi=len(steps) - 1, key=enough)] if steps else None)
    return True


def _steps(widest: int) -> Sequence[int]:
    return [step for step in _LADDER if step < widest] + [widest] if widest else []
