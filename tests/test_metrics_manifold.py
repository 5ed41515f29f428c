import math
from pathlib import Path

import numpy as np
import pytest
import torch
from features import normal
from torch import Tensor

from cascore.errors import InputError
from cascore.metrics import density_coverage, kernel_distance, precision_recall

REFERENCE = np.load(Path(__file__).parent / "data" / "torch_fidelity.npz")


def balls(points, centres, k):
    """Which points lie in which balls, [points, centres], by every distance there is."""
    p, c = points.numpy(), centres.numpy()
    among = np.sqrt(((c[:, None] - c[None]) ** 2).sum(axis=2))
    np.fill_diagonal(among, np.inf)  # nobody is its own neighbour
    radii = np.sort(among, axis=1)[:, k - 1]
    return np.sqrt(((p[:, None] - c[None]) ** 2).sum(axis=2)) <= radii


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("name", ["similar", "collapsed", "wide", "far"])
def test_torch_fidelity(name, k):
    generated, real = (torch.from_numpy(REFERENCE[key]) for key in (name, "real"))
    precision, recall = REFERENCE[f"{name}_precision_recall_{k}"]
    result = precision_recall(generated, real, neighbours=k)
    # The reference's means of 0 and 1 are in float32.
    assert result.precision.mean == pytest.approx(precision, rel=1e-6)
    assert result.recall.mean == pytest.approx(recall, rel=1e-6)


def test_a_collapsed_generator_is_precise_and_forgets():
    real = normal(300, 8, seed=0)
    collapsed = 0.1 * normal(200, 8, seed=1)
    result = precision_recall(collapsed, real)
    assert result.precision.mean > 0.95
    assert result.recall.mean < 0.05
    scattered = precision_recall(3 * normal(200, 8, seed=2), real)
    assert scattered.precision.mean < 0.05
    assert scattered.recall.mean > 0.95
    filled = density_coverage(collapsed, real)
    assert filled.density.mean > 2
    assert filled.coverage.mean < density_coverage(normal(200, 8, seed=3), real).coverage.mean - 0.2


@pytest.mark.parametrize("chunk", [1, 7, 1024])
@pytest.mark.parametrize("k", [1, 3, 10])
def test_brute_force(k, chunk):
    generated, real = 1.3 * normal(40, 5, seed=4) + 0.2, normal(60, 5, seed=5)
    in_real, in_generated = balls(generated, real, k), balls(real, generated, k)
    share = precision_recall(generated, real, neighbours=k, chunk=chunk)
    assert share.precision.mean == in_real.any(axis=1).mean()
    assert share.recall.mean == in_generated.any(axis=1).mean()
    filled = density_coverage(generated, real, neighbours=k, chunk=chunk)
    assert filled.density.mean == pytest.approx(in_real.sum() / (k * 40), rel=1e-14)
    assert filled.coverage.mean == in_real.any(axis=0).mean()
    assert filled.density.error == pytest.approx(
        in_real.sum(axis=1).std(ddof=1) / k / math.sqrt(40), rel=1e-12
    )


def test_features_far_from_zero():
    # The squares are 1e14 times those of the distances: without centring no digit would be left.
    generated, real = 1.3 * normal(40, 5, seed=4) + 0.2, normal(60, 5, seed=5)
    moved = precision_recall(generated + 1e7, real + 1e7)
    assert moved == precision_recall(generated, real)


def test_density_and_coverage_of_equal_distributions():
    # A new point is within the k-th neighbour of a ball among N with probability k / N, whatever
    # the distribution: the density is 1 on average. That none of N is, among N - 1 others, has
    # probability C(N - 1, k) / C(2 N - 1, k).
    result = [
        density_coverage(normal(60, 3, seed=2 * s), normal(60, 3, seed=2 * s + 1))
        for s in range(200)
    ]
    density = torch.tensor([item.density.mean for item in result])
    coverage = torch.tensor([item.coverage.mean for item in result])
    expected = 1 - math.comb(59, 5) / math.comb(119, 5)
    assert float(density.mean()) == pytest.approx(1, abs=4 * float(density.std()) / 200**0.5)
    assert float(coverage.mean()) == pytest.approx(
        expected, abs=4 * float(coverage.std()) / 200**0.5
    )


