"""From a ranking to a question's negatives: every rule, and how many documents each one dropped."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from debater_search.mining.questions import Question
from debater_search.mining.settings import MiningSettings
from debater_search.mining.texts import EMPTY, CorpusTexts, digest

Ranking = list[tuple[int, float]]
"""(position, score), best first."""

RULES = {
    "positive": "answers the query: a positive, or a document with the same text",
    "query": "is the query itself",
    "empty": "has no text",
    "duplicate": "has the text of a document ranked before it",
    "margin": "is too near to the positive: `margin`",
    "share": "is too near to the positive: `max_share`",
    "surplus": "passed, and was not needed",
}


@dataclass(frozen=True)
class Selection:
    """A question's negatives, best first, and how many documents of the window each rule dropped."""

    negatives: Ranking
    dropped: Counter[str] = field(default_factory=Counter)


def select(
    question: Question,
    ranking: Ranking,
    positive_scores: Sequence[float],
    texts: CorpusTexts,
    settings: MiningSettings,
) -> Selection:
    """Choose a question's negatives from the documents that a search found for it."""
    positives = {digest(positive) for positive in question.positives}
    # also the whole content of documents that hold a positive below a title
    positives |= {int(texts.digests[position]) for key in positives for position in texts.holders.get(key, [])}
    query = digest(question.query)
    best = max(positive_scores)
    limits = {
        "margin": best - settings.margin if settings.margin is not None else None,
        # written so that a share below 1 lowers a negative score too
        "share": best - (1 - settings.share) * abs(best) if settings.share is not None else None,
    }

    def broken_rule(position: int, score: float) -> str | None:
        text = int(texts.digests[position])
        if text in positives:
            return "positive"
        if text == query:
            return "query"
        if text == EMPTY:
            return "empty"
        if text in seen:
            return "duplicate"
        return next((rule for rule, limit in limits.items() if limit is not None and score > limit), None)

    seen: set[int] = set()
    passed: Ranking = []
    dropped: Counter[str] = Counter()
    first, last = settings.window
    for rank, (position, score) in enumerate(ranking[:last], start=1):
        if rank >= first:
            rule = broken_rule(position, score)
            if rule is None:
                passed.append((position, score))
            else:
                dropped[rule] += 1
        seen.add(int(texts.digests[position]))
    chosen = _choose(passed, question.query, settings)
    dropped["surplus"] += len(passed) - len(chosen)
    return Selection(chosen, dropped)


def _choose(passed: Ranking, query: str, settings: MiningSettings) -> Ranking:
    if settings.choice == "top" or len(passed) <= settings.negatives:
        return passed[: settings.negatives]
    chosen = random.Random(f"{settings.seed} {query}").sample(range(len(passed)), settings.negatives)
    return [passed[place] for place in sorted(chosen)]
