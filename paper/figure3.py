"""Figure 3: Fréchet distance against step size, on the authors' models and on our own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from cascore.experiment.presets import PRESETS
from cascore.experiment.settings import Experiment
from cascore.schedule import eta_from_kappa, geometric_sigmas
from paper.authors import Curve, load_curves
from paper.engine.chain import als, cas
from paper.engine.charts import COLOURS, Panel, curves
from paper.engine.charts import Curve as Line
from paper.engine.claims import Claim, consistent_is_better, denoising_lowers
from paper.engine.compare import Number, estimated, mean_of
from paper.engine.lab import OUTCOMES, Lab
from paper.engine.models import Precision, training_of
from paper.engine.page import Page, Study
from paper.engine.rows import Rows, markdown_table, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEFAULT = 1.5  # kappa of the first order
_METHODS = ("als", "cas")
_BOTH = tuple(product(("denoised", "raw"), _METHODS))


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network, and the step sizes that are tried on it.

    Attributes:
        preset: what is trained, with seed 0.
        steps: of training.
        precision: of training.
        extractors: of the features, by name.
        count: pictures of each measurement.
        seeds: measurements of each step size, with other noise.
        kappas: by n_sigma, of consistent sampling at all training levels, stretched.
        etas: by n_sigma, of annealed Langevin sampling.
    """

    preset: str
    steps: int
    precision: Precision = "bfloat16"
    # A classifier's features hardly move by noise of deviation 0.01, the others do.
    extractors: tuple[str, ...] = ("digits", "random-convolution")
    count: int = 500
    seeds: int = 2
    kappas: Mapping[int, tuple[float, ...]]
    etas: Mapping[int, tuple[float, ...]]

    @property
    def experiment(self) -> Experiment:
        """What is trained."""
        return training_of(self.preset, steps=self.steps, precision=self.precision)

    @property
    def both(self) -> tuple[int, ...]:
        """At which n_sigma both samplers are scanned."""
        return tuple(n for n in self.kappas if n in self.etas)