def test_errors_are_the_spread_of_what_they_cover():
    # Real images fixed and generated ones drawn anew for precision and density, the reverse for
    # recall; 300 draws know a spread to 4 %, and the errors vary little.
    fixed = normal(80, 4, seed=6)
    as_real = [0.8 * normal(100, 4, seed=s) + 0.5 for s in range(300)]
    shares = [precision_recall(generated, fixed) for generated in as_real]
    filled = [density_coverage(generated, fixed) for generated in as_real]
    recalls = [precision_recall(fixed, real) for real in as_real]
    for estimates in (
        [share.precision for share in shares],
        [fill.density for fill in filled],
        [share.recall for share in recalls],
    ):
        spread = float(torch.tensor([estimate.mean for estimate in estimates]).std())
        error = sum(estimate.error for estimate in estimates) / 300
        assert error == pytest.approx(spread, rel=0.16)


def test_the_error_of_a_share_by_hand():
    # Agresti & Coull: 2 more hits and 2 more misses. Far away no sample is in any ball: 2 of 104.
    result = precision_recall(normal(100, 3, seed=7) + 50, normal(80, 3, seed=8))
    assert (result.precision.mean, result.recall.mean) == (0, 0)
    assert result.precision.error == pytest.approx(math.sqrt(2 / 104 * 102 / 104 / 104))
    assert result.recall.error == pytest.approx(math.sqrt(2 / 84 * 82 / 84 / 84))
    filled = density_coverage(normal(100, 3, seed=7) + 50, normal(80, 3, seed=8))
    assert (filled.density.mean, filled.coverage.mean) == (0, 0)
    assert filled.coverage.error == result.recall.error


def test_equal_features_are_in_each_others_balls():
    # Radius 0; an expansion of the squared distance would decide by its rounding. Far from 0, too.
    constant = torch.full((20, 33), 1e4 / 3)
    result = precision_recall(constant, constant)
    assert (result.precision.mean, result.recall.mean) == (1, 1)
    assert density_coverage(constant, constant).coverage.mean == 1
    copies = normal(30, 33, seed=9).repeat_interleave(5, dim=0) + 1000
    result = precision_recall(copies, copies)
    assert (result.precision.mean, result.recall.mean) == (1, 1)
    # Each sample lies in the balls of all five copies, k = 3 being fewer than the other four.
    assert density_coverage(copies, copies, neighbours=3).density.mean == pytest.approx(5 / 3)
    apart = precision_recall(constant + 1, constant)
    assert (apart.precision.mean, apart.recall.mean) == (0, 0)


def test_memory_is_bounded_by_the_chunk():
    """No intermediate has more elements than the features themselves."""
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                largest = max(largest, result.numel())
            return result

    x, y = normal(3000, 4, seed=10), normal(2000, 4, seed=11)
    with Watch():
        precision_recall(x, y, chunk=50)
        density_coverage(x, y, chunk=50)
    assert largest <= 3000 * 4  # a full matrix of distances would have 6 million


@pytest.mark.parametrize("measure", [kernel_distance, precision_recall, density_coverage])
def test_pairs_of_features_that_do_not_compare(measure):
    good, broken = normal(8, 4, seed=12), normal(8, 4, seed=12)
    broken[2, 2] = float("nan")
    for generated, reference, message in (
        (good[:0], good, "hold 0|0 generated images have no . neighbours"),
        (good, good[:1], "hold 1|1 reference images have no . neighbours"),
        (broken, good, "generated features: 1 of 8 .* NaN"),
        (good, broken, "reference features: 1 of 8 .* NaN"),
        (good, good[:, :3], "4 dimensions, reference features 3"),
        (good.long(), good, "torch.int64"),
        (list(good), good, "generated features are a list"),
    ):
        with pytest.raises(InputError, match=message):
            measure(generated, reference)
    with pytest.raises(InputError, match="chunk is 0"):
        measure(good, good, chunk=0)
    if measure is not kernel_distance:
        for neighbours, message in ((0, "neighbours is 0"), (8, "give at least 9")):
            with pytest.raises(InputError, match=message):
                measure(good, good, neighbours=neighbours)
