"""The noise of a chain under the perfect score of a single datum, by the settings of a sampler."""

from cascore.experiment.settings import Schedule
from cascore.reproduce.sampler import Sampler, sampling_sigmas
from cascore.sampling import consistent_steps, langevin_steps
from cascore.theory import NoiseStd, noise_std

__all__ = ["ideal_noise"]


def ideal_noise(sampler: Sampler, schedule: Schedule) -> NoiseStd:
    """Propositions 1 and 2: the deviation before and after each call of a chain from sigma_1 z."""
    sigmas = sampling_sigmas(sampler, schedule)
    if sampler.method == "als":
        steps = langevin_steps(
            sigmas, eta=sampler.eta, epsilon=sampler.epsilon, n_sigma=sampler.n_sigma
        )
    else:
        steps = consistent_steps(
            sigmas,
            kappa=sampler.kappa,
            eta=sampler.eta,
            epsilon=sampler.epsilon,
            order=sampler.order,
        )
    return noise_std(steps, start=schedule.first)
