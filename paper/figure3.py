"""Figure 3: Fréchet distance against step size, on the authors' models and on our own."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from cascore.experiment.settings import Schedule
from cascore.schedule import eta_from_kappa
from paper.authors import best_kappa, excess, published_curves
from paper.engine.charts import Picture, curves
from paper.engine.claims import CONSISTENT, DENOISING, Claim, by_errors, claims_of, mean_of, plain
from paper.engine.lab import OUTCOMES, Lab, Measured, Subject
from paper.engine.page import Page, Plan
from paper.engine.rows import Rows, pivot
from paper.engine.settings import Chain, als, cas

PLAN, DEFAULT = Plan("figure3"), 1.5  # kappa of the first order


@dataclass(frozen=True, kw_only=True)
class Scans(Subject):
    """A network, and by n_sigma the step sizes that are tried on it at all training levels."""

    kappas: Mapping[str, tuple[float, ...]]
    etas: Mapping[str, tuple[float, ...]]


def measure(lab: Lab, scale: Sequence[Scans]) -> Measured:
    """A row for each network, step size, seed, extractor and outcome; the cheap chains first."""
    rows = Rows()
    for subject in scale:
        chains = [cas(k, n_sigma=int(n)) for n, kappas in subject.kappas.items() for k in kappas]
        chains += [als(eta, n_sigma=int(n)) for n, etas in subject.etas.items() for eta in etas]
        for chain in sorted(chains, key=lambda chain: chain.n_sigma):
            both = str(chain.n_sigma) in subject.kappas.keys() & subject.etas.keys()
            axis = _eta(chain, subject.experiment().schedule)
            rows += subject.distances(lab, chain, axis=axis, both=both)
    return Measured(rows, {subject.preset: subject.floors(lab) for subject in scale})


def _eta(chain: Chain, schedule: Schedule) -> float:
    """The paper's step size in units of sigma_L squared."""
    if chain.kappa is None:
        return chain.knob
    gamma = (schedule.last / schedule.first) ** (1 / (schedule.levels - 1) / chain.n_sigma)
    return eta_from_kappa(chain.kappa, gamma)


def scans_of(rows: Rows) -> Rows:
    """A row for each scan of step sizes: the lowest, what `ties` with it, the cost of DEFAULT."""
    scans = Rows()
    for of in rows.by("model", "n_sigma", "extractor", "outcome", "sampler").values():
        numbers = {knob: mean_of(points) for knob, points in of.by("knob").items()}
        best = min(numbers, key=lambda knob: numbers[knob].mean)
        low, end = numbers[best], best in (min(numbers), max(numbers)) and len(numbers) > 1
        scan = {
            "knob": best,
            "distance": low.mean,
            "standard_error": low.plus_minus,
            "name": f"{best:g}{'*' * end}",
            "ties": [knob for knob, number in numbers.items() if number.ties(low)],
            "cost": numbers[DEFAULT].mean / low.mean - 1 if DEFAULT in numbers else None,
        }
        scans.append({**of[0], **scan})
    return Rows(sorted(scans, key=lambda scan: str(scan["sampler"])))


def claims(results: Measured, scale: Sequence[Scans]) -> list[Claim]:
    """The paper's claims of both samplers, each side at its best step size."""
    rows = scans_of(results.rows).where(both=True)
    statements = [
        (DENOISING, rows, "{model}, n_σ = {n_sigma}", "outcome: denoised < raw"),
        (CONSISTENT, rows, "{model}", "sampler: CAS < ALS"),
    ]
    return claims_of("`{extractor}`", statements, by_errors)


