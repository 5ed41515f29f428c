"""What the paper claims, and in how many comparisons of a study it held."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cascore.reproduce.pages import Page, Spread, markdown_table

__all__ = ["Claim", "Comparison", "Verdict", "claims_page"]

Verdict = Literal["held", "tie", "did not hold", "mixed"]


@dataclass(frozen=True)
class Comparison:
    """Two distances, of which the paper says that one is lower.

    Attributes:
        where: what else is the same in both, in a few words.
        lower: the one that is said to be lower.
        higher: the other.
    """

    where: str
    lower: Spread
    higher: Spread

    @property
    def verdict(self) -> Literal["held", "tie", "did not hold"]:
        """A difference within the spread is a tie."""
        if self.lower.ties(self.higher):
            return "tie"
        return "held" if self.lower.mean < self.higher.mean else "did not hold"


@dataclass(frozen=True)
class Claim:
    """One statement, put to the test.

    Attributes:
        statement: of the paper, in the same words in every study that tests it.
        measure: what the distances are of, such as the name of an extractor.
        comparisons: at least one.
    """

    statement: str
    measure: str
    comparisons: Sequence[Comparison]

    def count(self, verdict: Literal["held", "tie", "did not hold"]) -> int:
        """In how many comparisons it came out so."""
        return sum(each.verdict == verdict for each in self.comparisons)

    @property
    def verdict(self) -> Verdict:
        """A tie where all are ties, mixed where some held and some did not."""
        held, against = self.count("held"), self.count("did not hold")
        if held and against:
            return "mixed"
        if held or against:
            return "held" if held else "did not hold"
        return "tie"

    @property
    def text(self) -> str:
        """The verdict and the count behind it."""
        total, held, ties = len(self.comparisons), self.count("held"), self.count("tie")
        against = total - held - ties
        tied = f", {ties} tie{'s' if ties > 1 else ''}" if ties else ""
        match self.verdict:
            case "mixed":
                return f"mixed ({held} of {total} held, {against} did not{tied})"
            case "tie":
                return f"tie ({total} of {total})"
            case verdict:
                return f"{verdict} ({held or against} of {total}{tied})"


def claims_page(scale: str, found: Mapping[str, Sequence[Claim]]) -> Page:
    """A row for each statement, a column for each study that has records.

    Args:
        scale: by name.
        found: claims by the name of their study.
    """
    statements = dict.fromkeys(claim.statement for each in found.values() for claim in each)
    rows = [
        (statement, *(_cell(statement, claims) for claims in found.values()))
        for statement in statements
    ]
    columns = ("claim", *(f"[{study}]({study}.md)" for study in found))
    return Page(
        text=f"""# What held

`cascore reproduce all --scale {scale}` wrote this page from the records of every study that has
them. Each row is a claim of the paper, or the question behind one; each column a study, whose page
has the numbers.

{markdown_table(columns, rows)}

A claim that one distance is lower than another is put to every pair of measurements that differ in
nothing else. A pair ties unless its means differ by more than twice the root of the summed squares
of both spreads. *Held* and *did not hold*: in so many of the pairs, and the others are ties;
*mixed*: in some it held and in some it did not. In front of each verdict stand the features that
the distances are of. An empty cell: the study does not ask.
""",
        pictures={},
        tables={},
    )


def _cell(statement: str, claims: Sequence[Claim]) -> str:
    asked = [claim for claim in claims if claim.statement == statement]
    return "<br>".join(f"{claim.measure}: {claim.text}" for claim in asked)
