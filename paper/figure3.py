"""Figure 3: Fréchet distance against step size, on the authors' models and on our own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

from cascore.experiment.settings import Schedule
from cascore.schedule import eta_from_kappa
from paper.authors import best_kappa, excess, published_curves
from paper.engine.chain import Chain, als, cas
from paper.engine.charts import COLOURS, Curve, Panel, curves, lines
from paper.engine.claims import Claim, claims_by, consistent_is_better, denoising_lowers
from paper.engine.compare import Number, by_errors, mean_of
from paper.engine.lab import OUTCOMES, Lab
from paper.engine.page import Page, Study
from paper.engine.rows import Row, Rows, pivot, table
from paper.engine.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULT = 1.5  # kappa of the first order


@dataclass(frozen=True, kw_only=True)
class Scans(Subject):
    """A network, and by n_sigma the step sizes that are tried on it at all training levels."""

    kappas: Mapping[int, tuple[float, ...]]
    etas: Mapping[int, tuple[float, ...]]


_MANY = {
    1: (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 18.0, 27.0),
    5: (1.5, 3.0, 6.0, 12.0, 27.0),
}
_ETAS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
_PAPERS = (1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.75, 2.0, 2.5, 3.0, 4.0)
SCALES = {
    "tiny": tuple(
        Scans(
            preset=preset,
            steps=2,
            precision="float32",
            extractors=("digits", "pixels"),
            count=12,
            kappas={1: (1.5, 2.0), 2: (1.5,)},
            etas={1: (0.5,)},
        )
        for preset in ("digits", "digits-adversarial")
    ),
    "laptop": (
        *(
            Scans(
                preset=preset,
                steps=4000,
                kappas=_MANY,
                etas={1: _ETAS, 5: (0.1, 0.2, 0.4, 0.7)},
            )
            for preset in ("digits", "digits-adversarial")
        ),
        Scans(preset="digits-ncsnv2", steps=2000, kappas=_MANY, etas={1: _ETAS}),
        # Thirty times the cost of the digits: few step sizes, few pictures, and n_sigma 1 alone.
        Scans(
            preset="fashion-mnist",
            steps=16_000,
            extractors=("fashion-mnist", "random-convolution"),
            count=100,
            kappas={1: (1.5, 2.0, 3.0, 4.0, 6.0, 12.0)},
            etas={1: (0.2, 0.5, 0.8, 1.1, 1.4)},
        ),
    ),
    "paper": tuple(
        Scans(
            preset=preset,
            steps=300_000,
            precision="float32",
            extractors=("inception",),
            count=5000,
            kappas={1: _PAPERS, 5: _PAPERS},
            etas={1: (0.05, 0.1, 0.15, 0.18, 0.2, 0.25, 0.3), 5: (0.02, 0.03, 0.036, 0.045, 0.06)},
        )
        for preset in (
            *("cifar10-ncsnv2", "cifar10-ncsnv2-adversarial"),
            *("cifar10-unet", "cifar10-unet-adversarial"),
        )
    ),
}


@dataclass(frozen=True)
class Measured:
    """Distances by step size, and what real images score, by preset and extractor."""

    rows: Rows
    floors: Mapping[str, Mapping[str, Number]]

    @property
    def scans(self) -> Rows:
        """A row for each scan of step sizes: the lowest, what `ties` with it, DEFAULT's cost."""
        scans = Rows()
        for rows in self.rows.by("model", "n_sigma", "extractor", "outcome", "method").values():
            numbers = {knob: mean_of(of) for knob, of in rows.by("knob").items()}
            best = min(numbers, key=lambda knob: numbers[knob].mean)
            low, ends = numbers[best], (min(numbers), max(numbers))
            scans.append(
                {
                    **rows[0],
                    "knob": best,
                    "name": f"{best:g}{'*' * (len(numbers) > 1 and best in ends)}",
                    "distance": low.mean,
                    "standard_error": low.plus_minus,
                    "ties": [knob for knob, number in numbers.items() if number.ties(low)],
                    "cost": numbers[DEFAULT].mean / low.mean - 1 if DEFAULT in numbers else None,
                }
            )
        return scans


