"""Numbers with their ±, two of them against each other, and what that says of a claim."""

from __future__ import annotations

import math
import re
import statistics
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cascore.stats import Estimate, estimate, independent_difference, paired_difference, verdict
from paper.engine.rows import Rows, Table, markdown_table

Verdict = Literal["held", "tie", "did not hold"]
_VERDICTS: dict[str, Verdict] = {"better": "held", "tie": "tie", "worse": "did not hold"}


@dataclass(frozen=True)
class Number:
    """A mean, and what stands behind ±: the deviation of one measurement, or the mean's error."""

    mean: float
    plus_minus: float

    @property
    def band(self) -> tuple[float, float]:
        """Two of ± to either side; a logarithmic axis has no zero, so it ends above it."""
        low, high = self.mean - 2 * self.plus_minus, self.mean + 2 * self.plus_minus
        return max(low, self.mean / 3), high

    @property
    def whisker(self) -> float:
        """Two of ±, within what a logarithmic axis can show; 0 where nothing is known of it."""
        known = not math.isnan(self.plus_minus)
        return min(2 * self.plus_minus, 0.9 * self.mean) if known else 0.0

    def text(self, digits: int = 2) -> str:
        """`mean ± deviation`, or the mean alone, with that many digits behind the point."""
        error = "" if math.isnan(self.plus_minus) else f" ± {self.plus_minus:.{digits}f}"
        return f"{self.mean:.{digits}f}{error}"

    def ties(self, other: Number) -> bool:
        """Whether the 95 % interval of a difference of means with known errors holds zero."""
        return verdict(_known(self, other)) == "tie"


def spread_of(values: Sequence[float]) -> Number:
    """Mean and sample standard deviation of at least one value."""
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Number(statistics.fmean(values), deviation)


def spread(rows: Rows) -> Number:
    """Mean distance, and the deviation of one of them."""
    return spread_of(rows.values())


def spread_text(rows: Rows) -> str:
    """`mean ± deviation` of distances, for a cell of a table."""
    return spread(rows).text()


def plain(rows: Rows) -> Number:
    """Mean distance, of which no error is told."""
    return Number(statistics.fmean(rows.values()), math.nan)


def mean_of(rows: Rows) -> Number:
    """Mean of independent distances, and its standard error from theirs."""
    error = math.hypot(*rows.values("standard_error")) / len(rows)
    return Number(statistics.fmean(rows.values()), error)


@dataclass(frozen=True)
class Comparison:
    """Two numbers, of which a statement says that one is lower; `where` is what both share.

    Higher less lower is the difference, which decides; `by` is what it was taken from.
    """

    where: str
    lower: Number
    higher: Number
    difference: Estimate
    by: Literal["pairs", "trainings", "errors", "logarithms"]

    @property
    def verdict(self) -> Verdict:
        """A tie, unless the 95 % interval of the difference leaves zero out."""
        return _VERDICTS[verdict(self.difference, better="higher")]

    @property
    def cells(self) -> tuple[object, ...]:
        """Both sides, their difference and what it says, under COLUMNS."""
        return (
            *(self.lower.mean, self.lower.plus_minus, self.higher.mean, self.higher.plus_minus),
            *(self.difference.mean, self.difference.error, self.difference.freedom),
            *(self.difference.margin, self.by, self.verdict),
        )


COLUMNS = (
    *("lower", "lower_plus_minus", "higher", "higher_plus_minus"),
    *("difference", "standard_error", "degrees_of_freedom", "margin_95", "compared_by", "verdict"),
)


def paired(where: str, lower: Sequence[float], higher: Sequence[float]) -> Comparison:
    """Measurements with the same seeds, whose common noise drops out of each difference."""
    difference = paired_difference(higher, lower)
    return Comparison(where, spread_of(lower), spread_of(higher), difference, "pairs")


def estimated(where: str, lower: Number, higher: Number) -> Comparison:
    """Two numbers with errors over many pictures: common noise, if any, makes more ties."""
    return Comparison(where, lower, higher, _known(higher, lower), "errors")


