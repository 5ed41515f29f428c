"""What the paper claims, and in how many comparisons of a study it held."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cascore.reproduce.comparisons import COMPARISONS, Comparison, Verdict, comparison_rows
from cascore.reproduce.pages import Page, Table, markdown_table

__all__ = [
    "Claim",
    "Statement",
    "adversarial_lowers",
    "claims_page",
    "claims_table",
    "comparisons_table",
    "consistent_is_better",
    "denoising_lowers",
]


@dataclass(frozen=True)
class Statement:
    """A claim, in the same words in every study.

    Attributes:
        text: that one distance is lower than another.
        paper: what the paper says of it, in a few words.
    """

    text: str
    paper: str = "not asked"


def denoising_lowers(method: str) -> Statement:
    """The statement about the last step."""
    return Statement(f"denoising lowers the distance of {method.upper()}", "yes, always")


def consistent_is_better(n_sigma: int, kind: str) -> Statement:
    """The statement about the two samplers, of raw or denoised samples."""
    said = "yes, on CIFAR-10" if n_sigma == 1 else "not asked"
    return Statement(f"CAS is better than ALS at n_σ = {n_sigma}, {kind}", said)


_VERDICTS: tuple[Verdict, ...] = ("held", "tie", "did not hold")
_NETWORKS = {"unet": "U-Net", "ncsnv2": "NCSNv2", "mlp": "perceptron"}


def adversarial_lowers(kind: str, network: str) -> Statement:
    """The statement about the objective, of raw or denoised samples of a kind of network."""
    said = {("ncsnv2", "raw"): "yes", ("ncsnv2", "denoised"): "yes", ("unet", "denoised"): "no"}
    return Statement(
        f"the adversarial objective lowers the distance of {kind} samples, {_NETWORKS[network]}",
        said.get((network, kind), "not asked"),
    )


@dataclass(frozen=True)
class Claim:
    """One statement, put to the test.

    Attributes:
        statement: of the paper, or a question of ours.
        measure: what is compared, such as the name of an extractor whose features are.
        comparisons: at least one.
    """

    statement: Statement
    measure: str
    comparisons: Sequence[Comparison]

    def count(self, verdict: Verdict) -> int:
        """How many comparisons came out so."""
        return sum(each.verdict == verdict for each in self.comparisons)

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
        for claim in asked:
            first = (statement.text, statement.paper) if claim is asked[0] else ("", "")
            rows.append((*first, *_told(claim)))
    return markdown_table(("claim", "the paper", "measured", "here", "on average"), rows)


def comparisons_table(found: Sequence[Claim]) -> Table:
    """Every comparison behind claims, for a CSV file."""
    rows = [
        (claim.statement.text, claim.measure.strip("`"), each.where, *row)
        for claim in found
        for each, row in zip(claim.comparisons, comparison_rows(claim.comparisons), strict=True)
    ]
    return Table(("claim", "measured", "where", *COMPARISONS), rows)


def _told(claim: Claim) -> tuple[str, str, str]:
    part = claim.change
    change = "–" if math.isnan(part) else f"{abs(part):.1%} {'lower' if part >= 0 else 'higher'}"
    return claim.measure, claim.verdict, change


def claims_page(scale: str, found: Mapping[str, Sequence[Claim]]) -> Page:
    """Each statement with the pairs of all studies counted, then study by study.

    Args:
        scale: by name.
        found: claims by the name of their study.
    """
    by_statement: dict[Statement, list[tuple[str, Claim]]] = {}
    for study, claims in found.items():
        for claim in claims:
            by_statement.setdefault(claim.statement, []).append((study, claim))
    return Page(
        text=f"""# What became of the claims

`cascore reproduce all --scale {scale}` wrote this page from the records of every study that has
them. Each row is a statement that one distance is lower than another: a claim of the paper, its
contrary, or a question of ours.

## What the paper says is so

{_plainly(by_statement)}

Between the paper's setting and this one lie small pictures and networks, thousands of training
steps instead of hundreds of thousands, the features of small networks instead of Inception's,
hundreds of samples instead of ten thousand, and a step size chosen for each network. Each page says
what it is.

## In all studies together

The second column is what the paper says ("not asked": nothing), the others are what these records
say. *Held* where the paper says no contradicts the paper.

{_summary(by_statement)}

A statement is put to pairs of measurements, each side at the step size that its study chose for it.
A pair *ties* unless the 95 % interval of its difference leaves zero out.

- Two ways of sampling from one network share their seeds: the difference is taken seed by seed
  (Student), and each training is a pair of its own.
- Two ways of training are compared by the means of their trainings (Welch), two of each where
  there are as many. Where there is one ("one training each") it is two networks that differ, by
  their seeds, and nothing is known of what another training would change. The GAN losses, most of
  which were trained once, borrow the deviation of those that were trained twice.
- `beyond`, `figure3` and `table4` have the errors of their distances from many pictures instead;
  raw and denoised samples are paired in `beyond`, over two seeds. `figure3` compares step sizes
  that were chosen on the same samples.

The counts are no test. Chance alone passes in at most about one pair of twenty, half of them as
*held*. With two or three values a side, differences have to be large to be seen: a tie is no proof
of equality. Pairs of several extractors, and of one network, are not independent.

## Study by study

{_by_study(by_statement)}

*Held (1 of 2, 1 tie)*: in one pair it held, and in none was it the other way round. *Mixed*: in
some pairs it held, in some the contrary. *Mostly ties*: more pairs tie than tell. *Measured* are
the features that the distances are of, or what the page of the study explains. The average is
geometric, over all pairs, and has no error; there is none ("–") where a side is zero.
""",
        pictures={},
        tables={},
    )


def _plainly(found: Mapping[Statement, Sequence[tuple[str, Claim]]]) -> str:
    """A line for each statement that the paper affirms."""
    lines = []
    for statement, asked in found.items():
        if statement.paper.startswith("yes"):
            held, ties, against = _counts(asked)
            word = _word(held, ties, against)
            lines.append(
                f"- *{statement.text}* (the paper: {statement.paper}): {word}."
                f" {held} of {held + ties + against} pairs say so, {against} the contrary,"
                f" {ties} cannot be told."
            )
    return "\n".join(lines) or "Nothing of it was measured."


def _word(held: int, ties: int, against: int) -> str:
    if not held and not against:
        return "cannot be told here"
    if not against:
        return "held here" if held >= ties else "held here where it can be told"
    if not held:
        return "did not hold here" if against >= ties else "did not hold here where it can be told"
    return "not always so here" if held > against else "more often not so here"


def _counts(asked: Sequence[tuple[str, Claim]]) -> tuple[int, int, int]:
    """How many pairs held, tied and did not hold, in all studies."""
    held, ties, against = (sum(claim.count(word) for _, claim in asked) for word in _VERDICTS)
    return held, ties, against


def _summary(found: Mapping[Statement, Sequence[tuple[str, Claim]]]) -> str:
    rows = [
        (statement.text, statement.paper, *map(str, _counts(asked)))
        for statement, asked in found.items()
    ]
    return markdown_table(("claim", "the paper", *_VERDICTS), rows)


def _by_study(found: Mapping[Statement, Sequence[tuple[str, Claim]]]) -> str:
    rows = [
        (statement.text if number == 0 else "", f"[{study}]({study}.md)", *_told(claim))
        for statement, asked in found.items()
        for number, (study, claim) in enumerate(asked)
    ]
    return markdown_table(("claim", "study", "measured", "here", "on average"), rows)