def measure(lab: Lab, scale: Sequence[Scans]) -> Measured:
    """A row for each network, step size, seed, extractor and outcome; the cheap chains first."""
    rows = Rows()
    for subject in scale:
        chains = [cas(k, n_sigma=n) for n, kappas in subject.kappas.items() for k in kappas]
        chains += [als(eta, n_sigma=n) for n, etas in subject.etas.items() for eta in etas]
        for chain in sorted(chains, key=lambda chain: chain.n_sigma):
            rows += subject.distances(
                lab,
                chain,
                axis=_eta(chain, subject.experiment().schedule),
                both=chain.n_sigma in subject.kappas.keys() & subject.etas.keys(),
            )
    return Measured(rows, {subject.preset: subject.floors(lab) for subject in scale})


def _eta(chain: Chain, schedule: Schedule) -> float:
    """The paper's step size in units of sigma_L squared."""
    if chain.kappa is None:
        return chain.knob
    gamma = (schedule.last / schedule.first) ** (1 / (schedule.levels - 1) / chain.n_sigma)
    return eta_from_kappa(chain.kappa, gamma)


def claims(found: Measured, scale: Sequence[Scans]) -> list[Claim]:
    """The paper's claims of both samplers, each side at its best step size."""
    rows, of_n = found.scans.where(both=True), "{model}, n_σ = {n_sigma}"
    asked = [
        (denoising_lowers(sampler), rows.where(sampler=sampler), of_n, "outcome: denoised < raw")
        for sampler in ("ALS", "CAS")
    ]
    for n, o in product(rows.levels("n_sigma"), OUTCOMES):
        of_both = rows.where(n_sigma=n, outcome=o)
        asked.append((consistent_is_better(n, o), of_both, "{model}", "sampler: CAS < ALS"))
    return claims_by("extractor", asked, by_errors)


# --- the page ------------------------------------------------------------------------------------


def page(found: Measured, scale: Sequence[Scans]) -> Page:
    """The authors' curves in epsilon and kappa, and the same on models of our own."""
    published = published_curves()
    consistent = published.where(sampler="CAS").by("curve")
    cifar = [curve for curve in consistent.values() if curve[0]["data"] == "cifar10"]
    minima = {o: sorted(best_kappa(curve, o) for curve in cifar) for o in OUTCOMES}
    scans, ours = found.scans, found.scans.where(method="cas")
    index = {"network": "`{model}`", "n_σ": "{n_sigma}", "features of": "`{extractor}`"}
    columns = "best κ, {outcome} (cost of 1.5)"
    places = range(len(scale[0].extractors))
    return Page(
        words={
            "authors": [
                ("authors' scan", *(columns.format(outcome=o) for o in OUTCOMES)),
                *(_published_row(curve) for curve in consistent.values()),
            ],
            "ends": {o: (kappas[0], kappas[-1]) for o, kappas in minima.items()},
            "cost": max(excess(curve, "denoised", DEFAULT) for curve in cifar),
            "floors": found.floors,
            "best": pivot(ours, index, columns, _best),
            "defaults": {o: _default(rows) for o, rows in ours.by("outcome").items()},
            "both": pivot(scans.where(both=True), index, "{outcome}, {sampler}", _top),
        },
        pictures={
            "authors-epsilon": partial(_authors_epsilon, published),
            "authors-kappa": partial(_authors_kappa, cifar),
            **{
                f"{axis}-{i + 1}": partial(_ours, found, scale, i, axis)
                for axis, i in product(_AXES, places)
            },
        },
        tables={
            "measurements": table(
                found.rows,
                "model method n_sigma kappa eta nfe seed extractor outcome distance standard_error",
            ),
            "authors": table(published, "curve epsilon kappa raw denoised allowed"),
        },
    )


def _published_row(curve: Rows) -> tuple[str, ...]:
    outside = [f"{epsilon:g}" for epsilon in curve.where(allowed=False).values("epsilon")]
    mark = f" (ε = {', '.join(outside)} outside)" if outside else ""
    return (
        "{data}, {network}, n_σ = {n_sigma}, {thousands}k".format_map(curve[0]) + mark,
        *(f"{best_kappa(curve, o):.2f} ({excess(curve, o, DEFAULT):.1%})" for o in OUTCOMES),
    )


def _best(scan: Rows) -> str:
    """The best kappa with the range of those that tie, and what 1.5 costs."""
    ((name, ties, cost),) = [(row["name"], row["ties"], row["cost"]) for row in scan]
    others = f"; {ties[0]:g} to {ties[-1]:g}" if len(ties) > 1 else ""
    return f"{name}{others} ({'tie' if DEFAULT in ties else f'+{cost:.0%}'})"


