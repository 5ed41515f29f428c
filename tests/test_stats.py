"""Differences of means and their intervals, against scipy's t tests."""

import math

import numpy as np
import pytest
from scipy import stats

from cascore.errors import InputError
from cascore.stats import Estimate, estimate, independent_difference, paired_difference, verdict

SIZES = [(2, 2), (3, 3), (6, 6), (2, 5), (7, 3)]


def draws(*sizes, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.normal(size=n, scale=1 + i).tolist() for i, n in enumerate(sizes)]


def interval(result):
    return result.mean - result.margin, result.mean + result.margin


@pytest.mark.parametrize("count", [2, 3, 8])
def test_pairs_have_the_interval_of_the_paired_t_test(count):
    a, b = draws(count, count)
    expected = stats.ttest_rel(a, b)
    result = paired_difference(a, b)
    assert interval(result) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert (verdict(result) == "tie") == (expected.pvalue > 0.05)


@pytest.mark.parametrize("sizes", SIZES)
def test_independent_values_have_the_interval_of_welch(sizes):
    a, b = draws(*sizes)
    expected = stats.ttest_ind(a, b, equal_var=False)
    result = independent_difference(estimate(a), estimate(b))
    assert result.freedom == pytest.approx(expected.df)
    assert interval(result) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_known_errors_have_the_interval_of_the_normal_distribution():
    result = independent_difference(Estimate(3.0, 0.3), Estimate(1.0, 0.4))
    assert result.freedom == math.inf
    assert interval(result) == pytest.approx(stats.norm.interval(0.95, loc=2.0, scale=0.5))


def test_what_is_shared_drops_out_of_pairs_alone():
    """Seeds spread by 1, the pairs differ by 0.1 give or take 0.01."""
    a, b = [1.0, 2.0, 3.0], [0.9, 1.91, 2.89]
    assert verdict(paired_difference(a, b)) == "worse"
    assert verdict(independent_difference(estimate(a), estimate(b))) == "tie"


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (paired_difference([1.0], [9.0]), "tie"),  # nothing is known of the spread
        (independent_difference(estimate([1.0]), estimate([9.0, 9.1])), "tie"),
        (paired_difference([1.0, 2.0], [1.0, 2.0]), "tie"),
        (paired_difference([1.0, 2.0], [2.0, 3.0]), "better"),  # exactly 1 each time
        (independent_difference(estimate([1.0, 1.0]), estimate([2.0, 2.0])), "better"),
        (independent_difference(Estimate(3.0, math.nan), Estimate(2.0, 0.1)), "tie"),
        (Estimate(0.0, 0.0), "tie"),
    ],
)
def test_without_spread_only_equality_ties_and_without_knowledge_everything(result, expected):
    assert verdict(result) == expected


@pytest.mark.parametrize(("mean", "lower"), [(-1.0, "better"), (1.0, "worse")])
def test_the_verdict_is_of_the_first_and_turns_with_what_is_better(mean, lower):
    turned = {"better": "worse", "worse": "better"}
    assert verdict(Estimate(mean, 0.1)) == lower
    assert verdict(Estimate(mean, 0.1), better="higher") == turned[lower]
    assert verdict(Estimate(mean, 0.52)) == "tie"
    assert verdict(Estimate(mean, 0.5)) == lower  # 1.96 errors


@pytest.mark.parametrize("sizes", [(2, 2), (3, 3)])
@pytest.mark.parametrize("ratio", [1, 4])
def test_welch_passes_chance_in_at_most_about_one_of_twenty(sizes, ratio):
    """Of 2,000 pure ties; with two values a side it is careful where both spread alike."""
    generator = np.random.default_rng(0)
    passed = 0
    for _ in range(2000):
        a, b = (generator.normal(size=n, scale=s) for n, s in zip(sizes, (1, ratio), strict=True))
        difference = independent_difference(estimate(a.tolist()), estimate(b.tolist()))
        passed += verdict(difference) != "tie"
    assert passed / 2000 < 0.06 + 4.5 * math.sqrt(0.06 * 0.94 / 2000)


def test_pairs_come_in_twos_and_values_are_finite():
    with pytest.raises(InputError, match="got 2 and 1"):
        paired_difference([1.0, 2.0], [1.0])
    for bad in (math.nan, math.inf):
        with pytest.raises(InputError, match="not finite"):
            estimate([1.0, bad])
        with pytest.raises(InputError, match="not finite"):
            paired_difference([1.0, bad], [1.0, 2.0])
