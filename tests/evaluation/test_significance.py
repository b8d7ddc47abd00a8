import math

import numpy as np
import pytest
from scipy import stats

from debater_search.evaluation import significance
from debater_search.evaluation.significance import effect_size, holm, randomisation_test, t_test

RNG = np.random.default_rng(7)


def test_randomisation_agrees_with_every_assignment_of_signs() -> None:
    differences = RNG.normal(0.2, 0.4, size=(10, 3))
    signs = np.array(np.meshgrid(*[[-1, 1]] * 10)).reshape(10, -1).T  # all 1,024
    exact = (np.abs(signs @ differences) >= np.abs(differences.sum(axis=0)) - 1e-12).mean(axis=0)
    assert randomisation_test(differences, permutations=40_000) == pytest.approx(exact, abs=0.01)


def test_randomisation_is_repeatable_and_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = RNG.normal(0.02, 0.3, size=(64, 2))
    p = randomisation_test(differences)
    assert (p == randomisation_test(differences)).all()
    assert (p != randomisation_test(differences, seed=1)).any()
    monkeypatch.setattr(significance, "_BLOCK", 6400)
    assert (p == randomisation_test(differences)).all()


def test_one_sided_differences_are_as_unlikely_as_can_be_told() -> None:
    assert randomisation_test(np.full((40, 1), 0.1)).tolist() == [1 / 10_001]
    assert randomisation_test(np.zeros((40, 1))).tolist() == [1.0]


def test_t_test_is_scipys_paired_one() -> None:
    baseline, system = RNG.random((30, 2)), RNG.random((30, 2)) + 0.1
    assert t_test(system - baseline) == pytest.approx(stats.ttest_rel(system, baseline).pvalue)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("differences", "p"), [([0.0, 0.0], 1.0), ([0.5], 1.0), ([0.5, 0.5], 0.0)])
def test_t_test_of_what_cannot_be_tested(differences: list[float], p: float) -> None:
    assert t_test(np.array(differences)[:, None]).tolist() == [p]


def test_holm_is_worked_by_hand() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.9])).tolist() == [1.0, 1.0]


def test_effect_size_is_the_mean_in_standard_deviations() -> None:
    assert effect_size(np.array([[1.0], [3.0]])) == pytest.approx([2 / math.sqrt(2)])
    assert np.isnan(effect_size(np.array([[1.0], [1.0]]))).all()
    assert np.isnan(effect_size(np.array([[1.0]]))).all()
