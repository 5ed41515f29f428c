import numpy as np
import pytest
import torch
from features import MADE_BY, observed
from features import normal as of_dimension

from cascore.errors import InputError
from cascore.metrics import (
    FeatureMoments,
    frechet_distance,
    frechet_estimate,
    frechet_extrapolated,
    frechet_jackknife,
)
from cascore.stats import estimate, excess, within

DIMENSION = 6


def normal(count, dimension=DIMENSION, *, seed):
    return of_dimension(count, dimension, seed=seed)


def standard_normal(dimension=DIMENSION):
    """Moments of infinitely many images whose features are standard normal."""
    count = 10**9
    return FeatureMoments(
        count=count,
        mean=torch.zeros(dimension, dtype=torch.float64),
        scatter=torch.eye(dimension, dtype=torch.float64) * (count - 1),
        extractor=MADE_BY,
    )


def rms(values):
    return float(torch.tensor(values, dtype=torch.float64).square().mean().sqrt())


def spread(values):
    return float(torch.tensor(values, dtype=torch.float64).std())


def jackknife(features, reference):
    """Tukey's standard error, by leaving out every image in turn."""
    count = len(features)
    kept = [torch.cat([features[:i], features[i + 1 :]]) for i in range(count)]
    values = [frechet_distance(observed(item), reference) for item in kept]
    return spread(values) * (count - 1) / count**0.5


@pytest.mark.parametrize(("count", "tolerance"), [(1000, 0.01), (100, 0.1), (5, 0.5)])
def test_the_error_is_that_of_leaving_out_every_image(count, tolerance):
    # The derivative and the difference of 1/N part at order D/N; with 5 images in 6 dimensions,
    # where every image spans a direction of its own, they only share the order of magnitude.
    features, reference = 1.4 * normal(count, seed=0) + 0.3, observed(normal(300, seed=1))
    result = frechet_estimate(features, reference)
    assert result.error == pytest.approx(jackknife(features, reference), rel=tolerance)
    assert result.mean == frechet_distance(observed(features), reference)


def weighted(features, weights):
    """Moments of weighted images; equal weights give the unbiased covariance."""
    count = len(features)
    mean = weights @ features
    deviations = features - mean
    scatter = count * (deviations.T * weights) @ deviations
    return FeatureMoments(count=count, mean=mean, scatter=scatter, extractor=MADE_BY)


@pytest.mark.parametrize("count", [3, DIMENSION, DIMENSION + 1, 20])
def test_the_error_is_that_of_numerical_derivatives(count):
    features, reference = 1.4 * normal(count, seed=20) + 0.3, observed(normal(50, seed=21))
    weights, step = torch.full((count,), 1 / count, dtype=torch.float64), 1e-5
    total = 0.0
    for towards in torch.eye(count, dtype=torch.float64) - weights:
        up, down = (
            frechet_distance(weighted(features, weights + sign * step * towards), reference)
            for sign in (1, -1)
        )
        total += ((up - down) / (2 * step)) ** 2
    # Rounding of 1e-14 over the step, and the step squared.
    assert frechet_estimate(features, reference).error == pytest.approx(
        total**0.5 / count, rel=1e-6
    )


def test_the_error_of_a_distance_that_is_a_square_of_a_mean():
    # In one dimension the distance is (m - 0)² + (s - 1)²: its error by hand, from the influence
    # of x on m and on s, (x - m) and ((x - m)² - s²) / 2 s.
    x = 2 * normal(500, 1, seed=2) + 3
    m, s = x.mean(), x.std(correction=0)
    influence = 2 * m * (x - m) + 2 * (s - 1) * ((x - m).square() - s**2) / (2 * s)
    expected = float(influence.square().sum().sqrt()) / 500
    assert frechet_estimate(x, standard_normal(1)).error == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize(
    ("shift", "scale", "count", "ratio"),
    [(0.3, 1.3, 100, 1), (0.5, 0.7, 30, 1), (0, 1, 200, 2**0.5)],
)
def test_errors_are_the_spread_over_new_images(shift, scale, count, ratio):
    # 200 sets: the spread is known to 5 %. Of a perfect generator (the last row) the distance is
    # quadratic in the images' noise, and the jackknife counts its variance twice.
    estimates = [
        frechet_estimate(scale * normal(count, seed=seed) + shift, standard_normal())
        for seed in range(200)
    ]
    error = rms([estimate.error for estimate in estimates])
    assert error / spread([estimate.mean for estimate in estimates]) == pytest.approx(
        ratio, rel=0.2
    )


