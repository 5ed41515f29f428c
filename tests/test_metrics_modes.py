import itertools
import math

import pytest
import torch

from cascore.errors import InputError
from cascore.evaluation.metrics import mode_labels
from cascore.metrics import load_classifier, mode_coverage, published_kl, stacked_labels


def test_counts_by_hand():
    # q = (1/2, 1/4, 1/4) of 4 modes: Σ q log 4q = log(2) / 2.
    result = mode_coverage(torch.tensor([0, 3, 0, 1]), 4)
    assert result.covered == 3
    assert result.kl == pytest.approx(math.log(2) / 2, rel=1e-14)


def test_extremes():
    even = mode_coverage(torch.arange(1000).repeat(3), 1000)
    assert (even.covered, even.kl, even.count) == (1000, 0.0, 3000)
    one = mode_coverage(torch.full((7,), 999), 1000)
    assert one.covered == 1
    assert one.kl == pytest.approx(math.log(1000), rel=1e-14)
    single = mode_coverage(torch.tensor([0]), 1)
    assert (single.covered, single.kl, single.kl_error) == (1, 0.0, 0.0)


@pytest.mark.parametrize(("modes", "count"), [(100, 20_000), (1000, 1437), (1000, 8)])
def test_uniform_labels_have_the_bias_of_a_finite_sample(modes, count):
    """Of the floor the mean of 200 draws, of which their scatter tells the error: four of those."""
    generator = torch.Generator().manual_seed(0)
    drawn = [
        mode_coverage(torch.randint(modes, (count,), generator=generator), modes)
        for _ in range(200)
    ]
    kls = torch.tensor([one.kl for one in drawn], dtype=torch.float64)
    error = float(kls.std()) / 200**0.5
    assert float(kls.mean()) == pytest.approx(drawn[0].kl_floor, abs=4 * error)
    if count > 100 * modes:
        assert drawn[0].kl_floor == pytest.approx((modes - 1) / (2 * count), rel=2e-3)


@pytest.mark.parametrize(("modes", "count"), [(1, 3), (2, 5), (3, 4)])
def test_the_floor_is_the_mean_over_all_that_can_be_drawn(modes, count):
    every = [
        mode_coverage(torch.tensor(labels), modes)
        for labels in itertools.product(range(modes), repeat=count)
    ]
    assert every[0].kl_floor == pytest.approx(sum(one.kl for one in every) / len(every), abs=1e-12)


def test_errors_by_hand():
    # Counts 4, 1, 1 of 5 modes: two classes were hit once, 5/6 (2 - 4/6) = 10/9. The variance of
    # log 5q is that of log 4 with probability 4/6: (log 4)² 2/9, over N; noise 2 / (2 · 36).
    result = mode_coverage(torch.tensor([0, 0, 1, 2, 0, 0]), 5)
    assert result.covered_error == pytest.approx(math.sqrt(10 / 9))
    assert result.kl_error == pytest.approx(math.sqrt(math.log(4) ** 2 * 2 / 9 / 6 - 1 / 36))


@pytest.mark.parametrize("power", [0, 1, 3])
def test_errors_are_the_spread_over_new_samples(power):
    generator = torch.Generator().manual_seed(1)
    weights = torch.arange(1, 101).double() ** power
    result = [
        mode_coverage(torch.multinomial(weights, 2000, replacement=True, generator=generator), 100)
        for _ in range(300)
    ]
    values = torch.tensor([item.kl for item in result])
    errors = torch.tensor([item.kl_error for item in result])
    # 300 draws know a spread to 4 %; the estimate's own bias is of order modes / N = 5 %.
    assert float(errors.square().mean().sqrt()) == pytest.approx(float(values.std()), rel=0.15)
    covered = torch.tensor([item.covered for item in result], dtype=torch.float64)
    jackknife = torch.tensor([item.covered_error for item in result]).square().mean().sqrt()
    assert float(covered.std()) <= float(jackknife) * 1.1 + 1e-9  # never on the careless side


def test_stacked_digits():
    digits = torch.tensor([[0, 0, 0], [0, 0, 9], [1, 2, 3], [9, 9, 9]], dtype=torch.uint8)
    labels = stacked_labels(digits)
    assert labels.tolist() == [0, 9, 123, 999]
    assert labels.dtype == torch.int64
    assert stacked_labels(digits[:0]).shape == (0,)
    every = torch.cartesian_prod(*[torch.arange(10)] * 3)
    assert mode_coverage(stacked_labels(every), 1000).covered == 1000


def test_labels_that_cannot_be_counted_or_stacked():
    floats, flags = torch.zeros(3), torch.zeros(3, dtype=torch.bool)
    for labels, modes in (
        *((labels, 10) for labels in (torch.empty(0, dtype=torch.int64), floats, flags)),
        *((torch.tensor(labels), 10) for labels in ([[0], [0]], [0, 10], [-1, 2])),
        (torch.tensor([0]), 0),
    ):
        with pytest.raises(InputError, match=r"expected integers|labels span|modes is 0"):
            mode_coverage(labels, modes)
    for digits in (floats, torch.zeros(3, 3), *map(torch.tensor, ([[0, 0]], [[0, 10, 0]]))):
        with pytest.raises(InputError, match=r"expected integers|digits span"):
            stacked_labels(digits)


@pytest.mark.parametrize(("batch", "batches", "total"), [(5000, 5, 26000), (10, 3, 40)])
def test_the_published_arithmetic(batch, batches, total):
    """What the authors' evaluation does: one histogram, every batch added twice, a fixed total."""
    labels = torch.randint(7, (batches, batch), generator=torch.Generator().manual_seed(2))
    histogram = [0] * 10
    for row in labels.tolist():
        for _ in range(2):
            for label in row:
                histogram[label] += 1
    printed = sum(n / total * math.log(10 * n / total) for n in histogram if n)
    kl = mode_coverage(labels.flatten(), 10).kl
    assert published_kl(kl, counted=batch * batches, total=total) == pytest.approx(printed)


def test_what_table_4_means():
    # NOTES: a perfect sampler prints 1.30, and 1.36 and 1.49 are divergences of 0.053 and 0.121.
    for kl, printed in ((999 / 50_000, 1.30), (0.053, 1.36), (0.121, 1.49)):
        assert published_kl(kl, counted=25_000, total=26_000) == pytest.approx(printed, abs=5e-3)
    for kl, counted, total in ((-0.1, 1, 1), (math.nan, 1, 1), (0.0, 0, 1), (0.0, 1, 0)):
        with pytest.raises(InputError, match="expected a divergence of at least 0"):
            published_kl(kl, counted=counted, total=total)


def test_channels_are_labelled_one_by_one_where_the_classifier_takes_one():
    colours = torch.randint(256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    photographs, knows_colour = colours.to(torch.uint8), load_classifier("cifar-10-jpeg")
    labels, modes = mode_labels(photographs, knows_colour)
    assert (labels.tolist(), modes) == (knows_colour.classify(photographs).tolist(), 10)
    stacked, of_digits = photographs[..., :28, :28].contiguous(), load_classifier("mnist")
    labels, modes = mode_labels(stacked, of_digits)
    digits = [of_digits.classify(stacked[:, c : c + 1].contiguous()) for c in range(3)]
    assert modes == 1000
    assert labels.tolist() == (100 * digits[0] + 10 * digits[1] + digits[2]).tolist()
