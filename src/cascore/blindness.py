"""Proposition 4: what the samplers do to a wrong noise level that the network cannot see.

Technique 3's network is f(x) in H = x + sigma f(x), an estimate of the unit noise. Around one datum
x0 in high dimension its optimum is f(x) = -sqrt(D) (x - x0) / |x - x0|, of the right length
whatever noise x has. With tau the deviation of that noise, H - x0 = (1 - sigma / tau) (x - x0), 0
only where tau = sigma. A step of consistent annealing of order 1 then gives

    tau_next^2 = (tau - sigma + sigma gamma^kappa)^2 + sigma^2 gamma^2 (1 - gamma^(2 kappa - 2)).

To first order in tau / sigma - 1, at any order, a step multiplies it by gamma^(kappa - 2): it grows
for kappa < 2, stays at 2 and dies above, where a large one still grows (`blind_basin`). A step of
annealed Langevin multiplies the distance from its fixed point, tau = sigma (1 + eta / 2), by
(1 - eta / 2) / (1 + eta / 2). Where the network sees sigma, w = 0, and tau^2 / sigma^2 - 1 is
multiplied by gamma^(2 kappa - 2), which never grows (`theory.noise_std`).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cascore.denoiser import broadcast_sigma
from cascore.errors import InputError
from cascore.sampling import Step, consistent_steps
from cascore.theory import NoiseStd

__all__ = ["UnitNoiseDenoiser", "blind_basin", "blind_noise_std"]


@dataclass(frozen=True, eq=False)
class UnitNoiseDenoiser:
    """The perfect noise-blind network around one datum [...]: f of length sqrt(D), away from x0.

    Appendix E's optimum in the limit of many levels is this times 1 - 1 / (4 D), between the ends
    of its levels.
    """

    datum: Tensor
    blind = True

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """H(x, sigma) = x - sigma sqrt(D) (x - x0) / |x - x0|; D is the size of the datum."""
        away = x - self.datum
        length = away.flatten(1).norm(dim=1) / math.sqrt(self.datum.numel())
        return x - broadcast_sigma(sigma, x) / broadcast_sigma(length, x) * away


class _State(NamedTuple):
    """Mean squares per dimension of x - x0 and of the last H - x0, and their mean product."""

    square: float
    product: float
    last_square: float

    def after(self, step: Step) -> "_State":
        w = 1 - step.sigma / math.sqrt(self.square)
        of_x = 1 - step.eta + step.eta * (1 + step.lead) * w
        of_last = -step.eta * step.lead
        return _State(
            of_x**2 * self.square
            + 2 * of_x * of_last * self.product
            + of_last**2 * self.last_square
            + step.noise**2,
            w * (of_x * self.square + of_last * self.product),
            w**2 * self.square,
        )


def blind_noise_std(steps: list[Step], *, start: float) -> NoiseStd:
    """Proposition 4: the noise of a chain under the perfect noise-blind network of a single datum.

    Three numbers are followed that do not fluctuate in the limit of many dimensions D; in D
    dimensions the noise of a step moves tau by about sigma / sqrt(2 D), and what grows, grows from
    there.

    Args:
        steps: `langevin_steps(...)` or `consistent_steps(...)` of `cascore.sampling`, any order.
        start: the deviation of the first x around x0; it need not be sigma_1.
    """
    if not start > 0:
        raise InputError(f"the noise of the first x must be positive, not {start}")
    state, path = _State(start**2, 0.0, 0.0), [start]
    for step in steps:
        state = state.after(step)
        path.append(math.sqrt(state.square))
    std = torch.tensor(path, dtype=torch.float64)
    return NoiseStd(before=std[:-1], after=std[1:])


def blind_basin(gamma: float, kappa: float, *, order: int = 1) -> float:
    """The largest tau / sigma_1 from which noise returns to a geometric schedule; 1 if kappa <= 2.

    Of order 1 it is the second fixed point of Proposition 4's recursion of tau / sigma,
    1 + 2 gamma^2 (1 - gamma^(kappa - 2)) / (1 - gamma^2). Of order 2 it is found by bisection of
    the recursion itself.

    Args:
        gamma: the ratio of the schedule, in (0, 1).
        kappa: the step size.
        order: of the sampler, 1 or 2.
    """
    if not 0 < gamma < 1:
        raise InputError(f"gamma must be in (0, 1), not {gamma}")
    if kappa <= 2:
        return 1.0
    edge: float = 1 + 2 * gamma**2 * (1 - gamma ** (kappa - 2)) / (1 - gamma**2)
    if order == 1:
        return edge
    ladder = torch.tensor([1 / gamma, 1.0, gamma], dtype=torch.float64)
    step = consistent_steps(ladder, kappa=kappa, order=order)[1]
    low, high = (
        1.0,
        2 * edge,
    )  # on coarse ladders it is below the edge of order 1, on fine ones above
    for _ in range(50):
        start = (low + high) / 2
        low, high = (start, high) if _returns(start, step, gamma) else (low, start)
    return (low + high) / 2


def _returns(start: float, step: Step, gamma: float) -> bool:
    """Whether tau / sigma goes from `start` to 1, by the same step in units of the level again."""
    state = _State(start**2, 0.0, 0.0).after(step._replace(lead=0.0))
    for _ in range(100_000):
        state = _State(*(part / gamma**2 for part in state))
        if not 1 + (start - 1) / 10 < math.sqrt(state.square) < 10 * start:
            break
        state = state.after(step)
    return math.sqrt(state.square) < start
