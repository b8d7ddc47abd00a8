"""Which of the documents that a search finds become negatives."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from debater_search.errors import InvalidError

Mode = Literal["dense", "lexical"]
MODES: tuple[Mode, ...] = get_args(Mode)
Choice = Literal["top", "random"]
CHOICES: tuple[Choice, ...] = get_args(Choice)

DENSE_SHARE = 0.95


@dataclass(frozen=True)
class MiningSettings:
    """How to search, and the rules that a negative must pass.

    `window` holds the first and the last rank that negatives are taken from, counted from 1 as a search shows them.
    A negative scores at most the positive's score less `margin`, and at most `max_share` of it; of several positives
    the one with the highest score counts, for the farthest of many answers would leave no document below it. `random`
    choice is a function of `seed`, the query and what passed the rules.

    Examples:
        >>> from debater_search.mining import MiningSettings
        >>> MiningSettings(negatives=4, window=(10, 100), choice="random").seed
        42
    """

    mode: Mode = "dense"
    negatives: int = 8
    window: tuple[int, int] = (1, 100)
    margin: float | None = None
    max_share: float | None = None
    """None: 0.95 in dense mode; no limit in lexical mode or with a reranker, whose scores do not compare that way."""
    choice: Choice = "top"
    seed: int = 42
    instruction: str | None = None
    """What goes before each query in dense mode; None is the model's own default, "" none."""
    rerank_depth: int | None = None
    """Documents per query, from the beginning of the window, that a reranker reads; None: its default, or there is no
    reranker."""

    def __post_init__(self) -> None:
        """Raises DebaterError for values that cannot be."""
        if self.mode not in MODES:
            raise InvalidError(f"Negatives cannot be mined in mode {self.mode!r}.", f"Modes: {', '.join(MODES)}.")
        if self.choice not in CHOICES:
            raise InvalidError(f"There is no choice {self.choice!r}.", f"Choices: {', '.join(CHOICES)}.")
        if self.negatives < 1:
            raise InvalidError(f"{self.negatives} negatives cannot be mined.", "Ask for 1 or more per query.")
        first, last = self.window
        if first < 1 or last < first:
            raise InvalidError(
                f"{first}:{last} is not a range of ranks.", "Give the first and the last rank, from 1, as in 10:100."
            )
        if last - first + 1 < self.negatives:
            raise InvalidError(
                f"The window {first}:{last} has fewer ranks than the {self.negatives} negatives asked for.",
                "Widen the window, or ask for fewer negatives.",
            )
        if self.margin is not None and not math.isfinite(self.margin):
            raise InvalidError(f"The margin {self.margin} is not a number.", "Give one such as 0.05.")
        if self.max_share is not None and not (math.isfinite(self.max_share) and self.max_share > 0):
            raise InvalidError(
                f"A negative cannot have {self.max_share} of the positive's score.", "Give a share such as 0.95."
            )

    @property
    def share(self) -> float | None:
        """The share of the positive's score that is the limit in this mode."""
        cosines = self.mode == "dense" and self.rerank_depth is None
        return DENSE_SHARE if self.max_share is None and cosines else self.max_share
