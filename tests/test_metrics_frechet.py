import math

import numpy as np
import pytest
import scipy.linalg
import torch
from features import MADE_BY, normal, observed
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from cascore.errors import InputError
from cascore.metrics import ExtractorIdentity, FeatureMoments, frechet_distance
from cascore.metrics.frechet import covariance_factor


def gaussian(mean, covariance):
    """Moments with exactly this mean and covariance."""
    return FeatureMoments(count=2, mean=mean, scatter=covariance, extractor=MADE_BY)


def without_covariances(x, y):
    """The distance from the features themselves: the nuclear norm of the centred X Yᵀ.

    No root is taken of a covariance's eigenvalues, so a deficient rank costs no digits.
    """
    p, q = ((f - f.mean(axis=0)) / np.sqrt(len(f) - 1) for f in (x.numpy(), y.numpy()))
    overlap = np.linalg.norm(p @ q.T, ord="nuc")
    shift = ((x.numpy().mean(axis=0) - y.numpy().mean(axis=0)) ** 2).sum()
    return float(shift + (p**2).sum() + (q**2).sum() - 2 * overlap)


def traces(a, b):
    return float(a.covariance.trace() + b.covariance.trace())


def test_one_dimension_by_hand():
    # (3 - 1)² + (5 - 2)²
    a = gaussian(torch.tensor([1.0]).double(), torch.tensor([[4.0]]).double())
    b = gaussian(torch.tensor([3.0]).double(), torch.tensor([[25.0]]).double())
    assert frechet_distance(a, b) == pytest.approx(13, rel=1e-14)


@pytest.mark.parametrize(("u_dot_v", "expected"), [(0.0, 2.0), (0.6, 0.8), (1.0, 0.0)])
def test_rank_one_covariances(u_dot_v, expected):
    # A = u uᵀ, B = v vᵀ with unit vectors: the trace of the root is |u·v|.
    u, v = torch.zeros(2, 5, dtype=torch.float64)
    u[0], v[0], v[3] = 1, u_dot_v, math.sqrt(1 - u_dot_v**2)
    zero = torch.zeros(5, dtype=torch.float64)
    a, b = gaussian(zero, torch.outer(u, u)), gaussian(zero, torch.outer(v, v))
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("dimension", [2, 16, 64])
def test_scipys_matrix_root(dimension):
    scale = torch.logspace(-2, 1, dimension).double()
    a = observed(normal(3 * dimension, dimension, seed=3) * scale)
    b = observed(normal(4 * dimension, dimension, seed=4) * scale.flip(0) + 0.1)
    root = scipy.linalg.sqrtm(a.covariance.numpy() @ b.covariance.numpy())
    expected = float((a.mean - b.mean).square().sum()) + traces(a, b) - 2 * np.trace(root).real
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-8 * traces(a, b))


@pytest.mark.parametrize(("first", "second"), [(20, 200), (20, 30), (2, 2), (100, 200)])
def test_fewer_images_than_dimensions(first, second):
    x, y = normal(first, 64, seed=5), 2 * normal(second, 64, seed=6) + 1
    a, b = observed(x), observed(y)
    expected = without_covariances(x, y)
    # The textbook's product of covariances is off by about 1e-8 of the traces here.
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-13 * traces(a, b))


def test_torchmetrics_with_a_feature_network_of_our_own():
    class Projection(nn.Module):
        num_features = 5

        def __init__(self):
            super().__init__()
            self.register_buffer("matrix", normal(12, 5, seed=7))

        def forward(self, images):
            return (images.flatten(1).double() / 255) @ self.matrix

    network = Projection()
    oracle = FrechetInceptionDistance(feature=network, input_img_size=(3, 2, 2))
    oracle.set_dtype(torch.float64)
    generator = torch.Generator().manual_seed(8)
    real = torch.randint(256, (40, 3, 2, 2), generator=generator).to(torch.uint8)
    fake = torch.randint(200, (30, 3, 2, 2), generator=generator).to(torch.uint8)
    oracle.update(real, real=True)
    oracle.update(fake, real=False)
    a, b = observed(network(real)), observed(network(fake))
    # The oracle's features and sums go through float32 in places.
    assert frechet_distance(a, b) == pytest.approx(float(oracle.compute()), rel=1e-5)


def test_a_metric_squared():
    a, b = observed(normal(30, 8, seed=9)), observed(normal(12, 8, seed=10) + 0.5)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)
    for seed in range(20):  # rounding falls to either side of 0
        same = observed(normal(30, 8, seed=seed))
        assert 0 <= frechet_distance(same, same) <= 1e-13 * traces(same, same)
    rotation = torch.linalg.qr(normal(8, 8, seed=11)).Q
    turned = frechet_distance(
        observed(normal(30, 8, seed=9) @ rotation),
        observed((normal(12, 8, seed=10) + 0.5) @ rotation),
    )
    assert turned == pytest.approx(frechet_distance(a, b), rel=1e-11)


