"""What the paper claims, and in how many comparisons of a study it held."""

import math
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paper.engine.compare import COLUMNS, Compare, Comparison, Verdict, by_networks, contrasts
from paper.engine.rows import Rows, Table, markdown_table

DENOISING = "denoising lowers the distance of {sampler}"
CONSISTENT = "CAS is better than ALS at n_σ = {n_sigma}, {outcome}"
ADVERSARIAL = "the adversarial objective lowers the distance of {outcome} samples, {network}"
"""In the same words in every study: statements that one number is lower than another."""
_PAPER = tomllib.loads((Path(__file__).parents[1] / "claims.toml").read_text(encoding="utf-8"))
_VERDICTS: tuple[Verdict, ...] = ("held", "tie", "did not hold")


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
    measure: str, asked: Sequence[tuple[str, Rows, str, str]], by: Compare = by_networks
) -> list[Claim]:
    """All claims about a measure, which names columns as "`{extractor}`"; then about the next.

    What is `asked` are statements, each for every group of the columns that it names, as DENOISING,
    with the `rows`, `where` and `sides` of `contrasts`.
    """
    measures = dict.fromkeys(name for _, rows, _, _ in asked for name in rows.named(measure))
    return [
        Claim(text, name, contrasts(of, where, sides, by))
        for name in measures
        for statement, rows, where, sides in asked
        for text, of in rows.named(measure).get(name, Rows()).named(statement).items()
    ]


_COLUMNS = ("claim", "the paper", "measured", "here", "on average")


def claims_table(claims: Sequence[Claim]) -> str:
    """A row for each claim: the statement once, then each measure with its verdict and change."""
    rows = []
    for statement in dict.fromkeys(claim.statement for claim in claims):
        for place, claim in enumerate(c for c in claims if c.statement == statement):
            rows.append((*(("", "") if place else (statement, claim.paper)), *claim.cells))
    return markdown_table([_COLUMNS, *rows])


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
    asked: dict[str, list[tuple[str, Claim]]] = {}
    for study, of_study in claims.items():
        for claim in of_study:
            asked.setdefault(claim.statement, []).append((study, claim))
    found: list[dict[str, Any]] = []
    for text, of in asked.items():
        counts = [sum(claim.count(word) for _, claim in of) for word in _VERDICTS]
        found.append({"text": text, "paper": of[0][1].paper, "of": of, "counts": counts})
    return found
