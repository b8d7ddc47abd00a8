"""Whether a difference between two systems over the same queries may be chance: paired tests, corrected for number."""

import warnings

import numpy as np

from debater_search.extras import require

PERMUTATIONS = 10_000
TIE = 1e-9  # what rounding makes of equal values
_BLOCK = 2**21  # signs held at once, so that memory is bounded


def randomisation_test(
    differences: np.ndarray, *, permutations: int = PERMUTATIONS, seed: int = 42
) -> np.ndarray:  # fmt: skip
    """Two-sided p values [columns] of the mean of each column of `differences` [queries, columns] being 0.

    Were the two systems alike, the sign of each query's difference would be chance: the share of random signs whose
    mean is as far from 0 as the one that was seen. The same signs serve all columns. No p value is below
    1 / (permutations + 1).
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
        sums = 2 * (kept.astype(differences.dtype) @ differences) - total  # a difference is kept or turned round
        reached += (np.abs(sums) >= np.abs(total) - TIE * queries).sum(axis=0)
    return np.asarray((reached + 1) / (permutations + 1))


def t_test(differences: np.ndarray) -> np.ndarray:
    """Two-sided p values [columns] of Student's paired t-test on `differences` [queries, columns].

    1 where it says nothing: for a single query, and where no query differs.
    """
    stats = require("scipy.stats", extra="eval")

    with warnings.catch_warnings():  # of differences that are all alike
        warnings.simplefilter("ignore", RuntimeWarning)
        p = stats.ttest_1samp(differences, 0.0, axis=0).pvalue
    return np.where(np.isnan(p), 1.0, p)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's correction of p values [tests]: the chance of even one false finding among them stays below the level."""
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return corrected


def effect_size(differences: np.ndarray) -> np.ndarray:
    """Cohen's d of paired values [columns]: the mean of `differences` [queries, columns] in standard deviations.

    NaN where there is no deviation to measure in: for a single query, and where every query differs by the same.
    """
    if len(differences) < 2:
        return np.full(differences.shape[1], np.nan)
    deviation = differences.std(axis=0, ddof=1)
    return np.divide(
        differences.mean(axis=0), deviation, out=np.full_like(deviation, np.nan), where=deviation > TIE
    )  # fmt: skip
