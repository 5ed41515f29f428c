"""What the paper claims, and in how many comparisons of a study it held."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from paper.engine.compare import COLUMNS, Compare, Comparison, Verdict, by_networks, contrasts
from paper.engine.rows import Rows, Table, markdown_table


class Statement(NamedTuple):
    """That one number is lower than another, in the same words in every study; the paper's view."""

    text: str
    paper: str = "not asked"


def denoising_lowers(method: str) -> Statement:
    """The statement about the last step."""
    return Statement(f"denoising lowers the distance of {method.upper()}", "yes, always")


def consistent_is_better(n_sigma: int, outcome: str) -> Statement:
    """The statement about the two samplers."""
    view = "yes, on CIFAR-10" if n_sigma == 1 else "not asked"
    return Statement(f"CAS is better than ALS at n_σ = {n_sigma}, {outcome}", view)


def adversarial_lowers(outcome: str, network: Literal["unet", "ncsnv2", "mlp"]) -> Statement:
    """The statement about the objective."""
    views = {("ncsnv2", "raw"): "yes", ("ncsnv2", "denoised"): "yes", ("unet", "denoised"): "no"}
    name = {"unet": "U-Net", "ncsnv2": "NCSNv2", "mlp": "perceptron"}[network]
    return Statement(
        f"the adversarial objective lowers the distance of {outcome} samples, {name}",
        views.get((network, outcome), "not asked"),
    )


_VERDICTS: tuple[Verdict, ...] = ("held", "tie", "did not hold")


@dataclass(frozen=True)
class Claim:
    """One statement, put to the test.

    Attributes:
        statement: of the paper, or a question of ours.
        measure: what is compared, such as the extractor whose features are, as Markdown.
        comparisons: at least one.
    """

    statement: Statement
    measure: str
    comparisons: Sequence[Comparison]

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


def claims_by(
    column: str,
    asked: Sequence[tuple[Statement, Rows, str, str]],
    by: Compare = by_networks,
) -> list[Claim]:
    """All claims for each level of the column that says what is measured.

    Args:
        column: such as `extractor`.
        asked: of each claim the statement, and `rows`, `where` and `sides` of `contrasts`.
        by: how two sides are compared.
    """
    levels = dict.fromkeys(level for _, rows, _, _ in asked for level in rows.levels(column))
    return [
        Claim(statement, f"`{level}`", contrasts(rows.where(**{column: level}), where, sides, by))
        for level in levels
        for statement, rows, where, sides in asked
    ]


_COLUMNS = ("claim", "the paper", "measured", "here", "on average")


def claims_table(claims: Sequence[Claim]) -> str:
    """A row for each claim: the statement once, then each measure with its verdict and change."""
    rows = []
    for statement in dict.fromkeys(claim.statement for claim in claims):
        for place, claim in enumerate(c for c in claims if c.statement == statement):
            rows.append((*(("", "") if place else statement), *claim.cells))
    return markdown_table([_COLUMNS, *rows])


def comparisons_table(claims: Sequence[Claim]) -> Table:
    """Every comparison behind claims, for a CSV file."""
    rows = [
        (claim.statement.text, claim.measure.strip("`"), pair.where, *pair.cells)
        for claim in claims
        for pair in claim.comparisons
    ]
    return ("claim", "measured", "where", *COLUMNS), rows


def by_statement(claims: Mapping[str, Sequence[Claim]]) -> dict[Statement, Mapping[str, Any]]:
    """Of each statement its claims, `of` pairs with the study, and how many pairs are so.

    Args:
        claims: by the name of their study.
    """
    asked: dict[Statement, list[tuple[str, Claim]]] = {}
    for study, of_study in claims.items():
        for claim in of_study:
            asked.setdefault(claim.statement, []).append((study, claim))
    return {
        statement: {"of": of, **{word: sum(c.count(word) for _, c in of) for word in _VERDICTS}}
        for statement, of in asked.items()
    }
