"""What the records of starts and ends say: numbers, and claims put to them."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from cascore.reproduce.claims import Claim, Statement
from cascore.reproduce.comparisons import paired
from cascore.reproduce.initialisation.work import (
    OUTCOMES,
    SAMPLERS,
    SCALES,
    STARTS,
    Scale,
    Start,
    name_of,
)
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

Measured = Mapping[tuple[str, str, Start, str, str], Sequence[float]]
"""By preset, sampler, start, extractor and outcome: the distance of each draw."""
Gaps = Mapping[tuple[str, str, str], Sequence[float]]
"""By preset, sampler and which of the two gaps: of each draw of chains that start from noise."""

LABELS = {"als": "ALS, n_σ = 1", "cas": "CAS, κ = 1.5", "12-calls": "12 calls, order 2"}
PLACES = {"call": "x − H at the last call", "result": "raw − denoised"}


def measured_of(scale: Scale, records: Records) -> Measured:
    """Every kind of chain with its distances."""
    return {
        (preset, sampler, start, extractor, outcome): [
            result[outcome][extractor]["value"]
            for result in _results(preset, sampler, start, scale, records)
        ]
        for preset, sampler, start, extractor, outcome in product(
            scale.presets, SAMPLERS, STARTS, scale.extractors, OUTCOMES
        )
    }


def gaps_of(scale: Scale, records: Records) -> Gaps:
    """Gaps of chains from noise, in units of sigma_L."""
    return {
        (preset, sampler, place): [
            result["gap"][place] for result in _results(preset, sampler, "noise", scale, records)
        ]
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
    starts: dict[Start, tuple[str, str]] = {
        "data": ("a start from a training image and noise", "no, a tie"),
        "uniform": ("a start from U[0, 1] without noise", "not asked"),
    }
    return [
        Claim(
            Statement(f"{what} lowers the distance against σ₁ z, {LABELS[sampler]}", said),
            f"`{extractor}`",
            [
                paired(
                    f"{preset}, {outcome}",
                    measured[preset, sampler, start, extractor, outcome],
                    measured[preset, sampler, "noise", extractor, outcome],
                )
                for preset, outcome in product(scale.presets, OUTCOMES)
            ],
        )
        for start, (what, said) in starts.items()
        for sampler, extractor in product(SAMPLERS, scale.extractors)
    ]


def end_claims(scale: Scale, gaps: Gaps) -> list[Claim]:
    """The paper's claim that consistent sampling ends nearer to H than annealed Langevin."""
    return [
        Claim(
            Statement("CAS ends nearer to H(x, σ_L) than ALS", "yes"),
            title,
            [
                paired(preset, gaps[preset, "cas", place], gaps[preset, "als", place])
                for preset in scale.presets
            ],
        )
        for place, title in PLACES.items()
    ]