def test_constant_features():
    constant, spread = observed(torch.ones(10, 4)), observed(normal(50, 4, seed=12))
    expected = float((spread.mean - 1).square().sum() + spread.covariance.trace())
    assert frechet_distance(constant, spread) == pytest.approx(expected, rel=1e-14)
    assert frechet_distance(constant, constant) == 0


def test_what_is_not_comparable():
    ours = observed(normal(5, 3, seed=13))
    stranger = ExtractorIdentity(name="test", digest="f" * 64)  # same name, other weights
    theirs = FeatureMoments.of(normal(5, 3, seed=13), extractor=stranger)
    with pytest.raises(InputError, match=r"digest 000000000000.*digest ffffffffffff"):
        frechet_distance(ours, theirs)
    with pytest.raises(InputError, match="3 and of 4 dimensions"):
        frechet_distance(ours, observed(normal(5, 4, seed=13)))
    for count in (0, 1):
        with pytest.raises(InputError, match=f"these moments count {count}"):
            frechet_distance(ours, observed(normal(count, 3, seed=14)))


def rotated(spectrum, *, seed):
    rotation = torch.linalg.qr(normal(len(spectrum), len(spectrum), seed=seed)).Q
    covariance = rotation @ spectrum.diag() @ rotation.T
    return gaussian(torch.zeros_like(spectrum), (covariance + covariance.T) / 2)


@pytest.mark.parametrize("power", [1, 3, 5, 6])
@pytest.mark.parametrize("against", ["itself", "its reverse", "flat"])
def test_spectra_that_fall_by_many_powers_of_ten(power, against):
    # Commuting covariances have the exact answer. At power 6 the smallest variance is 4e-15 of the
    # largest, below 256 times the rounding error, and counts as 0 in part.
    p = torch.arange(1, 257).double() ** -power
    q = {"itself": 2 * p, "its reverse": p.flip(0), "flat": torch.ones_like(p)}[against]
    a, b = rotated(p, seed=0), rotated(q, seed=0)
    expected = float((p.sqrt() - q.sqrt()).square().sum())
    for first, second in ((a, b), (b, a)):
        assert frechet_distance(first, second) == pytest.approx(expected, abs=1e-8 * traces(a, b))


@pytest.mark.parametrize("smallest", [-5, -10])
@pytest.mark.parametrize("order", ["growing", "shuffled"])
def test_features_whose_scales_differ_in_any_order(order, smallest):
    # Scales over many powers of ten, mixed by rotations before they are applied: 1e-5 still has
    # full rank to rounding, 1e-10 has not. Without sorting the features, the first is off by 1e-8.
    scales = torch.logspace(smallest, 0, 200).double()
    if order == "shuffled":
        scales = scales[torch.randperm(200, generator=torch.Generator().manual_seed(0))]
    p, q = (scales[:, None] * torch.linalg.qr(normal(200, 200, seed=seed)).Q for seed in (0, 1))
    q = q * torch.linspace(0.5, 2, 200).double()
    a, b = (gaussian(torch.zeros(200).double(), f @ f.T) for f in (p, q))
    expected = traces(a, b) - 2 * float(torch.linalg.svdvals(p.T @ q).sum())
    assert frechet_distance(a, b) == pytest.approx(expected, abs=1e-11 * traces(a, b))


@pytest.mark.parametrize("rank", [1, 5, 127, 128, 129, 255, 300])
def test_factors_of_any_rank(rank):
    """Around the block size of the pivoted factorisation, and below the 300 dimensions."""
    columns = normal(300, rank, seed=rank) * torch.logspace(0, -3, rank).double()
    covariance = columns @ columns.T
    factor = covariance_factor(covariance)
    assert factor.shape == (300, rank)
    torch.testing.assert_close(factor @ factor.T, covariance, rtol=0, atol=1e-11)


def test_duplicated_and_constant_features():
    # Neither adds a dimension: the distance is that of the features kept, each counted twice.
    x, y = normal(80, 6, seed=15), 1.5 * normal(90, 6, seed=16) + 0.3
    doubled = [torch.cat([f, f, torch.full((len(f), 3), 7.0).double()], dim=1) for f in (x, y)]
    expected = 2 * frechet_distance(observed(x), observed(y))
    assert frechet_distance(*map(observed, doubled)) == pytest.approx(expected, rel=1e-12)


def test_a_variance_below_rounding_is_none():
    assert covariance_factor(torch.tensor([1, 1e-20]).double().diag()).shape == (2, 1)
    assert covariance_factor(torch.tensor([1e-20, 1e-10]).double().diag()).shape == (2, 2)
    assert covariance_factor(torch.zeros(3, 3).double()).shape == (3, 0)
