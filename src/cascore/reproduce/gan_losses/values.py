"""What the records of the GAN losses say: numbers, claims put to them, and a sentence."""

from collections.abc import Mapping

from cascore.reproduce.claims import Claim, Comparison, adversarial_lowers
from cascore.reproduce.gan_losses.work import OUTCOMES, PAPERS, PLAIN, SCALES, Scale, name_of
from cascore.reproduce.pages import Spread, spread_of
from cascore.reproduce.units import Records

__all__ = ["Measured", "best_line", "claims", "claims_of", "measured_of"]

Measured = Mapping[tuple[str, str, str], Spread]
"""By kind, extractor and outcome: the mean of all draws, ± what another training would change."""


def measured_of(scale: Scale, records: Records) -> Measured:
    """Means over all draws of a kind; ± is of one training.

    A kind has the deviation of its trainings' means. One that was trained once is given the larger
    deviation of the two that were trained several times, relative to its mean.
    """
    found: dict[tuple[str, str, str], Spread] = {}
    for extractor in scale.extractors:
        for outcome in OUTCOMES:
            own = {
                kind: spread_of([
                    sum(values) / len(values)
                    for training in range(scale.trainings_of(kind))
                    for values in [_values(kind, training, extractor, outcome, scale, records)]
                ])
                for kind in scale.kinds
            }  # fmt: skip
            lent = max(own[kind].deviation / own[kind].mean for kind in (PLAIN, PAPERS))
            for kind, spread in own.items():
                deviation = spread.deviation if spread.count > 1 else lent * spread.mean
                count = scale.trainings_of(kind) * scale.draws
                found[kind, extractor, outcome] = Spread(spread.mean, deviation, count)
    return found


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
    found = []
    for extractor in scale.extractors:
        measure = f"`{extractor}`"
        losses = {outcome: _losses(extractor, outcome, measured) for outcome in OUTCOMES}
        others = [
            Comparison(f"{kind}, {outcome}", own[PAPERS], spread)
            for outcome, own in losses.items()
            for kind, spread in own.items()
            if kind != PAPERS
        ]
        statement = "least squares has a lower distance than the other GAN losses"
        found.append(Claim(statement, measure, others))
        for outcome, own in losses.items():
            plain = measured[PLAIN, extractor, outcome]
            pairs = [Comparison(kind, spread, plain) for kind, spread in own.items()]
            found.append(Claim(adversarial_lowers(outcome), measure, pairs))
    return found


def best_line(extractor: str, outcome: str, measured: Measured) -> str:
    """Whether least squares is the best of the GAN losses."""
    losses = _losses(extractor, outcome, measured)
    best = min(losses, key=lambda kind: losses[kind].mean)
    top, own = losses[best], losses[PAPERS]
    ties = sum(spread.ties(top) for spread in losses.values()) - 1
    head = f"Features of `{extractor}`, {outcome}: `{best}` is the lowest ({top.text(2)}),"
    if best == PAPERS:
        return f"{head} and {ties} of the {len(losses) - 1} others tie with it."
    place = 1 + sum(spread.mean < own.mean for spread in losses.values())
    word = "ties with it" if own.ties(top) else "is worse"
    return f"{head} `{PAPERS}` is number {place} of {len(losses)} and {word} ({own.text(2)})."


def _losses(extractor: str, outcome: str, measured: Measured) -> dict[str, Spread]:
    """The GAN losses alone."""
    return {
        kind: spread
        for (kind, *where), spread in measured.items()
        if kind != PLAIN and where == [extractor, outcome]
    }
