"""What the records of the GAN losses say: numbers, claims put to them, and a sentence."""

import math
import statistics
from collections.abc import Mapping, Sequence

from cascore.experiment.presets import PRESETS
from cascore.reproduce.claims import Claim, Statement, adversarial_lowers
from cascore.reproduce.comparisons import Comparison
from cascore.reproduce.gan_losses.work import OUTCOMES, PAPERS, PLAIN, SCALES, Scale, name_of
from cascore.reproduce.spread import Spread
from cascore.reproduce.units import Records
from cascore.stats import Estimate

__all__ = ["Measured", "best_line", "claims", "claims_of", "compared", "measured_of", "spread_in"]

Measured = Mapping[tuple[str, str, str], Sequence[float]]
"""By kind, extractor and outcome: the mean distance of the draws of each training."""


def measured_of(scale: Scale, records: Records) -> Measured:
    """Every kind, trained once or several times."""
    return {
        (kind, extractor, outcome): [
            statistics.fmean(_values(kind, training, extractor, outcome, scale, records))
            for training in range(scale.trainings_of(kind))
        ]
        for kind in scale.kinds
        for extractor in scale.extractors
        for outcome in OUTCOMES
    }


def spread_in(measured: Measured, kind: str, extractor: str, outcome: str) -> Spread:
    """The mean of a kind, ± what another training changes: in the same proportion for all kinds."""
    means = measured[kind, extractor, outcome]
    mean, (part, _) = statistics.fmean(means), _deviation(measured, extractor, outcome)
    return Spread(mean, part * mean, len(means))


def _deviation(measured: Measured, extractor: str, outcome: str) -> tuple[float, int]:
    """Of the logarithm of one training, pooled over the kinds trained again; its freedom."""
    repeated = [_logarithms(measured[kind, extractor, outcome]) for kind in (PLAIN, PAPERS)]
    freedom = sum(len(logarithms) - 1 for logarithms in repeated)
    squares = sum((len(each) - 1) * statistics.variance(each) for each in repeated)
    return math.sqrt(squares / freedom), freedom


def _logarithms(means: Sequence[float]) -> list[float]:
    return [math.log(mean) for mean in means]


def _values(
    kind: str, training: int, extractor: str, outcome: str, scale: Scale, records: Records
) -> list[float]:
    """The distances of the draws of one training."""
    return [
        records[name_of(kind, training, seed)]["result"][outcome][extractor]["value"]
        for seed in range(scale.draws)
    ]


# --- claims and sentences ------------------------------------------------------------------------


def claims(scale_name: str, records: Records) -> list[Claim]:
    """Whether least squares is the best loss, and whether any is better than none."""
    scale = SCALES[scale_name]
    return claims_of(scale, measured_of(scale, records))


def claims_of(scale: Scale, measured: Measured) -> list[Claim]:
    """Each for every extractor."""
    others = [kind for kind in scale.kinds if kind not in (PLAIN, PAPERS)]
    network = PRESETS[scale.preset].network.kind
    asked = [
        (
            Statement("least squares has a lower distance than the other GAN losses", "yes"),
            [(PAPERS, other, outcome) for outcome in OUTCOMES for other in others],
        ),
        *(
            (adversarial_lowers(outcome, network), [(PAPERS, PLAIN, outcome)])
            for outcome in OUTCOMES
        ),
        (
            Statement("another GAN loss than least squares lowers the distance of plain training"),
            [(other, PLAIN, outcome) for outcome in OUTCOMES for other in others],
        ),
    ]
    return [
        Claim(
            statement,
            f"`{extractor}`",
            [
                compared(measured, extractor, outcome, lower=lower, higher=higher)
                for lower, higher, outcome in pairs
            ],
        )
        for extractor in scale.extractors
        for statement, pairs in asked
        if pairs
    ]


def compared(
    measured: Measured, extractor: str, outcome: str, *, lower: str, higher: str
) -> Comparison:
    """Two kinds by the logarithms of their trainings, which deviate alike whatever the kind."""
    a, b = (_logarithms(measured[kind, extractor, outcome]) for kind in (lower, higher))
    part, freedom = _deviation(measured, extractor, outcome)
    found = Estimate(
        statistics.fmean(b) - statistics.fmean(a),
        part * math.sqrt(1 / len(a) + 1 / len(b)),
        freedom,
    )
    return Comparison(
        f"{lower} against {higher}, {outcome}",
        spread_in(measured, lower, extractor, outcome),
        spread_in(measured, higher, extractor, outcome),
        found,
        "logarithms",
    )


def best_line(scale: Scale, extractor: str, outcome: str, measured: Measured) -> str:
    """Whether least squares is the best of the GAN losses."""
    losses = {
        kind: spread_in(measured, kind, extractor, outcome) for kind in scale.kinds if kind != PLAIN
    }
    best = min(losses, key=lambda kind: losses[kind].mean)
    ties = [
        kind
        for kind in losses
        if kind != best
        and compared(measured, extractor, outcome, lower=best, higher=kind).verdict == "tie"
    ]
    head = f"Features of `{extractor}`, {outcome}: `{best}` is the lowest"
    head += f" ({losses[best].text(2)}),"
    if best == PAPERS:
        return f"{head} and {len(ties)} of the {len(losses) - 1} others tie with it."
    place = 1 + sum(spread.mean < losses[PAPERS].mean for spread in losses.values())
    word = "cannot be told from it" if PAPERS in ties else "is worse"
    own = losses[PAPERS].text(2)
    return f"{head} `{PAPERS}` is number {place} of {len(losses)} ({own}) and {word}."
