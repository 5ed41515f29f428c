"""What the paper claims, and in how many comparisons of a study it held."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cascore.reproduce.pages import Page, Spread, markdown_table, spread_of

__all__ = [
    "Claim",
    "Comparison",
    "Outcome",
    "adversarial_lowers",
    "claims_page",
    "claims_table",
    "consistent_is_better",
    "denoising_lowers",
    "paired",
]

Outcome = Literal["held", "tie", "did not hold"]


@dataclass(frozen=True)
class Comparison:
    """Two distances, of which a statement says that one is lower.

    Attributes:
        where: what else is the same in both, in a few words.
        lower: the one that is said to be lower.
        higher: the other.
        difference: higher minus lower, where both were measured in pairs; it then decides.
    """

    where: str
    lower: Spread
    higher: Spread
    difference: Spread | None = None

    @property
    def outcome(self) -> Outcome:
        """A difference within the spread is a tie."""
        if self.difference is not None:
            tie = self.difference.ties(Spread(0.0, 0.0, self.difference.count))
        else:
            tie = self.lower.ties(self.higher)
        if tie:
            return "tie"
        return "held" if self.lower.mean < self.higher.mean else "did not hold"


def denoising_lowers(method: str) -> str:
    """The statement about the last step, in the words that every study uses."""
    return f"denoising lowers the distance of {method.upper()}"


def consistent_is_better(n_sigma: int, kind: str) -> str:
    """The statement about the two samplers, of raw or denoised samples."""
    return f"CAS is better than ALS at n_σ = {n_sigma}, {kind}"


def adversarial_lowers(kind: str) -> str:
    """The statement about the objective, of raw or denoised samples."""
    return f"the adversarial objective lowers the distance of {kind} samples"


def paired(where: str, lower: Sequence[float], higher: Sequence[float]) -> Comparison:
    """A comparison of two measurements of the same chains, such as raw and denoised samples.

    Their common noise is in both, so the spread of the differences counts, not that of each.

    Args:
        where: what else is the same in both.
        lower: those that are said to be lower, at least one.
        higher: the others, in the same order.
    """
    apart = [b - a for a, b in zip(lower, higher, strict=True)]
    return Comparison(where, spread_of(lower), spread_of(higher), spread_of(apart))


@dataclass(frozen=True)
class Claim:
    """One statement, put to the test.

    Attributes:
        statement: of the paper or a question of ours, in the same words in every study.
        measure: what is compared, such as the name of an extractor whose features are.
        comparisons: at least one.
    """

    statement: str
    measure: str
    comparisons: Sequence[Comparison]

    def count(self, outcome: Outcome) -> int:
        """How many comparisons came out so."""
        return sum(each.outcome == outcome for each in self.comparisons)

    @property
    def verdict(self) -> str:
        """Held, (mostly) a tie, did not hold or mixed, and how many comparisons say so."""
        total, held, ties = len(self.comparisons), self.count("held"), self.count("tie")
        against = total - held - ties
        tied = f", {ties} tie{'s' if ties > 1 else ''}" if ties else ""
        if held and against:
            return f"mixed ({held} of {total} held, {against} did not{tied})"
        if ties == total:
            return f"tie ({total} of {total})"
        word, count = ("held", held) if held else ("did not hold", against)
        if ties > count:
            return f"mostly ties ({ties} of {total}; {count} {word})"
        return f"{word} ({count} of {total}{tied})"

    @property
    def change(self) -> float:
        """By which part the one that is said to be lower is lower on geometric average; 1 is all.

        nan where a distance is zero, of which a geometric average knows nothing.
        """
        pairs = [(each.lower.mean, each.higher.mean) for each in self.comparisons]
        if any(min(pair) <= 0 for pair in pairs):
            return math.nan
        return 1 - statistics.geometric_mean([lower / higher for lower, higher in pairs])


def claims_table(found: Sequence[Claim]) -> str:
    """A row for each claim: the statement once, then each measure with its verdict and change."""
    rows = []
    for statement in dict.fromkeys(claim.statement for claim in found):
        asked = [claim for claim in found if claim.statement == statement]
        rows += [(statement if claim is asked[0] else "", *_told(claim)) for claim in asked]
    return markdown_table(("claim", "measured", "verdict", "on average"), rows)


def _told(claim: Claim) -> tuple[str, str, str]:
    part = claim.change
    change = "" if math.isnan(part) else f"{abs(part):.1%} {'lower' if part >= 0 else 'higher'}"
    return claim.measure, claim.verdict, change


def claims_page(scale: str, found: Mapping[str, Sequence[Claim]]) -> Page:
    """Each statement with the pairs of all studies counted, then study by study.

    Args:
        scale: by name.
        found: claims by the name of their study.
    """
    by_statement: dict[str, list[tuple[str, Claim]]] = {}
    for study, claims in found.items():
        for claim in claims:
            by_statement.setdefault(claim.statement, []).append((study, claim))
    return Page(
        text=f"""# What held

`cascore reproduce all --scale {scale}` wrote this page from the records of every study that has
them. Each row is a claim of the paper, or the question behind one.

## In all studies together

{_summary(by_statement)}

A claim that one distance is lower than another is put to pairs of measurements, each side with
the step size of its own that its study names. A pair ties unless its means differ by more than
twice the root of the summed squares of both spreads. Raw and denoised samples of one chain in the
tables and in `beyond`, and tuned against untuned, are compared by their differences instead: a
tie, unless the mean difference is more than twice its own spread. The other studies do not pair,
though many of their sides share seeds, so differences smaller than the spread of the seeds are
ties here that pairs would show.

The counts are no test. A spread is the deviation of one measurement in some studies and a
standard error in others (`beyond`, `table4`, `never-tuning`). With few values the rule is loose:
differences of chance alone pass it in one of five paired comparisons with two values, one of
fourteen with three, one of seven in `never-tuning`; six values that are two trainings of three
seeds may be worth no more than two. With unpaired values it can be blind. Pairs of several
extractors are not independent. For some rows a tie is what the paper expects (where chains
start), and some are questions of ours (calls, tuning).

## Study by study

{_by_study(by_statement)}

*Mixed*: in some pairs it held and in some it did not. *Measured* are the features that the
distances are of, or what the page of the study explains. The average is geometric, over all pairs.
""",
        pictures={},
        tables={},
    )


def _summary(found: Mapping[str, Sequence[tuple[str, Claim]]]) -> str:
    outcomes: tuple[Outcome, ...] = ("held", "tie", "did not hold")
    rows = [
        (
            statement,
            *(str(sum(claim.count(outcome) for _, claim in asked)) for outcome in outcomes),
        )
        for statement, asked in found.items()
    ]
    return markdown_table(("claim", *outcomes), rows)


def _by_study(found: Mapping[str, Sequence[tuple[str, Claim]]]) -> str:
    rows = [
        (statement if number == 0 else "", f"[{study}]({study}.md)", *_told(claim))
        for statement, asked in found.items()
        for number, (study, claim) in enumerate(asked)
    ]
    return markdown_table(("claim", "study", "measured", "verdict", "on average"), rows)
