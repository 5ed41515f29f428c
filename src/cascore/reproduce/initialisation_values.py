"""What the records of starts and ends say: numbers, and sentences computed from them."""

from collections.abc import Mapping
from itertools import product
from typing import Any

from cascore.reproduce.initialisation import OUTCOMES, SAMPLERS, STARTS, Scale, Start, name_of
from cascore.reproduce.pages import Spread, spread_of, tally, verdict
from cascore.reproduce.units import Records

__all__ = [
    "LABELS",
    "PLACES",
    "Gaps",
    "Measured",
    "gap_line",
    "gaps_of",
    "ideals_of",
    "measured_of",
    "start_line",
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


# --- sentences -----------------------------------------------------------------------------------


def start_line(other: Start, sampler: str, measured: Measured) -> str:
    """Another start against noise, over networks, extractors and outcomes."""
    pairs = [
        (spread, measured[preset, name, "noise", extractor, outcome])
        for (preset, name, start, extractor, outcome), spread in measured.items()
        if (name, start) == (sampler, other)
    ]
    what = {"data": "a training image + σ₁ z", "uniform": "U[0, 1] without noise"}[other]
    return f"{LABELS[sampler]}, {what} against σ₁ z: the distance is {tally(pairs)}."


def gap_line(preset: str, place: str, gaps: Gaps) -> str:
    """The paper's claim that consistent sampling ends closer to H than annealed Langevin."""
    als, cas = gaps[preset, "als", place], gaps[preset, "cas", place]
    word = {"lower": "is smaller", "higher": "is larger", "a tie": "ties"}[verdict(cas, als)]
    return (
        f"{preset}, {PLACES[place]}: that of CAS, {cas.text(3)} σ_L, {word}"
        f" (ALS: {als.text(3)} σ_L)."
    )