def _top(scan: Rows) -> str:
    letter = "κ" if scan[0]["method"] == "cas" else "η"
    return f"{mean_of(scan).text()} ({letter} = {scan[0]['name']})"


def _default(scans: Rows) -> Mapping[str, object]:
    """How often the default ties with the best, and which kappa does so most often."""
    ties = Counter(knob for row in scans for knob in row["ties"])
    most = max(ties, key=lambda knob: ties[knob])
    cost = max((row["cost"] for row in scans if DEFAULT not in row["ties"]), default=0.0)
    return {"scans": len(scans), "ties": ties, "most": most, "cost": cost}


# --- pictures ------------------------------------------------------------------------------------


def _authors_epsilon(published: Rows) -> Figure:
    """The paper's Figure 3, raw and denoised side by side."""
    names = [f"cifar10_ncsnv2__{method}_adv_n1_5k" for method in ("nc", "c")]
    pair = Rows(row for row in published if row["curve"] in names)

    def drawn(outcome: str) -> list[Curve]:
        return lines(
            pair,
            "epsilon",
            "{sampler}",
            lambda row: {"colour": _COLOURS[row["sampler"]]},
            lambda point: Number(point[0][outcome], 0.0),
        )

    panels = [
        Panel(
            title=outcome,
            curves=drawn(outcome),
            x="step size $\\epsilon$ (squared pixel units)",
            y="Fréchet Inception distance",
            log="xy",
            xticks=(4e-6, 1e-5, 2e-5, 4e-5),
            yticks=(15, 20, 30, 50, 100),
            ylim=(12, 120),
        )
        for outcome in OUTCOMES
    ]
    return curves(panels, legend=2, height=3.9)


def _authors_kappa(cifar: Sequence[Rows]) -> Figure:
    """Each CIFAR-10 scan of consistent sampling relative to its lowest distance."""

    def drawn(outcome: str) -> Iterator[Curve]:
        for curve, colour in zip(cifar, COLOURS, strict=False):
            label = "{network}, $n_\\sigma$ = {n_sigma}, {thousands}k samples".format_map(curve[0])
            lowest = min(curve.where(allowed=True).values(outcome))
            for allowed, rows in curve.by("allowed").items():
                y = [100 * (value / lowest - 1) for value in rows.values(outcome)]
                form = "o-" if allowed else "x"
                yield Curve(rows.values("kappa"), y, label if allowed else None, colour, form)
            yield Curve([best_kappa(curve, outcome)], [-0.7], None, colour, "^", size=6)

    panels = [
        Panel(
            title=outcome,
            curves=list(drawn(outcome)),
            x="$\\kappa$",
            y="distance above the scan's lowest (%)",
            xlim=(0.9, 3),
            ylim=(-1.5, 30),
            line=DEFAULT,
        )
        for outcome in OUTCOMES
    ]
    return curves(panels, legend=3, height=4.2)


_COLOURS = {"ALS": COLOURS[1], "CAS": COLOURS[0]}
_AXES: Mapping[str, Mapping[str, Any]] = {
    "kappa": {
        "x": "$\\kappa$",
        "log": "xy",
        "xticks": (1, 1.5, 2, 3, 4, 6, 12, 27),
        "line": DEFAULT,
    },
    "eta": {"x": "step size $\\eta = \\epsilon / \\sigma_L^2$", "log": "y"},
}


def _ours(found: Measured, scale: Sequence[Scans], place: int, axis: str) -> Figure:
    """A panel for each network: against kappa at each n_sigma, or both samplers against eta."""
    chosen = found.rows.where(method="cas") if axis == "kappa" else found.rows.where(n_sigma=1)
    x = "kappa" if axis == "kappa" else "axis"
    label = ("$n_\\sigma$ = {n_sigma}" if axis == "kappa" else "{sampler}") + ", {outcome}"

    def style(row: Row) -> Mapping[str, Any]:
        return {"colour": _COLOURS[row["sampler"]] if row["n_sigma"] == 1 else COLOURS[1]}

    return curves(
        [
            Panel(
                title=f"{subject.preset}, features of {name}",
                curves=lines(chosen.where(model=subject.preset, extractor=name), x, label, style),
                y="Fréchet distance",
                bands={"real images": found.floors[subject.preset][name]},
                **_AXES[axis],
            )
            for subject in scale
            for name in [subject.extractors[place]]
        ]
    )


STUDY = Study("distance against step size", SCALES, measure, page, claims, "figure3.md")
