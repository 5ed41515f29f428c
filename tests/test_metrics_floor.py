import pytest
import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.metrics import (
    ExtractorIdentity,
    FeatureMoments,
    Floor,
    at_floor,
    frechet_distance,
    real_floor,
)

MADE_BY = ExtractorIdentity(name="test", digest="0" * 64)
D = 16


def normal(count: int, *, seed: int) -> Tensor:
    return torch.randn(count, D, generator=torch.Generator().manual_seed(seed))


def of_a_gaussian(count: int, reference_count: int) -> float:
    """Expected distance between two samples of N(0, I), for many more images than dimensions.

    The means give D h, h = 1/count + 1/reference_count. Near I the rest is |A - B|² / 4, and each
    of the D² entries of A - B has variance h, those on the diagonal 2 h: D (D + 1) h / 4.
    """
    return (D + D * (D + 1) / 4) * (1 / count + 1 / reference_count)


# A distance is a sum of squares, D with weight 1 and D (D + 1) / 2 with weight 1/2: its standard
# deviation is √(2 (16 + 136 / 4)) = 10 of a mean of 84, so 12 %.
RELATIVE_SPREAD = 10 / 84


def test_measured_floor_of_a_gaussian() -> None:
    floor = real_floor(
        normal(4000, seed=0),
        count=1000,
        reference_count=3000,
        repeats=40,
        seed=1,
        extractor=MADE_BY,
    )
    assert not floor.extrapolated
    assert floor.repeats == 40
    # Error of the mean 12 % / √40 = 2 %, next order D / count = 1.6 %. Overlapping sets would
    # give (1/1000 - 1/3000), half as much.
    assert floor.mean == pytest.approx(of_a_gaussian(1000, 3000), rel=0.08)
    # A standard deviation from 40 numbers is known to 11 %; and the pool is one draw.
    assert floor.spread == pytest.approx(RELATIVE_SPREAD * floor.mean, rel=0.4)


@pytest.mark.parametrize("pool", [1200, 240])
@pytest.mark.parametrize(("count", "reference_count"), [(5000, 5000), (50_000, 1200), (700, 600)])
def test_extrapolated_floor_of_a_gaussian(count: int, reference_count: int, pool: int) -> None:
    floor = real_floor(
        normal(pool, seed=2),
        count=count,
        reference_count=reference_count,
        repeats=100,
        seed=3,
        extractor=MADE_BY,
    )
    assert floor.extrapolated
    # Error of the mean 12 % / √100 = 1.2 %, and what the pool itself differs from N(0, I).
    assert floor.mean == pytest.approx(of_a_gaussian(count, reference_count), rel=0.07)
    assert floor.spread == pytest.approx(RELATIVE_SPREAD * floor.mean, rel=0.4)


def test_measured_and_extrapolated_meet() -> None:
    features = normal(1000, seed=4)
    measured, extrapolated = (
        real_floor(
            features,
            count=500,
            reference_count=reference_count,
            repeats=60,
            seed=5,
            extractor=MADE_BY,
        )
        for reference_count in (500, 501)
    )
    assert (measured.extrapolated, extrapolated.extrapolated) == (False, True)
    assert extrapolated.mean == pytest.approx(measured.mean, rel=0.08)


def test_the_seed_decides() -> None:
    def mean(seed: int) -> float:
        features = normal(60, seed=6)
        return real_floor(
            features, count=20, reference_count=30, repeats=3, seed=seed, extractor=MADE_BY
        ).mean

    assert mean(0) == mean(0) != mean(1)


def test_constant_features_have_floor_zero() -> None:
    floor = real_floor(
        torch.ones(200, 3), count=500, reference_count=50, repeats=2, seed=0, extractor=MADE_BY
    )
    assert (floor.mean, floor.spread) == (0, 0)
    assert at_floor(0, floor)
    assert not at_floor(1e-9, floor)


def test_at_floor_is_within_two_spreads() -> None:
    floor = Floor(mean=1.0, spread=0.25, repeats=5, extrapolated=False)
    assert floor.band == (0.5, 1.5)
    assert not at_floor(1.0, None)
    assert not at_floor(None, floor)
    distances = [0.0, 1.0, 1.5, 1.5000001, float("nan")]
    assert [at_floor(x, floor) for x in distances] == [True, True, True, False, False]


def test_most_fresh_draws_are_at_the_floor() -> None:
    # Sets from outside the pool, so that the rule is tried on what a perfect generator makes.
    floor = real_floor(
        normal(800, seed=7), count=200, reference_count=600, repeats=40, seed=8, extractor=MADE_BY
    )
    passed = [
        at_floor(
            frechet_distance(
                FeatureMoments.of(normal(200, seed=100 + i), extractor=MADE_BY),
                FeatureMoments.of(normal(600, seed=200 + i), extractor=MADE_BY),
            ),
            floor,
        )
        for i in range(50)
    ]
    assert 44 <= sum(passed) <= 50  # 97 % expected
    shifted = FeatureMoments.of(normal(200, seed=300) + 0.3, extractor=MADE_BY)
    real = FeatureMoments.of(normal(600, seed=301), extractor=MADE_BY)
    assert not at_floor(frechet_distance(shifted, real), floor)


@pytest.mark.parametrize("name", ["count", "reference_count", "repeats"])
def test_numbers_below_two_are_refused(name: str) -> None:
    numbers = {"count": 5, "reference_count": 5, "repeats": 5, name: 1}
    with pytest.raises(InputError, match=f"{name} {'is ' if name == 'count' else ''}1"):
        real_floor(normal(20, seed=9), seed=0, extractor=MADE_BY, **numbers)


def test_features_without_a_floor() -> None:
    numbers = {"count": 60, "reference_count": 60, "repeats": 2, "seed": 0}
    for count in (0, 1, 33):
        with pytest.raises(InputError, match=f"{count} real images.*at least 34"):
            real_floor(normal(count, seed=10), extractor=MADE_BY, **numbers)
    assert real_floor(normal(34, seed=10), extractor=MADE_BY, **numbers).extrapolated
    broken = normal(200, seed=11)
    broken[7, 3] = float("nan")
    with pytest.raises(InputError, match="1 of 200 feature vectors hold NaN"):
        real_floor(broken, extractor=MADE_BY, **numbers)
