"""What never tuning costs: the search of `cascore tune` on the studies' networks."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from cascore.evaluation.search import Candidate, search
from cascore.evaluation.tune import largest_kappa
from paper.engine.charts import BLACK, Picture, curves
from paper.engine.claims import Claim, claims_of, contrasts, plain, spread, within_trainings
from paper.engine.lab import BATCH, SEED_APART, Lab, Result, Subject, seeds_of
from paper.engine.page import Page, Plan
from paper.engine.rows import Row, Rows
from paper.engine.settings import VALIDATION_SEED, Chain, cas

PLAN, ORDERS = Plan("never-tuning"), (1, 2)
DEFAULT = Candidate(order=2, kappa=2.5)
"""Of `cascore sample`, with centred levels."""


@dataclass(frozen=True, kw_only=True)
class Searched(Subject):
    """A network, and how it is searched for each number of calls; seeds are blocks.

    The first grid has `points` kappas, and is halved around the best one in `rounds`.
    """

    calls: tuple[int, ...]
    points: int = 7
    rounds: int = 3


def measure(lab: Lab, scale: Sequence[Searched]) -> Rows:
    """A row for each network, number of calls, candidate and block, of the search or fresh."""
    return Rows(
        {"model": subject.preset, "calls": calls, "training": 0, **row}
        for subject in scale
        for calls in subject.calls
        for row in _searched(lab, subject, calls)
    )


def _searched(lab: Lab, subject: Searched, calls: int) -> Iterator[Row]:
    experiment, first = subject.experiment(), VALIDATION_SEED * SEED_APART
    size = {"count": subject.count, "blocks": subject.seeds, "first_seed": first}
    grid = {"orders": list(ORDERS), "points": subject.points, "rounds": subject.rounds}
    default = _chain(DEFAULT, calls).settings(experiment.schedule)
    settings: dict[str, Any] = {"extractor": subject.extractors[0], "calls": calls}
    settings |= {"default": default, **size, **grid}
    about = 2 * len(ORDERS) * subject.points * subject.seeds
    of, cost = partial(_search, lab, subject, calls), about * subject.count * calls
    result = lab.keep("search", settings, of, experiment=experiment, calls=cost)
    results = [("search", "", point, point["values"]) for point in result.get("curve", ())]
    for role, values in result.get("fresh", {}).items():
        if role == "default" or result["best"] != result["default"]:
            results.append(("fresh", role, result[role], values))
    for blocks, role, candidate, values in results:
        tags = {"blocks": blocks, "role": role} | {k: candidate[k] for k in ("order", "kappa")}
        yield from ({**tags, "block": block, "distance": x} for block, x in enumerate(values))


def _chain(candidate: Candidate, calls: int) -> Chain:
    spacing = "geometric" if candidate.order == 1 else "centred"
    return cas(candidate.kappa, order=candidate.order, levels=calls, spacing=spacing)


def _search(lab: Lab, subject: Searched, calls: int) -> Result:
    model, name = lab.model(subject.experiment()), subject.extractors[0]
    provenance: dict[str, Any] = {"checkpoint": model.digest}

    def distance(candidate: Candidate, block: int) -> float:
        seeds = seeds_of(VALIDATION_SEED + block, subject.count)
        samples = model.draw(seeds, _chain(candidate, calls).sampler, batch_size=BATCH)
        result, made = lab.frechet(subject.data, [name], samples)
        provenance.update(made)
        return float(result["distances"][name]["denoised"][0])

    largest = largest_kappa(model.experiment.schedule, calls=calls)
    how: dict[str, Any] = {
        "points": subject.points,
        "rounds": subject.rounds,
        "blocks": subject.seeds,
    }
    results = search(distance, default=DEFAULT, orders=ORDERS, largest=largest, **how)
    return {
        "curve": [{**asdict(c), "values": values} for c, values in sorted(results.curve.items())],
        "default": asdict(results.default),
        "best": asdict(results.best),
        "fresh": {"default": results.fresh[results.default], "best": results.fresh[results.best]},
    }, provenance


def claims(results: Rows, scale: Sequence[Searched]) -> list[Claim]:
    """Whether tuning gains anything."""
    says = "tuning order and κ for the number of calls lowers the distance of the default"
    fresh = results.where(blocks="fresh")
    statements = [(says, fresh, "{calls} calls", "role: best < default")]
    return claims_of("`{model}`", statements, within_trainings)


def page(results: Rows, scale: Sequence[Searched]) -> Page:
    """What the search chose, what that gains on fresh seeds, and all its curves."""
    searches = []
    for rows in results.where(blocks="fresh").by("model", "calls").values():
        numbers = {role: spread(of) for role, of in rows.by("role").items()}
        pairs = contrasts(rows, "", "role: best < default", within_trainings)
        searches.append({"row": rows[-1], **numbers, "pair": pairs[0] if pairs else None})
    searched = results.where(blocks="search").by("model")
    pictures = {model: _curves(rows) for model, rows in searched.items()}
    return Page({"searches": searches}, pictures, PLAN.tables(measurements=results))


def _curves(rows: Rows) -> Picture:
    """A panel for each order, a line for each number of calls; rings mark the default."""
    ring = {"fmt": "o", "color": BLACK, "markerfacecolor": "none", "markersize": 10, "label": "_"}
    rings = [{**row, "ring": ", default", "style": ring} for row in rows.where(**asdict(DEFAULT))]
    means = [plain(of).mean for of in rows.by("calls", "order", "kappa").values()]
    look = PLAN.look("curves") | {"ylim": (0.93 * min(means), 1.07 * max(means))}
    return curves(Rows([*({**row, "ring": ""} for row in rows), *rings]), plain, **look)


STUDY = PLAN.study(Searched, measure, page, claims)
