import math

import pytest
import torch

from cascore.errors import InputError
from cascore.metrics import mode_coverage


def test_counts_by_hand() -> None:
    # q = (1/2, 1/4, 1/4) of 4 modes: Σ q log 4q = log(2) / 2.
    result = mode_coverage(torch.tensor([0, 3, 0, 1]), 4)
    assert result.covered == 3
    assert result.kl == pytest.approx(math.log(2) / 2, rel=1e-14)


def test_extremes() -> None:
    assert mode_coverage(torch.arange(1000).repeat(3), 1000) == (1000, 0.0)
    one = mode_coverage(torch.full((7,), 999), 1000)
    assert one.covered == 1
    assert one.kl == pytest.approx(math.log(1000), rel=1e-14)
    assert mode_coverage(torch.tensor([0]), 1) == (1, 0.0)


def test_divides_by_the_number_of_labels_given() -> None:
    # Repeating every label changes no share; a wrong total would scale the sum.
    labels = torch.tensor([0, 0, 1, 2, 2, 2], dtype=torch.int32)
    once, twice = mode_coverage(labels, 5), mode_coverage(labels.repeat(2), 5)
    assert once.covered == twice.covered == 3
    assert once.kl == pytest.approx(twice.kl, rel=1e-14)


def test_uniform_labels_have_the_bias_of_a_finite_sample() -> None:
    generator = torch.Generator().manual_seed(0)
    modes, count, trials = 100, 20_000, 50
    kls = [
        mode_coverage(torch.randint(modes, (count,), generator=generator), modes).kl
        for _ in range(trials)
    ]
    expected = (modes - 1) / (2 * count)
    # 2 n KL is nearly chi-square: standard deviation √(2 / 99) = 14 % of the mean, over √50
    # trials 2 %. Four of those.
    assert sum(kls) / trials == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.empty(0, dtype=torch.int64), "N at least 1"),
        (torch.zeros(3), "expected integers"),
        (torch.zeros(3, dtype=torch.bool), "expected integers"),
        (torch.zeros(3, 1, dtype=torch.int64), r"shape \(3, 1\)"),
        (torch.tensor([0, 10]), "labels span 0 to 10; with 10 modes"),
        (torch.tensor([-1, 2]), "labels span -1 to 2"),
    ],
)
def test_labels_that_cannot_be_counted(labels: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        mode_coverage(labels, 10)


def test_there_must_be_modes() -> None:
    with pytest.raises(InputError, match="modes is 0"):
        mode_coverage(torch.tensor([0]), 0)
