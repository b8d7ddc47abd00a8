"""Warnings of a run and judgements that do not seem to belong together."""

import logging

from debater_search.evaluation.comparison import Judged
from debater_search.types import Run

logger = logging.getLogger(__name__)

NAMED = 5  # ids in a warning


def warn_of_mismatch(source: str, run: Run, judged: Judged) -> None:
    """Log what looks wrong about a run, which messages call `source`, beside these judgements."""
    _warn_of_other_documents(source, run, judged)
    _warn_of_other_queries(source, run, judged)
    _warn_of_equal_scores(source, run)
    if not judged.ignore_identical_ids:
        _warn_of_identical_ids(source, run, judged)


def _warn_of_other_documents(source: str, run: Run, judged: Judged) -> None:
    """Say that no document of the run is judged for any query: its ids are probably those of another corpus."""
    known = {document for gains in judged.qrels.values() for document in gains}
    if all(known.isdisjoint(hits) for hits in run.values()):
        logger.warning(
            "None of the %s documents of %s is in the judgements of %s, so it scores 0. Do the two belong together?",
            f"{len({document for hits in run.values() for document in hits}):,}",
            source,
            judged.task,
        )


def _warn_of_other_queries(source: str, run: Run, judged: Judged) -> None:
    """Say that the run answers queries that are not judged."""
    others = [query for query in run if query not in judged.qrels]
    if others:
        logger.warning(
            "Queries of %s that are not in the judgements of %s: %d of %d (%s). They are left out.",
            source,
            judged.task,
            len(others),
            len(run),
            ", ".join(others[:NAMED]) + (", …" if len(others) > NAMED else ""),
        )


def _warn_of_equal_scores(source: str, run: Run) -> None:
    """Say that hits have no order, since their ranks do not count: a tool may have written ranks and no scores."""
    several = [hits for hits in run.values() if len(hits) > 1]
    equal = sum(len(set(hits.values())) == 1 for hits in several)
    if 2 * equal > len(several):
        logger.warning(
            "In %s, all hits of %s of %s queries have the same score. Scores decide, not ranks: scores must fall.",
            source,
            f"{equal:,}",
            f"{len(run):,}",
        )


def _warn_of_identical_ids(source: str, run: Run, judged: Judged) -> None:
    """Say that queries seem to be documents that find themselves, where the task is not known to be such a one.

    Below the first place an own id says nothing: numbers may count queries and documents alike.
    """
    first = {query: max(hits, key=hits.__getitem__) for query, hits in run.items() if hits}
    found = sum(query == best and query not in judged.qrels.get(query, {}) for query, best in first.items())
    if 2 * found > len(run):
        logger.warning(
            "In %s, %s of %s queries find a document with their own id first, and it counts as a wrong answer. Are the "
            "queries documents, as in ArguAna? Then drop these hits.",
            source,
            f"{found:,}",
            f"{len(run):,}",
        )
