"""Reranked evaluations, with a cache of scores: no pair of a query and a text is read twice, a kill costs one query.

The cache is in `~/.cache/debater/rerank` or under `$XDG_CACHE_HOME`: a SQLite file for each reranker and number type,
with a score for the hash of each pair. Files unused for a month are removed.
"""

import hashlib
import json
import logging
import math
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from debater_search.cache import cache_folder, remove_stale
from debater_search.encoder.protocol import PairScorer, device_of
from debater_search.progress import Progress
from debater_search.progress import progress as progress_line
from debater_search.search.reorder.rerank import depth_for

logger = logging.getLogger(__name__)

SCHEMA = "CREATE TABLE IF NOT EXISTS scores (pair TEXT PRIMARY KEY, score REAL NOT NULL) WITHOUT ROWID"
_WAIT = 60.0  # seconds for another process that writes


class KeptScores:
    """`PairScorer` that asks another one only for pairs that the cache does not hold.

    `progress` advances by one at each call, that is, for each query. If the cache cannot be used, every pair is scored.
    """

    def __init__(self, scorer: PairScorer, progress: Progress | None = None) -> None:
        self._scorer, self._progress = scorer, progress
        self.name, self.fingerprint, self.dtype = scorer.name, scorer.fingerprint, scorer.dtype
        self.device = device_of(scorer)
        cache = cache_folder("rerank")
        remove_stale(cache, _is_entry)
        self._file: Path | None = cache / f"{self.fingerprint[:32]}-{self.dtype}.sqlite"

    def score(self, query: str, texts: Sequence[str]) -> np.ndarray:
        """As `PairScorer.score`."""
        pairs = [_key(query, text) for text in texts]
        known = self._read(pairs)
        missing = {pair: text for pair, text in zip(pairs, texts, strict=True) if pair not in known}
        if missing:
            scores = self._scorer.score(query, list(missing.values())).tolist()
            made = dict(zip(missing, scores, strict=True))
            self._add(made)
            known |= made
        if self._progress is not None:
            self._progress.advance()
        return np.array([known[pair] for pair in pairs], np.float32)

    def _read(self, pairs: Sequence[str]) -> dict[str, float]:
        """The scores of these pairs that the cache holds."""
        sql = "SELECT pair, score FROM scores WHERE pair IN (SELECT value FROM json_each(?))"
        rows = self._ask(lambda cache: cache.execute(sql, (json.dumps(pairs),)).fetchall())
        return {pair: score for pair, score in rows if isinstance(score, float) and math.isfinite(score)}

    def _add(self, scores: dict[str, float]) -> None:
        sql = "INSERT OR REPLACE INTO scores VALUES (?, ?)"
        self._ask(lambda cache: cache.executemany(sql, scores.items()).fetchall())

    def _ask(self, question: Callable[[sqlite3.Connection], list[Any]]) -> list[Any]:
        """The cache's answer, committed; nothing once it could not be used."""
        if self._file is None:
            return []
        try:
            with closing(sqlite3.connect(self._file, timeout=_WAIT)) as cache, cache:
                cache.execute(SCHEMA)
                found = question(cache)
            os.utime(self._file)  # it is in use
        except (sqlite3.Error, OSError) as error:
            logger.warning("Scores of %s are not cached in %s: %s.", self.name, self._file, error)
            self._file, found = None, []
        return found


@contextmanager
def reranking(scorer: PairScorer | None, depth: int | None, queries: int, *, show: bool) -> Iterator[dict[str, Any]]:
    """Options of a search whose reranker's scores are cached; none without a reranker."""
    if scorer is None:
        yield {}
        return
    with progress_line("Reranking", queries, "queries", enabled=show) as bar:
        yield {"rerank": KeptScores(scorer, bar), "rerank_depth": depth}


def reranker_of(scorer: PairScorer | None, depth: int | None) -> dict[str, Any]:
    """The part of a result's provenance that identifies its reranker."""
    if scorer is None:
        return {"reranker": None, "rerank_depth": None}
    return {"reranker": scorer.fingerprint, "rerank_depth": depth_for(scorer, depth)}


def _key(query: str, text: str) -> str:
    return hashlib.sha256(json.dumps([query, text]).encode()).hexdigest()[:32]


def _is_entry(name: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{32}-\w+", name) is not None