def _known(a: Number, b: Number) -> Estimate:
    return independent_difference(Estimate(a.mean, a.plus_minus), Estimate(b.mean, b.plus_minus))


Compare = Callable[[str, Rows, Rows], list[Comparison]]
"""Comparisons of the rows that are said to be lower with the others, of a name."""


def within_trainings(where: str, lower: Rows, higher: Rows) -> list[Comparison]:
    """Two ways of sampling, on each training by itself, paired by sampling seed."""
    pairs = list(zip(_runs(lower), _runs(higher), strict=True))
    names = [f"{where}, training {i}" if len(pairs) > 1 else where for i in range(len(pairs))]
    return [paired(name, *pair) for name, pair in zip(names, pairs, strict=True)]


def between_trainings(where: str, lower: Rows, higher: Rows) -> list[Comparison]:
    """Two ways of training (Welch): the means of their networks are the measurements.

    With one network of each kind nothing is known of trainings. Then it is the two networks that
    are compared, paired by sampling seed. One against several is always a tie. Seeds that both
    share are ignored, which at worst makes ties.
    """
    runs = _runs(lower), _runs(higher)
    if len(runs[0]) == len(runs[1]) == 1:
        return [paired(f"{where}, one training each", runs[0][0], runs[1][0])]
    a, b = _means(lower), _means(higher)
    difference = independent_difference(estimate(b), estimate(a))
    return [Comparison(where, spread_of(a), spread_of(b), difference, "trainings")]


def by_networks(where: str, lower: Rows, higher: Rows) -> list[Comparison]:
    """Within each training where both are of one model, else between trainings."""
    same = {row["model"] for row in lower} == {row["model"] for row in higher}
    return (within_trainings if same else between_trainings)(where, lower, higher)


def by_errors(where: str, lower: Rows, higher: Rows) -> list[Comparison]:
    """Two numbers with errors over many pictures, each a mean of its rows."""
    return [estimated(where, mean_of(lower), mean_of(higher))]


def contrasts(rows: Rows, where: str, sides: str, by: Compare = by_networks) -> list[Comparison]:
    """Rows that are said to be lower against others, all else alike.

    Comparisons differ from each other in the columns that `where` names, as `n_σ = {n_sigma}`;
    `sides` are what differs within each, as `outcome: denoised < raw`.
    """
    column, *values = re.split(": | < ", sides)
    lower, higher = (Rows(r for r in rows if str(r[column]) == v).named(where) for v in values)
    names = [name for name in rows.named(where) if name in lower and name in higher]
    return [pair for name in names for pair in by(name, lower[name], higher[name])]


def _runs(rows: Rows) -> list[list[float]]:
    """For each training a value for each sampling seed, in order."""
    return [training.values() for training in rows.by("training").values()]


def _means(rows: Rows) -> list[float]:
    """The mean of each training."""
    return list(map(statistics.fmean, _runs(rows)))


class Pool(NamedTuple):
    """The deviation of the logarithm of a training's mean, and its degrees of freedom."""

    deviation: float
    freedom: int

    def number(self, rows: Rows) -> Number:
        """A mean ± what another training changes, in the same proportion for all."""
        mean = statistics.fmean(_means(rows))
        return Number(mean, self.deviation * mean)

    def compare(self, where: str, lower: Rows, higher: Rows) -> list[Comparison]:
        """Two ways of training by the logarithms of their trainings, which all deviate alike."""
        a, b = ([math.log(mean) for mean in _means(side)] for side in (lower, higher))
        error = self.deviation * math.sqrt(1 / len(a) + 1 / len(b))
        difference = Estimate(statistics.fmean(b) - statistics.fmean(a), error, self.freedom)
        numbers = self.number(lower), self.number(higher)
        return [Comparison(where, *numbers, difference, "logarithms")]