def test_the_limit_is_the_distance_of_the_distributions():
    # 0.6² + 6 · 0.3² = 0.9, and (D (D + 1) / 4 + D) / N = 16.5 / N too much for unit Gaussians.
    limits, errors, values, slopes = [], [], [], []
    for seed in range(100):
        features = 1.3 * normal(200, seed=seed)
        features[:, 0] += 0.6
        result = frechet_extrapolated(features, standard_normal(), counts=(50, 100), seed=seed)
        limits.append(result.limit)
        errors.append(result.limit_error)
        values.append(result.points[-1].value)
        slopes.append(result.slope)
    of_mean = spread(limits) / 10
    assert sum(limits) / 100 == pytest.approx(0.9, abs=4 * of_mean)
    # The distance of 200 images itself is away by more than that.
    assert sum(values) / 100 > 0.9 + 5 * of_mean
    # 100 sets know the spread to 7 %; three of those.
    assert rms(errors) == pytest.approx(spread(limits), rel=0.21)


def test_the_limit_of_a_perfect_generator_is_zero_and_the_slope_is_known():
    # Unit Gaussians in D dimensions: the mean is away by D / N, the roots of the eigenvalues of the
    # covariance by D (D + 1) / (4 N), next order D / (8 N) of it.
    result = [
        frechet_extrapolated(normal(400, seed=seed), standard_normal(), counts=(100, 200), seed=0)
        for seed in range(60)
    ]
    limits, slopes = [item.limit for item in result], [item.slope for item in result]
    assert sum(limits) / 60 == pytest.approx(0, abs=4 * spread(limits) / 60**0.5)
    assert sum(slopes) / 60 == pytest.approx(16.5, abs=4 * spread(slopes) / 60**0.5)
    # On the careful side, by √2 as the error of each distance.
    assert spread(limits) < rms([item.limit_error for item in result]) < 2 * spread(limits)


def test_points_and_fit():
    features, reference = 1.2 * normal(100, seed=5), observed(normal(300, seed=6))
    result = frechet_extrapolated(features, reference, counts=(50, 20), seed=0)
    assert [(point.count, point.sets) for point in result.points] == [(20, 5), (50, 2), (100, 1)]
    whole = frechet_estimate(features, reference)
    last = result.points[-1]
    assert last.value == pytest.approx(whole.mean, rel=1e-9)
    assert last.error == pytest.approx(whole.error, rel=1e-9)
    # numpy's weighted least squares; its weights multiply the residuals.
    counts, values = zip(*((point.count, point.value) for point in result.points), strict=True)
    inverse = [1 / count for count in counts]
    slope, limit = np.polyfit(inverse, values, 1, w=np.sqrt(counts))
    assert (result.slope, result.limit) == pytest.approx((slope, limit), rel=1e-9)
    residuals = [v - limit - slope * i for v, i in zip(values, inverse, strict=True)]
    assert result.misfit == pytest.approx(rms(residuals), rel=1e-6)
    again = frechet_extrapolated(features, reference, counts=(20, 50), seed=0)
    assert again == result
    assert frechet_extrapolated(features, reference, counts=(20, 50), seed=1) != result


def test_sets_of_a_point_are_disjoint():
    # Of equal images but one, exactly one of the sets that share them can hold it.
    features = torch.zeros(40, 1, dtype=torch.float64)
    features[17] = 100
    result = frechet_extrapolated(features, standard_normal(1), counts=(4, 10), seed=0)
    # Nine sets of 4 zeros are at (0 - 1)²; one has mean 25 and deviation 50.
    assert result.points[0].value == pytest.approx((9 + 25**2 + 49**2) / 10, rel=1e-6)


# --- the jackknife of blocks ---------------------------------------------------------------------


def test_pseudo_values_leave_out_one_block_each_and_their_mean_is_the_line_through_two_sizes():
    features, reference = 1.2 * normal(60, seed=5), observed(normal(300, seed=6))
    values = frechet_jackknife(features, reference, blocks=5)
    whole = frechet_distance(observed(features), reference)
    left = [
        frechet_distance(observed(torch.cat(part)), reference)
        for part in ((features[: 12 * j], features[12 * j + 12 :]) for j in range(5))
    ]
    assert values.tolist() == pytest.approx([5 * whole - 4 * one for one in left], rel=1e-9)
    line = np.polyfit([1 / 60, 1 / 48], [whole, sum(left) / 5], 1)
    assert float(values.mean()) == pytest.approx(line[1], rel=1e-9)


