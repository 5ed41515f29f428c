"""What never tuning costs: the search of `cascore tune` on the studies' networks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from cascore.evaluation.search import Candidate, search
from cascore.evaluation.tune import largest_kappa
from paper.engine.chain import VALIDATION_SEED, Chain, cas
from paper.engine.charts import BLACK, COLOURS, Curve, Panel, curves, lines
from paper.engine.claims import Claim, Statement, claims_by
from paper.engine.compare import Number, contrasts, spread_of, within_trainings
from paper.engine.lab import SEED_APART, Lab, seeds_of
from paper.engine.page import Page, Study
from paper.engine.rows import Row, Rows, table
from paper.engine.subject import PAPER, TINY, Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ORDERS = (1, 2)
DEFAULT = Candidate(order=2, kappa=2.5)
"""Of `cascore sample`, with centred levels."""


@dataclass(frozen=True, kw_only=True)
class Searched(Subject):
    """A network, and how order and kappa are searched for each number of calls; seeds are blocks.

    Attributes:
        calls: numbers of network calls, each searched by itself.
        points: of the first grid of kappas.
        rounds: of halving around the best.
    """

    extractors: tuple[str, ...] = ("digits",)
    count: int = 256
    seeds: int = 4
    calls: tuple[int, ...] = (8, 12, 20)
    points: int = 7
    rounds: int = 3


_DIGITS = Searched(preset="digits", steps=4000, calls=(5, 8, 12, 20, 50))
_FASHION = Searched(preset="fashion-mnist", steps=16_000, extractors=("fashion-mnist",), count=100)
_SMALL = {**TINY, "extractors": ("digits",), "count": 6, "seeds": 2}
SCALES = {
    "tiny": (replace(_DIGITS, **_SMALL, calls=(2, 4), points=3, rounds=0),),
    "laptop": (_DIGITS, Searched(preset="digits-adversarial", steps=4000), _FASHION),
    "paper": tuple(
        replace(_FASHION, preset=preset, steps=300_000, **{**PAPER, "count": 2500})
        for preset in ("cifar10-unet", "cifar10-unet-adversarial")
    ),
}


def measure(lab: Lab, scale: Sequence[Searched]) -> Rows:
    """A row for each network, number of calls, candidate and block, of the search or fresh."""
    return Rows(
        {"model": subject.preset, "calls": calls, "training": 0, **row}
        for subject in scale
        for calls in subject.calls
        for row in _searched(lab, subject, calls)
    )


def _searched(lab: Lab, subject: Searched, calls: int) -> Iterator[Row]:
    experiment, measured = subject.experiment(), 2 * len(ORDERS) * subject.points * subject.seeds
    settings = {
        "extractor": subject.extractors[0],
        "calls": calls,
        "orders": list(ORDERS),
        "count": subject.count,
        "blocks": subject.seeds,
        "points": subject.points,
        "rounds": subject.rounds,
        "first_seed": VALIDATION_SEED * SEED_APART,
        "default": _chain(DEFAULT, calls).settings(experiment.schedule),
    }
    result = lab.keep(
        "search",
        settings,
        partial(_search, lab, subject, calls),
        experiment=experiment,
        calls=measured * subject.count * calls,  # about
    )
    found = [("search", "", point, point["values"]) for point in result.get("curve", ())]
    for role, values in result.get("fresh", {}).items():
        if role == "default" or result["best"] != result["default"]:
            found.append(("fresh", role, result[role], values))
    for blocks, role, candidate, values in found:
        tags = {"blocks": blocks, "role": role, **{k: candidate[k] for k in ("order", "kappa")}}
        yield from ({**tags, "block": block, "distance": x} for block, x in enumerate(values))


def _chain(candidate: Candidate, calls: int) -> Chain:
    spacing = "geometric" if candidate.order == 1 else "centred"
    return cas(candidate.kappa, order=candidate.order, levels=calls, spacing=spacing)


def _search(lab: Lab, subject: Searched, calls: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    trained, name = lab.model(subject.experiment()), subject.extractors[0]
    judge, provenance = partial(lab.frechet, subject.data, [name]), {"checkpoint": trained.digest}

    def distance(candidate: Candidate, block: int) -> float:
        seeds = seeds_of(VALIDATION_SEED + block, subject.count)
        result, of = judge(lab.samples(trained, _chain(candidate, calls), seeds))
        provenance.update(of)
        return float(result["distances"][name]["denoised"][0])

    found = search(
        distance,
        default=DEFAULT,
        orders=ORDERS,
        largest=largest_kappa(trained.model.experiment.schedule, calls=calls),
        points=subject.points,
        rounds=subject.rounds,
        blocks=subject.seeds,
    )
    return {
        "curve": [{**asdict(c), "values": values} for c, values in sorted(found.curve.items())],
        "default": asdict(found.default),
        "best": asdict(found.best),
        "fresh": {"default": found.fresh[found.default], "best": found.fresh[found.best]},
    }, provenance


def claims(found: Rows, scale: Sequence[Searched]) -> list[Claim]:
    """Whether tuning gains anything."""
    says = "tuning order and κ for the number of calls lowers the distance of the default"
    fresh = found.where(blocks="fresh")
    asked = [(Statement(says), fresh, "{calls} calls", "role: best < default")]
    return claims_by("model", asked, within_trainings)


def page(found: Rows, scale: Sequence[Searched]) -> Page:
    """What the search chose, what that gains on fresh seeds, and all its curves."""
    searches = []
    for rows in found.where(blocks="fresh").by("model", "calls").values():
        of = {role: spread_of(r.values()) for role, r in rows.by("role").items()}
        pairs = contrasts(rows, "", "role: best < default", within_trainings)
        searches.append({"row": rows[-1], **of, "pair": pairs[0] if pairs else None})
    columns = "model calls blocks order kappa block distance"
    return Page(
        words={"searches": searches},
        pictures={
            model: partial(_curves, rows)
            for model, rows in found.where(blocks="search").by("model").items()
        },
        tables={"measurements": table(found, columns)},
    )


def _curves(rows: Rows) -> Figure:
    """A panel for each order, a line for each number of calls; rings mark the default."""
    groups, calls = rows.by("calls", "order", "kappa").values(), rows.levels("calls")
    means = [statistics.fmean(of.values()) for of in groups]

    def mean(of: Rows) -> Number:
        return Number(statistics.fmean(of.values()), math.nan)

    def ring(of: Rows) -> Curve:
        return Curve([DEFAULT.kappa], [mean(of).mean], None, BLACK, "o", hollow=True, size=10)

    def style(row: Row) -> Mapping[str, Any]:
        return {"colour": COLOURS[calls.index(row["calls"])]}

    panels = []
    for order, of in rows.by("order").items():
        default = of.where(**asdict(DEFAULT)).by("calls").values()
        drawn = [*map(ring, default), *lines(of, "kappa", "{calls} calls", style, mean)]
        panels.append(
            Panel(
                f"order {order}",
                drawn,
                x="$\\kappa$",
                y="Fréchet distance, denoised",
                log="xy",
                ylim=(0.93 * min(means), 1.07 * max(means)),
            )
        )
    return curves(panels, height=4)


STUDY = Study("what never tuning costs", SCALES, measure, page, claims, "never-tuning.md")
