"""What the records of starts and ends say: numbers, and claims put to them."""

from collections.abc import Mapping
from itertools import product
from typing import Any

from cascore.reproduce.claims import Claim, Comparison
from cascore.reproduce.initialisation.work import (
    OUTCOMES,
    SAMPLERS,
    SCALES,
    STARTS,
    Scale,
    Start,
    name_of,
)
from cascore.reproduce.pages import Spread, spread_of
from cascore.reproduce.units import Records

__all__ = [
    "LABELS",
    "PLACES",
    "Gaps",
    "Measured",
    "claims",
    "end_claims",
    "gaps_of",
    "ideals_of",
    "measured_of",
    "start_claims",
]

Measured = Mapping[tuple[str, str, Start, str, str], Spread]
"""By preset, sampler, start, extractor and outcome."""
Gaps = Mapping[tuple[str, str, str], Spread]
"""By preset, sampler and which of the two gaps: of chains that start from noise."""

LABELS = {"als": "ALS, n_σ = 1", "cas": "CAS, κ = 1.5", "12-calls": "12 calls, order 2"}
PLACES = {"call": "x − H at the last call", "result": "raw − denoised"}


def measured_of(scale: Scale, records: Records) -> Measured:
    """Every kind of chain with its distances over the draws."""
    return {
        (preset, sampler, start, extractor, outcome): spread_of(
            [
                result[outcome][extractor]["value"]
                for result in _results(preset, sampler, start, scale, records)
            ]
        )
        for preset, sampler, start, extractor, outcome in product(
            scale.presets, SAMPLERS, STARTS, scale.extractors, OUTCOMES
        )
    }


def gaps_of(scale: Scale, records: Records) -> Gaps:
    """Gaps of chains from noise over the draws, in units of sigma_L."""
    return {
        (preset, sampler, place): spread_of(
            [result["gap"][place] for result in _results(preset, sampler, "noise", scale, records)]
        )
        for preset, sampler, place in product(scale.presets, SAMPLERS, PLACES)
    }


def ideals_of(scale: Scale, records: Records) -> Mapping[tuple[str, str], float]:
    """By sampler and place, the gap under the perfect score of one datum."""
    return {
        (sampler, place): _results(scale.presets[0], sampler, "noise", scale, records)[0]["ideal"][
            place
        ]
        for sampler, place in product(SAMPLERS, PLACES)
    }


def _results(
    preset: str, sampler: str, start: Start, scale: Scale, records: Records
) -> list[Mapping[str, Any]]:
    return [records[name_of(preset, sampler, start, seed)]["result"] for seed in range(scale.draws)]


# --- claims --------------------------------------------------------------------------------------


def claims(scale_name: str, records: Records) -> list[Claim]:
    """Whether another start is better than noise, and whether CAS ends nearer to H."""
    scale = SCALES[scale_name]
    return [
        *start_claims(scale, measured_of(scale, records)),
        *end_claims(scale, gaps_of(scale, records)),
    ]


def start_claims(scale: Scale, measured: Measured) -> list[Claim]:
    """The other starts against noise alone, for each sampler and extractor."""
    starts: dict[Start, str] = {
        "data": "a start from a training image and noise",
        "uniform": "a start from U[0, 1] without noise",
    }
    return [
        Claim(
            f"{what} lowers the distance against σ₁ z, {LABELS[sampler]}",
            f"`{extractor}`",
            [
                Comparison(
                    f"{preset}, {outcome}",
                    measured[preset, sampler, start, extractor, outcome],
                    measured[preset, sampler, "noise", extractor, outcome],
                )
                for preset, outcome in product(scale.presets, OUTCOMES)
            ],
        )
        for (start, what), sampler, extractor in product(starts.items(), SAMPLERS, scale.extractors)
    ]


def end_claims(scale: Scale, gaps: Gaps) -> list[Claim]:
    """The paper's claim that consistent sampling ends nearer to H than annealed Langevin."""
    return [
        Claim(
            "CAS ends nearer to H(x, σ_L) than ALS",
            title,
            [
                Comparison(preset, gaps[preset, "cas", place], gaps[preset, "als", place])
                for preset in scale.presets
            ],
        )
        for place, title in PLACES.items()
    ]