def test_of_a_linear_statistic_they_are_the_values_of_the_blocks():
    # Far away, |m - m_r|² with one dimension of fixed spread is as good as linear in the mean.
    features = normal(400, 1, seed=3) + 1e4
    values = frechet_jackknife(features, standard_normal(1), blocks=8)
    means = features.view(8, 50).mean(dim=1)
    slope = np.polyfit(means.numpy(), values.numpy(), 1)[0]
    assert slope == pytest.approx(2e4, rel=1e-2)
    assert np.corrcoef(means.numpy(), values.numpy())[0, 1] > 0.999


def test_their_mean_has_no_bias_and_their_scatter_is_its_error():
    # As the limit of `frechet_extrapolated`: 6 (1.3 - 1)² + 0.6² = 0.9, over 200 sets.
    means, errors = [], []
    for seed in range(200):
        features = 1.3 * normal(200, seed=seed)
        features[:, 0] += 0.6
        result = estimate(frechet_jackknife(features, standard_normal(), blocks=10).tolist())
        means.append(result.mean)
        errors.append(result.error)
    assert sum(means) / 200 == pytest.approx(0.9, abs=4 * spread(means) / 200**0.5)
    # 200 sets know the spread to 5 %, as well as 9 degrees of freedom of each; three of those.
    assert rms(errors) == pytest.approx(spread(means), rel=0.15)


def test_a_margin_that_is_just_met_is_shown_by_chance_in_one_of_twenty():
    """Widths 1.3 and s with 6 (s - 1)² = 1.1 · 6 · 0.3²: the truth is the margin itself.

    Of 150 comparisons, on two seeds of 400 pictures with common noise; 4.5 deviations of a count.
    """
    wider = 1 + 0.3 * 1.1**0.5
    answers = []
    for draw in range(150):
        sides = []
        for width in (wider, 1.3):
            sets = [width * normal(400, seed=2 * draw + seed) for seed in (0, 1)]
            sides.append(
                [frechet_jackknife(s, standard_normal(), blocks=10).tolist() for s in sets]
            )
        answers.append(within(excess(*sides, 1.1, paired=True)))
    for word in ("shown", "refuted"):
        assert answers.count(word) / 150 < 0.05 + 4.5 * (0.05 * 0.95 / 150) ** 0.5
    assert answers.count("open") > 100


@pytest.mark.parametrize(("count", "blocks"), [(60, 1), (60, 7), (8, 4)])
def test_blocks_that_cannot_be_left_out(count, blocks):
    with pytest.raises(InputError, match=rf"{count} images in {blocks} blocks"):
        frechet_jackknife(normal(count, seed=7), standard_normal(), blocks=blocks)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [(), (20,), (20, 20), (6, 20), (20, 100), (20, 101)])
def test_counts_that_cannot_be_fitted(counts):
    with pytest.raises(InputError, match=r"two different ones above 6.*below 100"):
        frechet_extrapolated(normal(100, seed=7), standard_normal(), counts=counts, seed=0)


def test_features_without_an_error():
    reference = standard_normal()
    broken = normal(10, seed=8)
    broken[3, 2] = float("nan")
    for features, message in (
        (normal(0, seed=8), "hold 0 rows; expected at least 2"),
        (normal(1, seed=8), "hold 1 rows"),
        (broken, "1 of 10 rows hold NaN"),
        (normal(10, 4, seed=8), "4 dimensions, the reference 6"),
        (normal(10, seed=8).int(), "expected floating point"),
        ([normal(3, seed=8)], "are a list.*mixed sizes"),
    ):
        with pytest.raises(InputError, match=message):
            frechet_estimate(features, reference)
        with pytest.raises(InputError, match=message):
            frechet_extrapolated(features, reference, counts=(7, 8), seed=0)
    with pytest.raises(InputError, match="these moments count 1"):
        frechet_estimate(normal(10, seed=8), observed(normal(1, seed=8)))


def test_constant_features_have_a_distance_and_no_error():
    result = frechet_estimate(torch.ones(10, DIMENSION), standard_normal())
    assert result.mean == pytest.approx(2 * DIMENSION)
    assert result.error == 0


def test_rounding_makes_no_point_negative():
    for seed in range(20):
        features = normal(30, seed=seed)
        result = frechet_extrapolated(features, observed(features), counts=(10, 15), seed=0)
        assert 0 <= result.points[-1].value < 1e-6
