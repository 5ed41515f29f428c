"""Differences of means and their intervals, against scipy's t tests."""

import math

import numpy as np
import pytest
from scipy import stats

from cascore.errors import InputError
from cascore.stats import (
    Difference,
    independent_difference,
    known_difference,
    paired_difference,
)

SIZES = [(2, 2), (3, 3), (6, 6), (2, 5), (7, 3)]


def draws(*sizes, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=n, scale=1 + i).tolist() for i, n in enumerate(sizes)]


def interval(found):
    return found.mean - found.margin, found.mean + found.margin


@pytest.mark.parametrize("count", [2, 3, 8])
def test_pairs_have_the_interval_of_the_paired_t_test(count):
    a, b = draws(count, count)
    expected = stats.ttest_rel(a, b)
    found = paired_difference(a, b)
    assert interval(found) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.is_tie == (expected.pvalue > 0.05)


@pytest.mark.parametrize("sizes", SIZES)
def test_independent_values_have_the_interval_of_welch(sizes):
    a, b = draws(*sizes)
    expected = stats.ttest_ind(a, b, equal_var=False)
    found = independent_difference(a, b)
    assert found.freedom == pytest.approx(expected.df)
    assert interval(found) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_known_errors_have_the_interval_of_the_normal_distribution():
    found = known_difference((3.0, 0.3), (1.0, 0.4))
    assert interval(found) == pytest.approx(stats.norm.interval(0.95, loc=2.0, scale=0.5))


def test_what_is_shared_drops_out_of_pairs_alone():
    """Seeds spread by 1, the pairs differ by 0.1 give or take 0.01."""
    a, b = [1.0, 2.0, 3.0], [0.9, 1.91, 2.89]
    assert not paired_difference(a, b).is_tie
    assert independent_difference(a, b).is_tie


def test_chance_passes_in_one_of_twenty():
    """1,000 pure ties of three pairs: 50 give or take 7, 4.5 deviations of a binomial."""
    generator = np.random.default_rng(0)
    passed = sum(
        not paired_difference(*generator.normal(size=(2, 3)).tolist()).is_tie for _ in range(1000)
    )
    assert passed == pytest.approx(50, abs=4.5 * math.sqrt(1000 * 0.05 * 0.95))


@pytest.mark.parametrize(
    ("found", "tie"),
    [
        (paired_difference([1.0], [9.0]), True),  # nothing is known of the spread
        (independent_difference([1.0], [9.0, 9.1]), True),
        (paired_difference([1.0, 2.0], [1.0, 2.0]), True),
        (paired_difference([1.0, 2.0], [2.0, 3.0]), False),  # exactly 1 each time
        (independent_difference([1.0, 1.0], [2.0, 2.0]), False),
        (Difference(0.0, 0.0, math.inf), True),
    ],
)
def test_without_spread_only_equality_ties_and_without_knowledge_everything(found, tie):
    assert found.is_tie is tie


@pytest.mark.parametrize("sizes", [(2, 2), (3, 3)])
@pytest.mark.parametrize("ratio", [1, 4])
def test_welch_passes_chance_in_at_most_about_one_of_twenty(sizes, ratio):
    """Of 2,000 pure ties; with two values a side it is careful where both spread alike."""
    generator = np.random.default_rng(0)
    passed = 0
    for _ in range(2000):
        a, b = (generator.normal(size=n, scale=s) for n, s in zip(sizes, (1, ratio), strict=True))
        passed += not independent_difference(a.tolist(), b.tolist()).is_tie
    assert passed / 2000 < 0.06 + 4.5 * math.sqrt(0.06 * 0.94 / 2000)


def test_pairs_come_in_twos():
    with pytest.raises(InputError, match="got 2 and 1"):
        paired_difference([1.0, 2.0], [1.0])


@pytest.mark.parametrize("compare", [paired_difference, independent_difference])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(compare, bad):
    with pytest.raises(InputError, match="not finite"):
        compare([1.0, bad], [1.0, 2.0])
