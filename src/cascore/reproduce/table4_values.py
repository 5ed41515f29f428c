"""What the records of Table 4 say: numbers, and sentences computed from them."""

import math
from itertools import product

from cascore.experiments.measure import COUNTED, TOTAL
from cascore.metrics import ModeCoverage, published_kl
from cascore.reproduce.pages import Spread, tally
from cascore.reproduce.table4 import MODES, OBJECTIVES, OUTCOMES, Group, coverage_of
from cascore.reproduce.table4_pictures import Coverages
from cascore.reproduce.units import Records

__all__ = [
    "PRINTED",
    "adversarial_line",
    "calls_line",
    "coverage_line",
    "coverages_of",
    "denoising_line",
    "floor_line",
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


def _spread(found: ModeCoverage) -> Spread:
    """A divergence and its standard error over the pictures."""
    return Spread(found.kl, found.kl_error, found.count)


# --- sentences -----------------------------------------------------------------------------------


def coverage_line(found: Coverages, real: ModeCoverage) -> str:
    """Whether all modes are covered."""
    full = sum(each.covered == MODES for each in found.values())
    least = min(each.covered for each in found.values())
    rest = "" if full == len(found) else f"; the fewest are {least:,}"
    return (
        f"Of {len(found)} kinds of samples {full} cover all {MODES:,} modes{rest}. As many stacks"
        f" of real test images cover {real.covered:,}."
    )


def adversarial_line(found: Coverages) -> str:
    """The paper's claim that a discriminator does not hurt diversity."""
    pairs = [
        (_spread(found["adversarial", sampler, outcome]), _spread(plain))
        for (objective, sampler, outcome), plain in found.items()
        if objective == "plain"
    ]
    return (
        "Adversarial against plain, the same sampler and outcome: the divergence is"
        f" {tally(pairs)}."
    )


def denoising_line(found: Coverages) -> str:
    """Denoised against raw."""
    pairs = [
        (_spread(found[objective, sampler, "denoised"]), _spread(raw))
        for (objective, sampler, outcome), raw in found.items()
        if outcome == "raw"
    ]
    return f"Denoised against raw: the divergence is {tally(pairs)}."


def calls_line(found: Coverages) -> str | None:
    """Twenty calls of order 2 against all levels; None where only one of them was sampled."""
    pairs = [
        (_spread(found[objective, "20-calls", outcome]), _spread(long))
        for (objective, sampler, outcome), long in found.items()
        if sampler == "all-levels"
    ]
    return f"20 calls against all levels: the divergence is {tally(pairs)}." if pairs else None


def floor_line(found: Coverages, real: ModeCoverage) -> str:
    """How far samples are from what real images have."""
    ties = sum(_spread(each).ties(_spread(real)) for each in found.values())
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
    return _spread(found).text(4)