_MANY = {
    1: (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 18.0, 27.0),
    5: (1.5, 3.0, 6.0, 12.0, 27.0),
}
_ETAS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
_PAPERS = (1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.75, 2.0, 2.5, 3.0, 4.0)
SCALES = {
    "tiny": tuple(
        Subject(
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
            Subject(
                preset=preset,
                steps=4000,
                kappas=_MANY,
                etas={1: _ETAS, 5: (0.1, 0.2, 0.4, 0.7)},
            )
            for preset in ("digits", "digits-adversarial")
        ),
        Subject(preset="digits-ncsnv2", steps=2000, kappas=_MANY, etas={1: _ETAS}),
        # Thirty times the cost of the digits: few step sizes, few pictures, and n_sigma 1 alone.
        Subject(
            preset="fashion-mnist",
            steps=16_000,
            extractors=("fashion-mnist", "random-convolution"),
            count=100,
            kappas={1: (1.5, 2.0, 3.0, 4.0, 6.0, 12.0)},
            etas={1: (0.2, 0.5, 0.8, 1.1, 1.4)},
        ),
    ),
    "paper": tuple(
        Subject(
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


class Scan(NamedTuple):
    """The step sizes of one sampler on one network, from the smallest on, with their distances."""

    numbers: Mapping[float, Number]

    @property
    def best(self) -> float:
        """The step size of the lowest distance."""
        return min(self.numbers, key=lambda knob: self.numbers[knob].mean)

    @property
    def top(self) -> Number:
        """The lowest distance."""
        return self.numbers[self.best]

    @property
    def name(self) -> str:
        """The best step size; with a star where the scan ends at it, and it is only a bound."""
        ends = (min(self.numbers), max(self.numbers))
        return f"{self.best:g}" + "*" * (len(self.numbers) > 1 and self.best in ends)

    @property
    def ties(self) -> list[float]:
        """All step sizes that cannot be told from the best, itself included."""
        return [knob for knob, number in self.numbers.items() if number.ties(self.top)]

    @property
    def cost(self) -> float:
        """By which part the distance at DEFAULT is higher than the lowest."""
        return self.numbers[DEFAULT].mean / self.top.mean - 1


@dataclass(frozen=True)
class Measured:
    """Distances by step size, and what real images score, by preset and extractor."""

    rows: Rows
    floors: Mapping[str, Mapping[str, Number]]

    def scan(self, preset: str, method: str, n: int, extractor: str, outcome: str) -> Scan:
        """One scan: means over the seeds with the errors of these means."""
        knob = "kappa" if method == "cas" else "eta"
        rows = self.rows.where(
            model=preset, method=method, n_sigma=n, extractor=extractor, outcome=outcome
        )
        return Scan({value: mean_of(of) for value, of in sorted(rows.by(knob).items())})


def measure(lab: Lab, scale: Sequence[Subject]) -> Measured:
    """A row for each network, step size, seed, extractor and outcome; the cheap chains first."""
    rows, floors = Rows(), {}
    for subject in scale:
        chains = [cas(k, n_sigma=n) for n, kappas in subject.kappas.items() for k in kappas]
        chains += [als(eta, n_sigma=n) for n, etas in subject.etas.items() for eta in etas]
        for chain in sorted(chains, key=lambda chain: chain.n_sigma):
            rows += lab.distances(
                subject.experiment,
                chain,
                seeds=range(subject.seeds),
                count=subject.count,
                extractors=subject.extractors,
            )
        floors[subject.preset] = lab.floors(
            subject.experiment.data.name, count=subject.count, extractors=subject.extractors
        )
    return Measured(rows, floors)


def claims(found: Measured, scale: Sequence[Subject]) -> list[Claim]:
    """The paper's claims of both samplers, each side at its best step size."""
    claims = []
    for extractor in found.rows.levels("extractor"):
        both = [(s.preset, n) for s in scale if extractor in s.extractors for n in s.both]

        def best(preset: str, method: str, n: int, outcome: str, name: str = extractor) -> Number:
            return found.scan(preset, method, n, name, outcome).top

        for method in _METHODS:
            pairs = [
                estimated(
                    f"{preset}, n_σ = {n}",
                    best(preset, method, n, "denoised"),
                    best(preset, method, n, "raw"),
                )
                for preset, n in both
            ]
            claims.append(Claim(denoising_lowers(method), f"`{extractor}`", pairs))
        for n, outcome in product(sorted({n for _, n in both}), OUTCOMES):
            pairs = [
                estimated(preset, best(preset, "cas", n, outcome), best(preset, "als", n, outcome))
                for preset, other in both
                if other == n
            ]
            claims.append(Claim(consistent_is_better(n, outcome), f"`{extractor}`", pairs))
    return claims


# --- the page ------------------------------------------------------------------------------------


def page(found: Measured, scale: Sequence[Subject]) -> Page:
    """The authors' curves in epsilon and kappa, and the same on models of our own."""
    published = load_curves()
    cifar = [c for c in published.values() if c.consistent and c.data == "cifar10"]
    names = [(s, n, e) for s in scale for n in s.kappas for e in s.extractors]
    scans = {
        outcome: [found.scan(s.preset, "cas", n, e, outcome) for s, n, e in names]
        for outcome in OUTCOMES
    }
    subject, columns = ("network", "n_σ", "features of"), ("best κ, denoised", "best κ, raw")
    places = range(len(scale[0].extractors))
    return Page(
        words={
            "authors": markdown_table(
                ("authors' scan", columns[0], "cost of 1.5", columns[1], "cost of 1.5"),
                [_published_row(c) for c in published.values() if c.consistent],
            ),
            "ends": {
                outcome: [f"{end([c.best(outcome) for c in cifar]):.2f}" for end in (min, max)]
                for outcome in OUTCOMES
            },
            "cost": f"{100 * max(c.excess('denoised', DEFAULT) for c in cifar):.1f}",
            "subjects": markdown_table(
                ("network", "training steps", "levels", "pictures", "seeds", "real images"),
                [_subject_row(s, found) for s in scale],
            ),
            "best": markdown_table(
                (*subject, columns[0], "cost of 1.5", columns[1], "cost of 1.5"),
                [
                    (f"`{s.preset}`", f"{n}", f"`{e}`", *_cells(denoised), *_cells(raw))
                    for (s, n, e), denoised, raw in zip(
                        names, scans["denoised"], scans["raw"], strict=True
                    )
                ],
            ),
            "default": "\n".join(_default_line(o, scans[o]) for o in ("denoised", "raw")),
            "both": markdown_table(
                (*subject, *(f"{method.upper()}, {outcome}" for outcome, method in _BOTH)),
                [
                    _both_row(s.preset, n, e, found)
                    for s in scale
                    for n in s.both
                    for e in s.extractors
                ],
            ),
        },
        pictures={
            "authors-epsilon": partial(_authors_epsilon, published),
            "authors-kappa": partial(_authors_kappa, cifar),
            **{f"kappa-{i + 1}": partial(_kappa, found, scale, i) for i in places},
            **{f"eta-{i + 1}": partial(_eta, found, scale, i) for i in places},
        },
        tables={
            "measurements": table(
                found.rows,
                "model method n_sigma kappa eta nfe seed extractor outcome distance standard_error",
            ),
            "authors": (
                ("curve", "epsilon", "kappa", "raw", "denoised", "allowed"),
                [
                    (
                        c.name,
                        c.epsilon[i],
                        c.kappa[i] if c.kappa else "",
                        c.raw[i],
                        c.denoised[i],
                        c.allowed[i],
                    )
                    for c in published.values()
                    for i in range(len(c.epsilon))
                ],
            ),
        },
    )


def _published_row(curve: Curve) -> tuple[str, ...]:
    outside = [
        f"{e:g}" for e, inside in zip(curve.epsilon, curve.allowed, strict=True) if not inside
    ]
    mark = f" (ε = {', '.join(outside)} outside)" if outside else ""
    cells = [
        (f"{curve.best(outcome):.2f}", f"{100 * curve.excess(outcome, DEFAULT):.1f} %")
        for outcome in ("denoised", "raw")
    ]
    name = f"{curve.data}, {curve.network}, n_σ = {curve.n_sigma}, {curve.thousands}k{mark}"
    return name, *cells[0], *cells[1]


def _subject_row(subject: Subject, found: Measured) -> tuple[str, ...]:
    floors = found.floors[subject.preset].items()
    return (
        *(f"`{subject.preset}`", f"{subject.steps:,}"),
        *(f"{subject.experiment.schedule.levels}", f"{subject.count:,}", f"{subject.seeds}"),
        ", ".join(f"{floor.text()} (`{name}`)" for name, floor in floors),
    )


def _cells(scan: Scan) -> tuple[str, str]:
    """The best kappa with the range of those that tie, and what 1.5 costs."""
    others = f"; {scan.ties[0]:g} to {scan.ties[-1]:g}" if len(scan.ties) > 1 else ""
    return f"{scan.name}{others}", "tie" if DEFAULT in scan.ties else f"+{scan.cost:.0%}"


def _default_line(outcome: str, scans: Sequence[Scan]) -> str:
    """How often the default ties with the best, and which kappa does so most often."""
    ties = Counter(knob for scan in scans for knob in scan.ties)
    costs = [scan.cost for scan in scans if DEFAULT not in scan.ties]
    most = max(ties, key=lambda knob: ties[knob])
    rest = f" and costs up to {max(costs):.0%} in the others" if costs else ""
    return (
        f"- {outcome.capitalize()}, κ = {DEFAULT} ties with the best in {ties[DEFAULT]} of"
        f" {len(scans)} scans{rest}; κ = {most:g} ties in {ties[most]}, more than any other."
    )


def _both_row(preset: str, n: int, extractor: str, found: Measured) -> tuple[str, ...]:
    scans = [(m, found.scan(preset, m, n, extractor, outcome)) for outcome, m in _BOTH]
    cells = (f"{scan.top.text()} ({'κ' if m == 'cas' else 'η'} = {scan.name})" for m, scan in scans)
    return f"`{preset}`", f"{n}", f"`{extractor}`", *cells


# --- pictures ------------------------------------------------------------------------------------

_COLOURS = {"als": COLOURS[1], "cas": COLOURS[0]}


def _authors_epsilon(published: Mapping[str, Curve]) -> Figure:
    """The paper's Figure 3, raw and denoised side by side."""
    pair = {
        "als": published["cifar10_ncsnv2__nc_adv_n1_5k"],
        "cas": published["cifar10_ncsnv2__c_adv_n1_5k"],
    }
    return curves(
        [
            Panel(
                title=outcome,
                curves=[
                    Line(c.epsilon, c.values(outcome), m.upper(), _COLOURS[m])
                    for m, c in pair.items()
                ],
                x="step size $\\epsilon$ (squared pixel units)",
                y="Fréchet Inception distance",
                xlog=True,
                ylog=True,
                xticks=(4e-6, 1e-5, 2e-5, 4e-5),
                yticks=(15, 20, 30, 50, 100),
                ylim=(12, 120),
            )
            for outcome in OUTCOMES
        ],
        legend=2,
        height=3.9,
    )


def _authors_kappa(cifar: Sequence[Curve]) -> Figure:
    """Each CIFAR-10 scan of consistent sampling relative to its lowest distance."""

    def lines(outcome: str) -> list[Line]:
        drawn = []
        for c, colour in zip(cifar, COLOURS, strict=False):
            rows = list(zip(c.kappa, c.values(outcome), c.allowed, strict=True))
            lowest = min(value for _, value, inside in rows if inside)
            points = [(k, 100 * (value / lowest - 1), inside) for k, value, inside in rows]
            network = {"ncsnv2": "NCSNv2", "unet": "U-Net"}[c.network]
            label = f"{network}, $n_\\sigma$ = {c.n_sigma}, {c.thousands}k samples"
            within, outside = (
                [(k, y) for k, y, inside in points if inside == side] for side in (True, False)
            )
            x, y = zip(*within, strict=True)
            drawn.append(Line(x, y, label, colour))
            if outside:
                x, y = zip(*outside, strict=True)
                drawn.append(Line(x, y, None, colour, marker="x", line=False, size=7))
            drawn.append(Line([c.best(outcome)], [-0.7], None, colour, marker="^", size=6))
        return drawn

    return curves(
        [
            Panel(
                title=outcome,
                curves=lines(outcome),
                x="$\\kappa$",
                y="distance above the scan's lowest (%)",
                xlim=(0.9, 3),
                ylim=(-1.5, 30),
                line=DEFAULT,
            )
            for outcome in OUTCOMES
        ],
        legend=3,
        height=4.2,
    )


def _lines(scans: Mapping[str, Scan], x: Sequence[float], label: str, colour: str) -> list[Line]:
    """The raw and the denoised line of a scan."""
    return [
        Line.of(x, list(scan.numbers.values()), f"{label}, {o}", colour, raw=o == "raw")
        for o, scan in scans.items()
    ]


def _panels(found: Measured, scale: Sequence[Subject], place: int, kind: str) -> list[Panel]:
    panels = []
    for subject in scale:
        name, drawn = subject.extractors[place], []
        chosen = [("cas", n) for n in subject.kappas] if kind == "kappa" else product(_METHODS, [1])
        for (method, n), colour in zip(chosen, COLOURS, strict=False):
            scans = {o: found.scan(subject.preset, method, n, name, o) for o in OUTCOMES}
            knobs = list(scans["raw"].numbers)
            if kind == "kappa":
                drawn += _lines(scans, knobs, f"$n_\\sigma$ = {n}", colour)
            else:
                x = _etas(subject.preset, knobs) if method == "cas" else knobs
                drawn += _lines(scans, x, method.upper(), _COLOURS[method])
        panels.append(
            Panel(
                title=f"{subject.preset}, features of {name}",
                curves=drawn,
                x="$\\kappa$" if kind == "kappa" else "step size $\\eta = \\epsilon / \\sigma_L^2$",
                y="Fréchet distance",
                band=found.floors[subject.preset][name],
                xlog=kind == "kappa",
                ylog=True,
                xticks=(1, 1.5, 2, 3, 4, 6, 12, 27) if kind == "kappa" else (),
                line=DEFAULT if kind == "kappa" else None,
            )
        )
    return panels


def _kappa(found: Measured, scale: Sequence[Subject], place: int) -> Figure:
    """A panel for each network, two lines for each n_sigma."""
    return curves(_panels(found, scale, place, "kappa"))


def _eta(found: Measured, scale: Sequence[Subject], place: int) -> Figure:
    """Both samplers at n_sigma 1 against the paper's step size in units of sigma_L squared."""
    return curves(_panels(found, scale, place, "eta"))


def _etas(preset: str, kappas: Sequence[float]) -> list[float]:
    schedule = PRESETS[preset].schedule
    sigmas = geometric_sigmas(schedule.first, schedule.last, schedule.levels)
    return [eta_from_kappa(kappa, float(sigmas[1] / sigmas[0])) for kappa in kappas]


STUDY = Study("distance against step size", SCALES, measure, page, claims, "figure3.md")
