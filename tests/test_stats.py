"""Differences of means and their intervals, against scipy's t tests."""

import math

import numpy as np
import pytest
from scipy import stats

from cascore.errors import InputError
from cascore.stats import (
    Estimate,
    estimate,
    excess,
    independent_difference,
    of_groups,
    paired_difference,
    ratio_bounds,
    verdict,
    within,
)

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


# --- one-sided bounds and non-inferiority --------------------------------------------------------


def groups(seeds, blocks, *, mean=0.0, common=0.0, seed=0):
    """Unit noise in blocks, and what the blocks of one seed have in common."""
    generator = np.random.default_rng(seed)
    shared = common * generator.normal(size=(seeds, 1))
    return (mean + shared + generator.normal(size=(seeds, blocks))).tolist()


@pytest.mark.parametrize("sizes", SIZES)
def test_bounds_are_those_of_one_sided_tests(sizes):
    a, b = draws(*sizes)
    low, high = independent_difference(estimate(a), estimate(b)).bounds
    test = {way: stats.ttest_ind(a, b, equal_var=False, alternative=way)
            for way in ("less", "greater")}  # fmt: skip
    assert high == pytest.approx(test["less"].confidence_interval(0.95).high)
    assert low == pytest.approx(test["greater"].confidence_interval(0.95).low)


@pytest.mark.parametrize(("common", "freedom"), [(0.0, 39), (3.0, 3)])
def test_groups_have_the_error_of_their_values_or_of_their_means_if_that_is_larger(common, freedom):
    values = groups(4, 10, common=common, seed=1)
    result, flat = of_groups(values), np.ravel(values)
    errors = {39: stats.sem(flat), 3: stats.sem(np.mean(values, axis=1))}
    assert result.freedom == freedom
    assert result.error == pytest.approx(errors[freedom])
    assert errors[freedom] == max(errors.values())
    assert result.mean == pytest.approx(flat.mean())


def test_one_group_has_the_error_of_its_values():
    assert of_groups([[1.0, 2.0, 4.0]]) == estimate([1.0, 2.0, 4.0])
    with pytest.raises(InputError, match="not alike"):
        of_groups([[1.0, 2.0], [1.0]])


@pytest.mark.parametrize("common", [0.0, 0.3, 1.0])
def test_the_bound_of_groups_covers_the_truth_in_nineteen_of_twenty(common):
    """1,500 draws of 4 seeds of 10 blocks; 4.5 deviations of the count."""
    highs = [of_groups(groups(4, 10, common=common, seed=s)).bounds[1] for s in range(1500)]
    missed = sum(high < 0 for high in highs) / len(highs)
    assert missed < 0.05 + 4.5 * math.sqrt(0.05 * 0.95 / 1500)


def test_excess_in_pairs_is_the_paired_test_and_otherwise_welchs():
    a, b = groups(1, 12, mean=3, seed=1), groups(1, 12, mean=2, seed=2)
    scaled = [1.1 * y for y in b[0]]
    paired = stats.ttest_rel(a[0], scaled, alternative="less").confidence_interval(0.95)
    single = stats.ttest_ind(a[0], scaled, equal_var=False, alternative="less")
    assert excess(a, b, 1.1, paired=True).bounds[1] == pytest.approx(paired.high)
    expected = single.confidence_interval(0.95).high
    assert excess(a, b, 1.1, paired=False).bounds[1] == pytest.approx(expected)


@pytest.mark.parametrize("paired", [True, False])
def test_the_bounds_of_a_ratio_are_fiellers(paired):
    """Roots of (a - r b)² = t² (va - 2 r cab + r² vb); without pairs t moves with r a little."""
    a, b = groups(1, 40, mean=8, seed=1), groups(1, 40, mean=5, seed=2)
    (va, cab), (_, vb) = np.cov(a[0], b[0]) / 40
    freedom = 39 if paired else 70
    cab, t = cab if paired else 0.0, stats.t.ppf(0.95, freedom)
    a_mean, b_mean = np.mean(a), np.mean(b)
    roots = np.roots(
        [b_mean**2 - t**2 * vb, -2 * (a_mean * b_mean - t**2 * cab), a_mean**2 - t**2 * va]
    )
    close = 1e-9 if paired else 2e-3
    assert ratio_bounds(a, b, paired=paired) == pytest.approx(tuple(sorted(roots)), rel=close)


def test_a_ratio_is_shown_below_the_margins_above_its_bound():
    a, b = groups(4, 10, mean=9, seed=1), groups(4, 10, mean=8, seed=2)
    low, high = ratio_bounds(a, b, paired=True)
    for ratio, answer in [
        (high * 1.001, "shown"),
        (high * 0.999, "open"),
        (low * 1.001, "open"),
        (low * 0.999, "refuted"),
    ]:
        assert within(excess(a, b, ratio, paired=True)) == answer
    assert ratio_bounds(a, groups(4, 10, seed=3), paired=True)[1] == math.inf  # no B to speak of


def test_nothing_known_is_open():
    assert within(Estimate(-3.0, math.nan)) == "open"
    assert ratio_bounds([[1.0]], [[2.0]], paired=True) == (pytest.approx(0), math.inf)
