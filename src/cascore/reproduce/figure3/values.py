"""What the records of Figure 3 say of our own models: the claims, each side at its best step."""

from cascore.reproduce.claims import Claim, consistent_is_better, denoising_lowers
from cascore.reproduce.comparisons import estimated
from cascore.reproduce.figure3.tables import OUTCOMES, Measured, measured_of
from cascore.reproduce.figure3.work import SCALES
from cascore.reproduce.spread import Estimate
from cascore.reproduce.units import Records

__all__ = ["best_of", "claims"]


def claims(scale_name: str, records: Records) -> list[Claim]:
    """The paper's claims at n_sigma 1, each side at its best step size."""
    scale, measured = SCALES[scale_name], measured_of(scale_name, records)
    best = {preset: best_of(preset, measured) for preset in scale.presets}
    measure = f"`{scale.extractor}`"
    denoising = [
        Claim(
            denoising_lowers(method),
            measure,
            [
                estimated(preset, found[method, "denoised"], found[method, "raw"])
                for preset, found in best.items()
            ],
        )
        for method in ("als", "cas")
    ]
    samplers = [
        Claim(
            consistent_is_better(1, kind),
            measure,
            [
                estimated(preset, found["cas", kind], found["als", kind])
                for preset, found in best.items()
            ],
        )
        for kind in OUTCOMES
    ]
    return [*denoising, *samplers]


def best_of(preset: str, measured: Measured) -> dict[tuple[str, str], Estimate]:
    """The lowest distance of a model by sampler and outcome, over all step sizes at n_sigma 1."""
    return {
        (method, outcome): min(
            (
                spread
                for (point, kind), spread in measured.items()
                if (point.preset, point.sampler.method, kind) == (preset, method, outcome)
                and point.sampler.n_sigma == 1
            ),
            key=lambda each: each.mean,
        )
        for method in ("als", "cas")
        for outcome in OUTCOMES
    }
