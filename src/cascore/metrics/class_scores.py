"""The Inception score: whether a classifier is sure of each image and unsure of the next one."""

from itertools import pairwise

import torch
from torch import Tensor

from cascore.errors import InputError
from cascore.stats import Estimate


def inception_score(logits: Tensor, *, splits: int = 10, seed: int) -> Estimate:
    """Inception score (Salimans et al. 2016): exp of the mean of KL(p(class | x) || p(class)).

    The images are shuffled (`torch.randperm` of a generator with the seed, so that images in the
    order of their classes do no harm), cut into `splits` parts of nearly equal size, scored part by
    part. A part of n images underestimates the entropy of p(class), and so the score: compare
    only equal n, usually 5,000. The score never sees a real image.

    The error is that of the mean of the parts, NaN for a single one, with splits - 1 degrees of
    freedom; the published "±" is the spread of the parts, the error times √(splits - 1).

    Logits are floating point [N, classes], before the softmax, N >= splits. Logarithms of
    probabilities are logits too, -inf among them; NaN, +inf, and a row without a possible class
    raise InputError.
    """
    if logits.ndim != 2 or not logits.is_floating_point():
        raise InputError(
            f"logits are {logits.dtype} of shape {tuple(logits.shape)}; expected floating point "
            "[N, classes]"
        )
    if not 1 <= splits <= len(logits):
        raise InputError(f"splits is {splits}; expected 1 to {len(logits)}, the number of images")
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))
    probabilities = logits.detach().to(device="cpu", dtype=torch.float64).softmax(dim=1)[order]
    broken = int(probabilities.isnan().any(dim=1).sum())
    if broken or logits.shape[1] == 0:
        raise InputError(
            f"{broken} of {len(logits)} rows of logits have no softmax; expected at least one "
            "class, no NaN, no +inf, and in each row one value above -inf"
        )
    edges = [part * len(logits) // splits for part in range(splits + 1)]
    scores = torch.stack([_score(probabilities[a:b]) for a, b in pairwise(edges)])
    error = float(scores.std()) / splits**0.5 if splits > 1 else float("nan")
    return Estimate(float(scores.mean()), error, splits - 1)


def _score(probabilities: Tensor) -> Tensor:
    """exp(H(mean p) - mean H(p)), the mean divergence from the mean written as two entropies."""
    entropy = torch.special.entr(probabilities).sum(dim=1).mean()
    score: Tensor = (torch.special.entr(probabilities.mean(dim=0)).sum() - entropy).exp()
    return score
