from pathlib import Path

import numpy as np
import pytest
import torch
from features import normal
from torch import nn
from torchmetrics.image.kid import KernelInceptionDistance

from cascore.metrics import kernel_distance

REFERENCE = np.load(Path(__file__).parent / "data" / "torch_fidelity.npz")


def by_pairs(x, y):
    """The definition, pair by pair in Python floats."""

    def kernel(a, b):
        return (sum(s * t for s, t in zip(a, b, strict=True)) / len(a) + 1) ** 3

    p, q = x.tolist(), y.tolist()
    n, m = len(p), len(q)
    inner = sum(kernel(a, b) for i, a in enumerate(p) for j, b in enumerate(p) if i != j)
    outer = sum(kernel(a, b) for i, a in enumerate(q) for j, b in enumerate(q) if i != j)
    cross = sum(kernel(a, b) for a in p for b in q)
    return inner / (n * (n - 1)) + outer / (m * (m - 1)) - 2 * cross / (n * m)


class Precomputed(nn.Module):
    """A feature network for torchmetrics: images are numbers of rows of a table of features."""

    num_features = 4

    def __init__(self, table):
        super().__init__()
        self.register_buffer("table", table)

    def forward(self, images):
        return self.table[images[:, 0, 0, 0].long()]


def torchmetrics_distance(x, y, **settings):
    oracle = KernelInceptionDistance(feature=Precomputed(torch.cat([x, y])), **settings)
    oracle.set_dtype(torch.float64)
    rows = torch.arange(len(x) + len(y), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    oracle.update(rows[: len(x)], real=False)
    oracle.update(rows[len(x) :], real=True)
    return float(oracle.compute()[0])


@pytest.mark.parametrize(("n", "m"), [(2, 2), (9, 5), (7, 20)])
@pytest.mark.parametrize("chunk", [1, 4, 1024])
def test_the_definition(n, m, chunk):
    x, y = normal(n, 3, seed=0) + 0.5, normal(m, 3, seed=1)
    result = kernel_distance(x, y, chunk=chunk)
    assert result.mean == pytest.approx(by_pairs(x, y), rel=1e-12)
    assert result.error == pytest.approx(kernel_distance(x, y).error, rel=1e-9)


@pytest.mark.parametrize("name", ["similar", "collapsed", "wide", "far"])
def test_torch_fidelity(name):
    generated, real = (torch.from_numpy(REFERENCE[key]) for key in (name, "real"))
    expected = float(REFERENCE[f"{name}_kernel_distance"])
    assert kernel_distance(generated, real[:40]).mean == pytest.approx(expected, rel=1e-11)


def test_the_error_by_its_formula():
    """Kernel matrices written out; the diagonal of a set with itself is left out of its means."""
    x, y = normal(12, 3, seed=7) + 0.3, normal(9, 3, seed=8)
    p, q = x.numpy(), y.numpy()
    n, m = len(p), len(q)
    k_xx, k_yy, k_xy = ((a @ b.T / 3 + 1) ** 3 for a, b in ((p, p), (q, q), (p, q)))
    off_n, off_m = (~np.eye(size, dtype=bool) for size in (n, m))
    row_xx, row_yy = (
        (k * off).sum(axis=1) / (len(k) - 1) for k, off in ((k_xx, off_n), (k_yy, off_m))
    )
    row_xy, column_xy = k_xy.mean(axis=1), k_xy.mean(axis=0)
    zeta_xx = (k_xx[off_n] ** 2).mean() - 2 * (row_xx**2).mean() + row_xx.mean() ** 2
    zeta_yy = (k_yy[off_m] ** 2).mean() - 2 * (row_yy**2).mean() + row_yy.mean() ** 2
    zeta_xy = ((k_xy - row_xy[:, None] - column_xy + k_xy.mean()) ** 2).mean()
    once = 4 * (row_xx - row_xy).var(ddof=1) / n + 4 * (row_yy - column_xy).var(ddof=1) / m
    twice = 2 * zeta_xx / n**2 + 4 * zeta_xy / (n * m) + 2 * zeta_yy / m**2
    assert once > 2 * twice > 0
    expected = np.sqrt(once - twice)
    assert kernel_distance(x, y, chunk=4).error == pytest.approx(expected, rel=1e-12)


# torchmetrics warns that it keeps all features.
@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`")
def test_torchmetrics_with_all_images_in_one_subset():
    x, y = 1.2 * normal(60, 4, seed=2) + 0.2, normal(60, 4, seed=3)
    expected = torchmetrics_distance(x, y, subsets=1, subset_size=60)
    assert kernel_distance(x, y).mean == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("shift", "n", "m"), [(0.4, 60, 90), (1.0, 60, 30)])
def test_no_bias_and_the_spread_that_is_promised(shift, n, m):
    # In closed form for two points each: E k(x, y) of independent normals. Here the oracle is a
    # single pair of sets a hundred times as large.
    truth = kernel_distance(normal(6000, 4, seed=0) + shift, normal(6000, 4, seed=1))
    result = [
        kernel_distance(normal(n, 4, seed=2 * s) + shift, normal(m, 4, seed=2 * s + 1))
        for s in range(1, 301)
    ]
    values = torch.tensor([item.mean for item in result])
    errors = torch.tensor([item.error for item in result])
    tolerance = 4 * float(values.std()) / 300**0.5 + 4 * truth.error
    assert float(values.mean()) == pytest.approx(truth.mean, abs=tolerance)
    # 300 draws of a skewed value: the spread is known to about 6 %.
    assert float(errors.square().mean().sqrt()) == pytest.approx(float(values.std()), rel=0.18)


def test_equal_distributions_score_zero_on_average_with_a_careful_error():
    result = [
        kernel_distance(normal(50, 4, seed=2 * s), normal(80, 4, seed=2 * s + 1))
        for s in range(300)
    ]
    values = torch.tensor([item.mean for item in result])
    ratio = torch.tensor([item.error for item in result]).square().mean().sqrt() / values.std()
    assert float(values.mean()) == pytest.approx(0, abs=4 * float(values.std()) / 300**0.5)
    assert values.min() < 0  # unbiased: not clamped
    # Noise can only raise the estimated variance here: by half at most, in the deviation a quarter.
    assert 0.9 < float(ratio) < 1.3


def test_constant_features():
    # All kernels are (1 + 1)³.
    result = kernel_distance(torch.ones(4, 3), torch.ones(6, 3))
    assert (result.mean, result.error) == pytest.approx((0, 0), abs=1e-6)
