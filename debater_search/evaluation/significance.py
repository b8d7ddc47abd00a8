"""Paired significance tests between two systems over the same queries, and Holm's correction."""

import warnings

import numpy as np

from debater_search.extras import require

PERMUTATIONS = 10_000
TIE = 1e-9  # equal values may differ by this much after rounding
_BLOCK = 2**21  # signs held at once, which bounds memory


def randomisation_test(
    differences: np.ndarray, *, permutations: int = PERMUTATIONS, seed: int = 42
) -> np.ndarray:  # fmt: skip
    """Two-sided p values [columns] for a mean of 0 of each column of `differences` [queries, columns].

    If the systems are equal, the sign of each query's difference is random: p is the share of random sign
    assignments whose mean is at least as far from 0 as the observed one. All columns share the same signs. The
    smallest possible p value is 1 / (permutations + 1).
    """
    rng = np.random.default_rng(seed)
    queries = len(differences)
    total = differences.sum(axis=0)
    reached = np.zeros(differences.shape[1], dtype=int)
    step = max(1, _BLOCK // queries)
    for start in range(0, permutations, step):
        rows = min(step, permutations - start)
        random = np.frombuffer(rng.bytes((rows * queries + 7) // 8), np.uint8)
        kept = np.unpackbits(random, count=rows * queries).reshape(rows, queries)
        sums = 2 * (kept.astype(differences.dtype) @ differences) - total  # each difference is kept or negated
        reached += (np.abs(sums) >= np.abs(total) - TIE * queries).sum(axis=0)
    return np.asarray((reached + 1) / (permutations + 1))


def t_test(differences: np.ndarray) -> np.ndarray:
    """Two-sided p values [columns] of Student's paired t-test on `differences` [queries, columns].

    1 if the test is undefined: for a single query, and if no query differs.
    """
    stats = require("scipy.stats", extra="eval")

    with warnings.catch_warnings():  # for identical differences
        warnings.simplefilter("ignore", RuntimeWarning)
        p = stats.ttest_1samp(differences, 0.0, axis=0).pvalue
    return np.where(np.isnan(p), 1.0, p)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's correction of p values [tests]; it bounds the chance of any false finding among the tests."""
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return corrected


def effect_size(differences: np.ndarray) -> np.ndarray:
    """Cohen's d of paired values [columns]: the mean of `differences` [queries, columns] in standard deviations.

    NaN if the standard deviation is 0: for a single query, and if all queries differ by the same amount.
    """
    if len(differences) < 2:
        return np.full(differences.shape[1], np.nan)
    deviation = differences.std(axis=0, ddof=1)
    return np.divide(
        differences.mean(axis=0), deviation, out=np.full_like(deviation, np.nan), where=deviation > TIE
    )  # fmt: skip
