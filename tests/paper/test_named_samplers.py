"""Which published sampler each of our settings equals: the rows of docs/named-samplers.md.

The same start, the same levels, the same noise: x is the same at every network call. A setting is
evaluated as the page prints it; the oracle is another library or a literal transcription.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from reference import (
    Replay,
    algorithm_1,
    algorithm_2,
    ddim,
    er_sde_1,
    kappa_form,
    multistep_sde,
    normals,
    sa_solver_1,
    ve_ancestral,
)

from cascore.sampling import annealed_langevin, consistent_annealed
from cascore.schedule import centred_sigmas, geometric_sigmas, karras_sigmas
from cascore.theory import GaussianMixtureDenoiser
from paper.schedulers import SCHEDULERS, Scheduler, run_scheduler

PAGE = Path(__file__).parents[2] / "docs/named-samplers.md"
MEANS = torch.tensor([[0.0, 0.0], [2.0, -1.0], [-1.0, 3.0]], dtype=torch.float64)
STDS = torch.tensor([0.1, 0.4, 0.2], dtype=torch.float64)
DENOISER = GaussianMixtureDenoiser(MEANS, STDS, torch.tensor([0.5, 0.2, 0.3]))
SCHEDULES = {
    "geometric": geometric_sigmas(10.0, 0.05, 14),
    "karras": karras_sigmas(10.0, 0.05, 9),
    "centred": centred_sigmas(10.0, 0.05, 9),
    "irregular": torch.tensor([9.0, 8.9, 3.0, 2.0, 0.7, 0.69, 0.1], dtype=torch.float64),
}
SEED, N_SIGMA, FREE = 13, 3, {"eta": 0.4, "tau": 0.8, "kappa": 1.7}


def phi(sigma):
    """ER-SDE's own choice, of one level or of many."""
    level = torch.as_tensor(sigma, dtype=torch.float64)
    return level * ((level**0.3).exp() + 10)


class Chain(NamedTuple):
    """What a published sampler is run on."""

    expected: Callable
    x: torch.Tensor
    sigmas: torch.Tensor
    epsilon: float

    def score(self, x, sigma):
        return (self.expected(x, sigma) - x) / sigma**2

    @property
    def noises(self):
        """The float64 numbers that diffusers draws from a generator, call by call."""
        return normals(N_SIGMA * len(self.sigmas), self.x.shape, seed=SEED)


def diffused(kind, **settings):
    """A scheduler of diffusers by its name in `paper/schedulers.py`, or by its class."""
    named = SCHEDULERS.get(kind) or Scheduler(
        label=kind, kind=kind, settings=settings, stochastic=True
    )

    def run(chain):
        generator = torch.Generator().manual_seed(SEED)
        run_scheduler(named, chain.expected, chain.x, chain.sigmas, generator)

    return run


def consistency(chain):
    """LCM's boundary scaling 1 - O((1e6 timestep)^-2), so that H is used as it is."""
    few = {"original_inference_steps": len(chain.sigmas), "timestep_scaling": 1e6}
    diffused("LCMScheduler", clip_sample=False, **few)(chain)


def literally(algorithm, of="expected", **free):
    """A transcription of `reference`, run on the H or the score of a chain."""

    def run(chain):
        settings = {name: getattr(chain, name, value) for name, value in free.items()}
        path = algorithm(
            getattr(chain, of), chain.x, chain.sigmas.tolist(), noises=chain.noises, **settings
        )
        if isinstance(path, list):  # which ends before the last call
            chain.expected(path[-1], chain.sigmas[-1])

    return run


class Row(NamedTuple):
    """A row of the page: what it says, and what it is held against."""

    published: str
    setting: str
    oracle: str
    run: Callable[[Chain], None]