def pool_of(ways: Iterable[Rows]) -> Pool:
    """From the trainings of each way of training that was repeated."""
    logarithms = [[math.log(mean) for mean in _means(rows)] for rows in ways]
    freedom = sum(len(group) - 1 for group in logarithms)
    squares = sum((len(group) - 1) * statistics.variance(group) for group in logarithms)
    return Pool(math.sqrt(squares / freedom), freedom)


# --- what the paper claims ------------------------------------------------------------------------

DENOISING = "denoising lowers the distance of {sampler}"
CONSISTENT = "CAS is better than ALS at n_σ = {n_sigma}, {outcome}"
ADVERSARIAL = "the adversarial objective lowers the distance of {outcome} samples, {network}"
"""In the same words in every study: statements that one number is lower than another."""
_PAPER = tomllib.loads((Path(__file__).parents[1] / "claims.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Claim:
    """One statement, of the paper or a question of ours, put to the test by a measure."""

    statement: str
    measure: str
    comparisons: Sequence[Comparison]

    @property
    def paper(self) -> str:
        """What the paper says of it."""
        return str(_PAPER.get(self.statement, "not asked"))

    def count(self, verdict: Verdict) -> int:
        """How many comparisons came out so."""
        return sum(pair.verdict == verdict for pair in self.comparisons)

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
        """By which part the lower side is lower on geometric average; nan where a side is zero."""
        pairs = [(pair.lower.mean, pair.higher.mean) for pair in self.comparisons]
        if any(min(pair) <= 0 for pair in pairs):
            return math.nan
        return 1 - statistics.geometric_mean([lower / higher for lower, higher in pairs])

    @property
    def cells(self) -> tuple[str, str, str]:
        """What was measured, the verdict and the change."""
        part = self.change
        change = f"{abs(part):.1%} {'lower' if part >= 0 else 'higher'}"
        return self.measure, self.verdict, "–" if math.isnan(part) else change


def claims_of(
    measure: str, statements: Sequence[tuple[str, Rows, str, str]], by: Compare = by_networks
) -> list[Claim]:
    """All claims about a measure, which names columns as "`{extractor}`"; then about the next.

    Each of the `statements` is for every group of the columns that it names, as DENOISING, with the
    `rows`, `where` and `sides` of `contrasts`.
    """
    measures = dict.fromkeys(name for _, rows, _, _ in statements for name in rows.named(measure))
    return [
        Claim(text, name, contrasts(of, where, sides, by))
        for name in measures
        for statement, rows, where, sides in statements
        for text, of in rows.named(measure).get(name, Rows()).named(statement).items()
    ]


_CLAIMS = ("claim", "the paper", "measured", "here", "on average")


def claims_table(claims: Sequence[Claim]) -> str:
    """A row for each claim: the statement once, then each measure with its verdict and change."""
    rows = []
    for statement in dict.fromkeys(claim.statement for claim in claims):
        for place, claim in enumerate(c for c in claims if c.statement == statement):
            rows.append((*(("", "") if place else (statement, claim.paper)), *claim.cells))
    return markdown_table([_CLAIMS, *rows])


def comparisons_table(claims: Sequence[Claim]) -> Table:
    """Every comparison behind claims, for a CSV file."""
    rows = [
        (claim.statement, claim.measure.strip("`"), pair.where, *pair.cells)
        for claim in claims
        for pair in claim.comparisons
    ]
    return ("claim", "measured", "where", *COLUMNS), rows


def by_statement(claims: Mapping[str, Sequence[Claim]]) -> list[dict[str, Any]]:
    """Each statement with the claims of all studies, and how many pairs held, tie and did not."""
    pairs = [(study, claim) for study, made in claims.items() for claim in made]
    statements = []
    for text in dict.fromkeys(claim.statement for _, claim in pairs):
        of = [(study, claim) for study, claim in pairs if claim.statement == text]
        counts = [sum(claim.count(word) for _, claim in of) for word in _VERDICTS.values()]
        statements.append({"text": text, "paper": of[0][1].paper, "of": of, "counts": counts})
    return statements