def page(results: Measured, scale: Sequence[Scans]) -> Page:
    """The authors' curves in epsilon and kappa, and the same on models of our own."""
    published, scans = published_curves(), scans_of(results.rows)
    ours, consistent = scans.where(sampler="CAS"), published.where(sampler="CAS").by("curve")
    index = {"network": "`{model}`", "n_σ": "{n_sigma}", "features of": "`{extractor}`"}
    authors = [
        {
            **scan[0],
            "outside": scan.where(allowed=False).values("epsilon"),
            **{o: (best_kappa(scan, o), 100 * excess(scan, o, DEFAULT)) for o in OUTCOMES},
        }
        for scan in consistent.values()
    ]
    words = {
        "authors": authors,
        "best": pivot(ours, index, "best κ, {outcome} (cost of 1.5)", _best),
        "defaults": {o: _default(rows) for o, rows in ours.by("outcome").items()},
        "both": pivot(scans.where(both=True), index, "{outcome}, {sampler}", _top),
    }
    pictures = {
        "authors-epsilon": _authors_epsilon(published),
        "authors-kappa": _authors_kappa(consistent),
    }
    for kind, i in product(("kappa", "eta"), range(len(scale[0].extractors))):
        shown = {subject.preset: subject.extractors[i] for subject in scale}
        pictures[f"{kind}-{i + 1}"] = _ours(results, kind, shown)
    return Page(words, pictures, PLAN.tables(measurements=results.rows, authors=published))


def _best(scan: Rows) -> str:
    """The best kappa with the range of those that tie, and what 1.5 costs."""
    name, ties, cost = (scan[0][column] for column in ("name", "ties", "cost"))
    others = f"; {ties[0]:g} to {ties[-1]:g}" if len(ties) > 1 else ""
    return f"{name}{others} ({'tie' if DEFAULT in ties else f'+{cost:.0%}'})"


def _top(scan: Rows) -> str:
    letter = "κ" if scan[0]["sampler"] == "CAS" else "η"
    return f"{mean_of(scan).text()} ({letter} = {scan[0]['name']})"


def _default(scans: Rows) -> Mapping[str, object]:
    """How often the default ties with the best, and which kappa does so most often."""
    ties = Counter(knob for row in scans for knob in row["ties"])
    most = max(ties, key=lambda knob: ties[knob])
    cost = max((row["cost"] for row in scans if DEFAULT not in row["ties"]), default=0.0)
    return {"scans": len(scans), "ties": ties, "most": most, "cost": cost}


def _ours(results: Measured, kind: str, extractors: Mapping[str, str]) -> Picture:
    """CAS at each n_sigma against kappa, or both samplers at n_sigma 1 against eta."""
    of = results.rows.where(method="cas") if kind == "kappa" else results.rows.where(n_sigma=1)
    return curves(
        Rows(row for row in of if row["extractor"] == extractors[row["model"]]),
        bands=lambda row: {"real images": results.floors[row["model"]][row["extractor"]]},
        **PLAN.look(kind),
    )


def _authors_epsilon(published: Rows) -> Picture:
    """The paper's Figure 3, raw and denoised side by side."""
    names = [f"cifar10_ncsnv2__{method}_adv_n1_5k" for method in ("nc", "c")]
    pairs = product((row for row in published if row["curve"] in names), OUTCOMES)
    points = Rows({**row, "kind": kind, "distance": row[kind]} for row, kind in pairs)
    return curves(points, plain, **PLAN.look("authors-epsilon"))


def _authors_kappa(consistent: Mapping[str, Rows]) -> Picture:
    """Each CIFAR-10 scan of CAS relative to its lowest distance, with a mark at the minimum."""
    rows, look = Rows(), PLAN.look("authors-kappa")
    for curve, kind in product(consistent.values(), OUTCOMES):
        lowest = min(curve.where(allowed=True).values(kind))
        points = []
        for row in curve:
            of = {**row, "kind": kind, "distance": 100 * (row[kind] / lowest - 1), "mark": ""}
            line = {"fmt": "o-", "label": look["label"].format_map(of)}
            outside = {"mark": "x", "style": {"fmt": "x", "label": "_"}}
            points.append({**of, "style": line, **({} if row["allowed"] else outside)})
        minimum = {"mark": "^", "kappa": best_kappa(curve, kind), "distance": -0.7}
        points.append({**points[0], **minimum, "style": {"fmt": "^", "label": "_"}})
        rows += [row for row in points if row["data"] == "cifar10"]
    return curves(rows, plain, **look)


STUDY = PLAN.study(Scans, measure, page, claims)