LITERAL = "transcription"
ROWS = [
    Row("annealed Langevin (Song & Ermon, 2006.09011): Algorithm 1",
        "annealed_langevin(epsilon=epsilon, n_sigma=3)", LITERAL,
        literally(algorithm_1, "score", epsilon=None, n_sigma=N_SIGMA)),
    Row("consistent annealed sampling: Algorithm 2",
        "consistent_annealed(epsilon=epsilon)", LITERAL,
        literally(algorithm_2, "score", epsilon=None)),
    Row("the same by its exponent (Serrà et al., 2104.03725)",
        "consistent_annealed(order=1, kappa=kappa)", LITERAL,
        literally(kappa_form, kappa=FREE["kappa"])),
    Row("Euler's method on the probability flow (2011.13456)",
        "consistent_annealed(order=1, kappa=1)", "diffusers: `EulerDiscreteScheduler`",
        diffused("euler")),
    Row("DDIM (2010.02502); DPM-Solver++ of order 1",
        "consistent_annealed(order=1, kappa=1)", "diffusers: `DDIMScheduler`", diffused("ddim")),
    Row("DDIM with its eta",
        "consistent_annealed(order=1, kappa=1 + log(1 - eta**2 * (1 - gamma**2)) / log(gamma**2))",
        LITERAL, literally(ddim, eta=FREE["eta"])),
    Row("DDPM, the smaller variance (2006.11239); DDIM with eta 1",
        "consistent_annealed(order=1, kappa=2)", "diffusers: `DDPMScheduler`",
        diffused("DDPMScheduler", clip_sample=False)),
    Row("ancestral sampling of a variance-exploding chain (2011.13456, Eq. 47)",
        "consistent_annealed(order=1, kappa=2)", LITERAL, literally(ve_ancestral, "score")),
    Row("Euler ancestral of k-diffusion", "consistent_annealed(order=1, kappa=2)",
        "diffusers: `EulerAncestralDiscreteScheduler`", diffused("euler-ancestral")),
    Row("ER-SDE-Solver-1, its noise scale phi (2309.06169)",
        "consistent_annealed(order=1, kappa=log(phi(following) / phi(sigma)) / log(gamma))",
        LITERAL, literally(er_sde_1, phi=phi)),
    Row("SA-Solver, a predictor of one step, its tau (2309.05019)",
        "consistent_annealed(order=1, kappa=1 + tau**2)", LITERAL,
        literally(sa_solver_1, tau=FREE["tau"])),
    Row("multistep consistency sampling (2303.01469, 2310.04378)",
        "consistent_annealed(order=1, kappa=inf)", "diffusers: `LCMScheduler`", consistency),
    Row("DPM-Solver++(2M), midpoint (2211.01095)", "consistent_annealed(order=2, kappa=1)",
        "diffusers: `DPMSolverMultistepScheduler`", diffused("dpm-2m")),
    Row("SDE-DPM-Solver++(2M), midpoint", "consistent_annealed(order=2, kappa=2)",
        "diffusers: `DPMSolverMultistepScheduler`", diffused("dpm-2m-sde")),
    Row("the same with the eta of k-diffusion", "consistent_annealed(order=2, kappa=1 + eta)",
        LITERAL, literally(multistep_sde, eta=FREE["eta"])),
]  # fmt: skip


def watched():
    """The mixture's H, and the list of every x that it is asked for."""
    seen = []

    def expected(x, sigma):
        seen.append(x.double().clone())
        return DENOISER(x, sigma)

    return expected, seen


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers'
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.published)
def test_a_setting_equals_a_published_sampler(row, schedule):
    """To 1e-10 of a transcription, since the mixture's posterior is stiff at small sigma; to
    float32 of diffusers, whose levels are products of betas that err by 1e-7 each.
    """
    sigmas = SCHEDULES[schedule]
    (start,) = normals(1, (6, 2), seed=12)
    x, epsilon = float(sigmas[0]) * start, 0.97 * float(sigmas[-1]) ** 2
    expected, theirs = watched()
    chain = Chain(expected, x, sigmas, epsilon)
    row.run(chain)
    expected, ours = watched()
    bound = (expected, x, sigmas)
    following = torch.cat([sigmas[1:], sigmas[-1:] ** 2 / sigmas[-2]])
    names = {
        **FREE, "epsilon": epsilon, "phi": phi, "sigma": sigmas, "following": following,
        "gamma": following / sigmas, "log": torch.log, "inf": torch.inf,
        "annealed_langevin": partial(annealed_langevin, *bound, noise=Replay(chain.noises)),
        "consistent_annealed": partial(consistent_annealed, *bound, noise=Replay(chain.noises)),
    }  # fmt: skip
    eval(row.setting, names)
    tolerance = 1e-10 if row.oracle == LITERAL else 2e-5
    assert len(ours) == len(theirs) >= len(sigmas)
    torch.testing.assert_close(
        torch.stack(ours), torch.stack(theirs), rtol=tolerance, atol=tolerance
    )


def test_the_page_has_these_rows_and_no_others():
    table = re.findall(r"^\| (.+) \| `(.+?)` \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert table == [row[:3] for row in ROWS]
