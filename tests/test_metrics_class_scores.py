import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cascore.errors import InputError
from cascore.metrics import inception_score

REFERENCE = np.load(Path(__file__).parent / "data" / "torch_fidelity.npz")
LOGITS = torch.from_numpy(REFERENCE["logits"])


def unshuffled(logits, *, seed):
    """What `inception_score` with this seed shuffles into the given order."""
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))
    return logits[order.argsort()]


@pytest.mark.parametrize("splits", [1, 4, 10])
def test_torch_fidelity(splits):
    value, spread = REFERENCE[f"inception_score_{splits}"]
    result = inception_score(unshuffled(LOGITS, seed=3), splits=splits, seed=3)
    published = result.error * math.sqrt(splits - 1) if splits > 1 else 0.0
    assert (result.mean, published) == pytest.approx((value, spread), rel=1e-12, abs=1e-13)
    assert result.freedom == splits - 1


def test_the_definition():
    p = LOGITS.double().softmax(dim=1).tolist()
    mean = [sum(column) / len(p) for column in zip(*p, strict=True)]
    divergences = [sum(a * math.log(a / b) for a, b in zip(row, mean, strict=True)) for row in p]
    expected = math.exp(sum(divergences) / len(p))
    assert inception_score(LOGITS, splits=1, seed=0).mean == pytest.approx(expected, rel=1e-12)
    # Logarithms of probabilities are logits.
    logs = torch.tensor(p, dtype=torch.float64).log()
    assert inception_score(logs, splits=1, seed=0).mean == pytest.approx(expected, rel=1e-12)


def test_extremes():
    # Sure of every image and all classes equally often: the number of classes. Anything constant: 1
    sure = torch.full((40, 4), -math.inf)
    sure[torch.arange(40), torch.arange(40) % 4] = 0
    assert inception_score(sure, splits=1, seed=0).mean == pytest.approx(4, rel=1e-14)
    assert inception_score(torch.zeros(40, 4), seed=0).mean == pytest.approx(1, rel=1e-14)
    assert inception_score(sure[:1].repeat(40, 1), seed=0).mean == pytest.approx(1, rel=1e-14)
    alone = inception_score(LOGITS[:1], splits=1, seed=0)
    assert alone.mean == pytest.approx(1, rel=1e-14)
    assert math.isnan(alone.error)


def test_images_in_the_order_of_their_classes():
    # Cut without a shuffle, every part would hold a single class and score 1.
    sure = torch.eye(4).repeat_interleave(250, dim=0) * 20
    result = inception_score(sure, splits=4, seed=0)
    assert result.mean == pytest.approx(4, rel=0.02)
    assert result == inception_score(sure, splits=4, seed=0)
    assert result != inception_score(sure, splits=4, seed=1)


def test_logits_without_a_score():
    broken, impossible = LOGITS.clone(), LOGITS.clone()
    broken[[2, 5], 1] = float("nan")
    impossible[3] = -math.inf
    infinite = LOGITS.clone()
    infinite[0, 0] = math.inf
    for logits, splits, message in (
        (LOGITS.long(), 1, "torch.int64"),
        (LOGITS[0], 1, r"shape \(5,\)"),
        (LOGITS[:0], 1, "splits is 1; expected 1 to 0"),
        (LOGITS[:9], 10, "splits is 10; expected 1 to 9"),
        (LOGITS, 0, "splits is 0"),
        (broken, 1, "2 of 61 rows"),
        (impossible, 1, "1 of 61 rows"),
        (infinite, 1, "1 of 61 rows"),
        (LOGITS[:, :0], 1, "at least one class"),
    ):
        with pytest.raises(InputError, match=message):
            inception_score(logits, splits=splits, seed=0)
