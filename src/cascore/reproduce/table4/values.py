"""What the records of Table 4 say: numbers, claims put to them, and sentences."""

import math
from itertools import product

from cascore.evaluation.metrics import COUNTED, TOTAL
from cascore.metrics import ModeCoverage, published_kl
from cascore.reproduce.claims import Claim, Statement
from cascore.reproduce.comparisons import estimated
from cascore.reproduce.spread import Estimate
from cascore.reproduce.table4.pictures import Coverages
from cascore.reproduce.table4.work import (
    MISSING,
    MODES,
    OBJECTIVES,
    OUTCOMES,
    SCALES,
    Group,
    coverage_of,
)
from cascore.reproduce.units import Records

__all__ = [
    "PRINTED",
    "claims",
    "claims_of",
    "coverage_line",
    "coverages_of",
    "floor_line",
    "groups_with_data",
    "honest_kl",
    "kl_text",
    "printed_kl",
    "published_line",
    "real_of",
]

PRINTED = {"plain": 1.36, "adversarial": 1.49}
"""What Table 4 of the paper prints as KL of its two networks; both cover all 1,000 modes."""


def coverages_of(group: Group, records: Records) -> Coverages:
    """Modes and divergence of each network, sampler and outcome, over all blocks together."""
    return {
        (objective, sampler, outcome): coverage_of(
            [
                records[group.unit(objective, sampler, block)]["result"]["counts"][outcome]
                for block in range(group.blocks)
            ]
        )
        for objective, sampler, outcome in product(OBJECTIVES, group.samplers, OUTCOMES)
    }


def groups_with_data(scale_name: str, records: Records) -> list[Group]:
    """Those whose images were here when they were measured."""
    return [group for group in SCALES[scale_name] if MISSING not in records[group.real]["result"]]


def real_of(group: Group, records: Records) -> ModeCoverage:
    """The same of as many stacks of real test images."""
    return coverage_of([records[group.real]["result"]["counts"]])


def printed_kl(found: ModeCoverage) -> float:
    """What the authors' program prints: every image counted twice, over 26 for each 25 images."""
    total = round(found.count * TOTAL / COUNTED)
    return published_kl(found.kl, counted=found.count, total=max(1, total))


def honest_kl(printed: float) -> float:
    """The divergence behind a printed one, p / a - log a with a = 50 / 26."""
    a = 2 * COUNTED / TOTAL
    return printed / a - math.log(a)


def _estimate(found: ModeCoverage) -> Estimate:
    """A divergence and its standard error over the pictures."""
    return Estimate(found.kl, found.kl_error)


# --- claims --------------------------------------------------------------------------------------


def claims(scale_name: str, records: Records) -> list[Claim]:
    """What the objective, the last step and the number of calls do to the evenness of modes."""
    return [
        claim
        for group in groups_with_data(scale_name, records)
        for claim in claims_of(group, coverages_of(group, records))
    ]


def claims_of(group: Group, found: Coverages) -> list[Claim]:
    """Each pair differs in nothing else."""
    kls = {key: _estimate(each) for key, each in found.items()}
    pairs = {
        Statement(
            "the adversarial objective lowers the divergence of modes",
            "no: it prints 1.49 against 1.36",
        ): [
            estimated(f"{sampler}, {o}", kls["adversarial", sampler, o], plain)
            for (objective, sampler, o), plain in kls.items()
            if objective == "plain"
        ],
        Statement("denoising lowers the divergence of modes"): [
            estimated(f"{sampler}, {objective}", kls[objective, sampler, "denoised"], raw)
            for (objective, sampler, o), raw in kls.items()
            if o == "raw"
        ],
        Statement("all levels lower the divergence of modes, against 20 calls"): [
            estimated(f"{objective}, {o}", every, kls[objective, "20-calls", o])
            for (objective, sampler, o), every in kls.items()
            if sampler == "all-levels"
        ],
    }
    return [
        Claim(statement, f"`{group.preset}`", comparisons)
        for statement, comparisons in pairs.items()
        if comparisons
    ]


# --- sentences -----------------------------------------------------------------------------------


_LEARNED = 0.95  # of the modes of real images: below, the network has not learned the data


def coverage_line(found: Coverages, real: ModeCoverage) -> str:
    """Whether all modes are covered."""
    full = sum(each.covered == MODES for each in found.values())
    least = min(each.covered for each in found.values())
    rest = "" if full == len(found) else f"; the fewest are {least:,}"
    far = least < _LEARNED * real.covered
    short = " So these trainings are unfinished, and longer ones may rank otherwise." if far else ""
    return (
        f"Of {len(found)} kinds of samples {full} cover all {MODES:,} modes{rest}. As many stacks"
        f" of real test images cover {real.covered:,}.{short}"
    )


def floor_line(found: Coverages, real: ModeCoverage) -> str:
    """How far samples are from what real images have."""
    ties = sum(_estimate(each).ties(_estimate(real)) for each in found.values())
    best = min(found.values(), key=lambda each: each.kl)
    return (
        f"{ties} of {len(found)} tie with the real images' divergence of {kl_text(real)}; the"
        f" lowest is {kl_text(best)}."
    )


def published_line(found: Coverages) -> str:
    """What the authors' arithmetic would print of these samples."""
    printed = [printed_kl(each) for (_, _, outcome), each in found.items() if outcome == "raw"]
    return (
        f"The authors' program would print {min(printed):.2f} to {max(printed):.2f} of the raw"
        f" samples here, and the paper prints {PRINTED['plain']} and {PRINTED['adversarial']}."
    )


def kl_text(found: ModeCoverage) -> str:
    """A divergence ± its standard error."""
    return _estimate(found).text(4)
