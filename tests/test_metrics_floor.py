from dataclasses import replace

import pytest
import torch
from example_records import RECORD
from features import MADE_BY, observed

from cascore.errors import InputError
from cascore.metrics import Floor, frechet_distance, real_floor

D = 16


def at_floor(distance, floor):
    return replace(RECORD, value=distance, floor=floor).at_floor


def normal(count, *, seed):
    return torch.randn(count, D, generator=torch.Generator().manual_seed(seed))


def floor_of(features, count, reference_count, *, repeats, seed=0):
    """The floor of features, whatever made them."""
    counts = {"count": count, "reference_count": reference_count, "repeats": repeats}
    return real_floor(features, **counts, seed=seed, extractor=MADE_BY)


def of_a_gaussian(count, reference_count):
    """Expected distance between two samples of N(0, I), for many more images than dimensions.

    The means give D h, h = 1/count + 1/reference_count. Near I the rest is |A - B|² / 4, and each
    of the D² entries of A - B has variance h, those on the diagonal 2 h: D (D + 1) h / 4.
    """
    return (D + D * (D + 1) / 4) * (1 / count + 1 / reference_count)


# A distance is a sum of squares, D with weight 1 and D (D + 1) / 2 with weight 1/2: its standard
# deviation is √(2 (16 + 136 / 4)) = 10 of a mean of 84, so 12 %.
RELATIVE_SPREAD = 10 / 84


def test_measured_floor_of_a_gaussian():
    floor = floor_of(normal(4000, seed=0), 1000, 3000, repeats=40, seed=1)
    assert not floor.extrapolated
    assert floor.repeats == 40
    # Error of the mean 12 % / √40 = 2 %, next order D / count = 1.6 %. Overlapping sets would
    # give (1/1000 - 1/3000), half as much.
    assert floor.mean == pytest.approx(of_a_gaussian(1000, 3000), rel=0.08)
    # A standard deviation from 40 numbers is known to 11 %; and the pool is one draw.
    assert floor.spread == pytest.approx(RELATIVE_SPREAD * floor.mean, rel=0.4)


@pytest.mark.parametrize("pool", [1200, 240])
@pytest.mark.parametrize(("count", "reference_count"), [(5000, 5000), (50_000, 1200), (700, 600)])
def test_extrapolated_floor_of_a_gaussian(count, reference_count, pool):
    floor = floor_of(normal(pool, seed=2), count, reference_count, repeats=100, seed=3)
    assert floor.extrapolated
    # Error of the mean 12 % / √100 = 1.2 %, and what the pool itself differs from N(0, I).
    assert floor.mean == pytest.approx(of_a_gaussian(count, reference_count), rel=0.07)
    assert floor.spread == pytest.approx(RELATIVE_SPREAD * floor.mean, rel=0.4)


def test_measured_and_extrapolated_meet():
    features = normal(1000, seed=4)
    measured, extrapolated = (
        floor_of(features, 500, reference_count, repeats=60, seed=5)
        for reference_count in (500, 501)
    )
    assert (measured.extrapolated, extrapolated.extrapolated) == (False, True)
    assert extrapolated.mean == pytest.approx(measured.mean, rel=0.08)


def test_the_seed_decides():
    def mean(seed):
        return floor_of(normal(60, seed=6), 20, 30, repeats=3, seed=seed).mean

    assert mean(0) == mean(0) != mean(1)


def test_constant_features_have_floor_zero():
    floor = floor_of(torch.ones(200, 3), 500, 50, repeats=2)
    assert (floor.mean, floor.spread) == (0, 0)
    assert at_floor(0, floor)
    assert not at_floor(1e-9, floor)


def test_at_floor_is_within_two_spreads():
    floor = Floor(mean=1.0, spread=0.25, repeats=5, extrapolated=False)
    assert floor.band == (0.5, 1.5)
    assert not at_floor(1.0, None)
    assert not at_floor(None, floor)
    distances = [0.0, 1.0, 1.5, 1.5000001]
    assert [at_floor(x, floor) for x in distances] == [True, True, True, False]


def test_most_fresh_draws_are_at_the_floor():
    # Sets from outside the pool, so that the rule is tried on what a perfect generator makes.
    floor = floor_of(normal(800, seed=7), 200, 600, repeats=40, seed=8)

    def passes(samples, real):
        return at_floor(frechet_distance(observed(samples), observed(real)), floor)

    passed = [passes(normal(200, seed=100 + i), normal(600, seed=200 + i)) for i in range(50)]
    assert 44 <= sum(passed) <= 50  # 97 % expected
    assert not passes(normal(200, seed=300) + 0.3, normal(600, seed=301))


@pytest.mark.parametrize("name", ["count", "reference_count", "repeats"])
def test_numbers_below_two_are_refused(name):
    numbers = {"count": 5, "reference_count": 5, "repeats": 5, name: 1}
    with pytest.raises(InputError, match=f"{name} {'is ' if name == 'count' else ''}1"):
        real_floor(normal(20, seed=9), seed=0, extractor=MADE_BY, **numbers)


def test_features_without_a_floor():
    for count in (0, 1, 33):
        with pytest.raises(InputError, match=f"{count} real images.*at least 34"):
            floor_of(normal(count, seed=10), 60, 60, repeats=2)
    assert floor_of(normal(34, seed=10), 60, 60, repeats=2).extrapolated
    broken = normal(200, seed=11)
    broken[7, 3] = float("nan")
    with pytest.raises(InputError, match="1 of 200 rows hold NaN"):
        floor_of(broken, 60, 60, repeats=2)
