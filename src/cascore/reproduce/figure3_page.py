"""The page of Figure 3, from its records and the authors' curves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import groupby

from cascore.reproduce.authors import best_kappa, excess_at, load_curves
from cascore.reproduce.figure3 import SCALES, Point, points
from cascore.reproduce.figure3_pictures import (
    authors_against_epsilon,
    authors_against_kappa,
    own_against_eta,
    own_against_kappa,
)
from cascore.reproduce.pages import Page, Spread, Table, machine_of, markdown_table
from cascore.reproduce.units import Records

__all__ = ["page"]

_OUTCOMES = ("raw", "denoised")
_DEFAULT = 1.5

Measured = Mapping[tuple[Point, str], Spread]
"""By step size and outcome: the mean of its measurements and the standard error of that mean."""


def page(scale_name: str, records: Records) -> Page:
    """The authors' curves in epsilon and kappa, and the same on models of our own."""
    scale = SCALES[scale_name]
    measured = {
        (point, outcome): _mean(
            [records[point.unit(seed)]["result"][outcome] for seed in range(scale.seeds)]
        )
        for point in points(scale)
        for outcome in _OUTCOMES
    }
    floor = records["floor"]["result"]
    band = Spread(floor["mean"], floor["spread"], floor["repeats"])
    curves = load_curves()
    return Page(
        text=_text(scale_name, records, measured, band),
        pictures={
            "authors-epsilon": partial(authors_against_epsilon, curves),
            "authors-kappa": partial(authors_against_kappa, curves),
            "kappa": partial(own_against_kappa, scale.presets, measured, band),
            "eta": partial(own_against_eta, scale.presets, measured, band),
        },
        tables={"measurements": _table(scale_name, records), "authors": _authors_table()},
    )


def _mean(results: list[Mapping[str, float]]) -> Spread:
    count = len(results)
    error = sum(each["error"] ** 2 for each in results) ** 0.5 / count
    return Spread(sum(each["value"] for each in results) / count, error, count)


def _table(scale_name: str, records: Records) -> Table:
    scale = SCALES[scale_name]
    rows = []
    for point in points(scale):
        for seed in range(scale.seeds):
            result = records[point.unit(seed)]["result"]
            for outcome in _OUTCOMES:
                found = result[outcome]
                rows.append(
                    (
                        *(point.preset, point.sampler.method, point.sampler.n_sigma),
                        *(point.sampler.kappa or "", point.sampler.eta or "", result["nfe"]),
                        *(seed, outcome, found["value"], found["error"]),
                    )
                )
    columns = "model method n_sigma kappa eta nfe seed outcome distance standard_error"
    return Table(columns.split(), rows)


def _authors_table() -> Table:
    rows = [
        (
            *(curve.name, epsilon, "" if curve.kappa is None else curve.kappa[i]),
            *(curve.raw[i], curve.denoised[i], curve.allowed[i]),
        )
        for curve in load_curves().values()
        for i, epsilon in enumerate(curve.epsilon)
    ]
    return Table(("curve", "epsilon", "kappa", "raw", "denoised", "allowed"), rows)


def _authors_rows() -> list[tuple[str, ...]]:
    rows = []
    for curve in load_curves().values():
        if curve.kappa is None:
            continue
        outside = [f"{e:g}" for e, inside in zip(curve.epsilon, curve.allowed, strict=True)
                   if not inside]  # fmt: skip
        name = f"{curve.data}, {curve.network}, n_σ = {curve.n_sigma}, {curve.thousands}k"
        mark = f" (ε = {', '.join(outside)} outside)" if outside else ""
        cells = [
            text
            for outcome in ("denoised", "raw")
            for text in (
                f"{best_kappa(curve, outcome):.2f}",
                f"{100 * excess_at(curve, outcome, _DEFAULT):.1f} %",
            )
        ]
        rows.append((name + mark, *cells))
    return rows


def _best_rows(measured: Measured) -> list[tuple[str, ...]]:
    """For each model, sampler and outcome: the best step size, and all that tie with it."""
    rows: list[tuple[str, ...]] = []

    def key(point: Point) -> tuple[str, str, int]:
        return (point.preset, point.sampler.method, point.sampler.n_sigma)

    scanned = sorted({point for point, _ in measured}, key=lambda each: (key(each), each.knob))
    for (preset, method, n_sigma), group in groupby(scanned, key=key):
        tried = list(group)
        for outcome in _OUTCOMES:
            best = min(tried, key=lambda each: measured[each, outcome].mean)
            top = measured[best, outcome]
            ties = [each.knob for each in tried if measured[each, outcome].ties(top)]
            knob = "κ" if method == "cas" else "η"
            rows.append(
                (
                    f"{preset}, {method.upper()}, n_σ = {n_sigma}, {outcome}",
                    f"{knob} = {best.knob:g}",
                    ", ".join(f"{each:g}" for each in ties),
                    top.text(2),
                    *_default_cells(tried, outcome, measured, top),
                )
            )
    return rows


def _default_cells(
    tried: list[Point], outcome: str, measured: Measured, top: Spread
) -> tuple[str, str]:
    default = next((p for p in tried if p.sampler.kappa == _DEFAULT), None)
    if default is None:
        return "", ""
    found = measured[default, outcome]
    return found.text(2), "tie" if found.ties(top) else f"{found.mean / top.mean - 1:+.0%}"


def _text(scale_name: str, records: Records, measured: Measured, band: Spread) -> str:
    scale = SCALES[scale_name]
    authors = _authors_rows()
    cifar = [c for c in load_curves().values() if c.kappa is not None and c.data == "cifar10"]
    best = {o: [best_kappa(c, o) for c in cifar] for o in ("denoised", "raw")}
    cost = max(excess_at(c, "denoised", _DEFAULT) for c in cifar)
    experiment = next(r for n, r in records.items() if n != "floor")["settings"]["experiment"]
    models = " and ".join(
        f"`{name}` ({steps:,} training steps)"
        for name, steps in zip(scale.presets, scale.steps, strict=True)
    )
    own = _best_rows(measured)
    verdicts = [row[-1] for row in own if row[-1]]
    ties = verdicts.count("tie")
    levels = experiment["schedule"]["levels"]
    return f"""# Figure 3: Fréchet distance against step size

`cascore reproduce figure3 --scale {scale_name}` wrote this page from the records in
[figure3/records-{scale_name}](figure3/records-{scale_name}) and from the authors' own measurements,
which come with the source of cascore (`src/cascore/reproduce/published/figure3`, MIT licence, (c)
2020 Alexia Jolicoeur-Martineau and Rémi Piché-Taillefer).

## The authors' curves

![The authors' Figure 3](figure3/authors-epsilon.png)

*Fréchet Inception distance of NCSNv2 on CIFAR-10, n_σ = 1, 5,000 samples: the curves of the paper's
Figure 3. [SVG](figure3/authors-epsilon.svg), [numbers](figure3/authors.csv)*

Every schedule has its own best ε. In κ, with η = 1 − γ^κ, the same measurements fall together:

![The authors' curves against kappa](figure3/authors-kappa.png)

*The six CIFAR-10 scans of consistent sampling, each relative to its own lowest distance; triangles
mark the minima, the dashed line κ = 1.5. [SVG](figure3/authors-kappa.svg)*

{
        markdown_table(
            ("authors' scan", "best κ, denoised", "cost of 1.5", "best κ, raw", "cost of 1.5"),
            authors,
        )
    }

- Denoised, the minima of the six CIFAR-10 scans lie from κ = {min(best["denoised"]):.2f} to
  {max(best["denoised"]):.2f}, whatever n_σ and network, and κ = 1.5 costs at most {
        100 * cost:.1f} %.
- Raw, they lie from {min(best["raw"]):.2f} to {max(best["raw"]):.2f}: a raw sample wants less noise
  in its last steps.
- A minimum is one of the measured step sizes; costs between them are interpolated. The authors give
  no errors, and a grid of step sizes on one set of noise is not independent measurements.
- One row, ε = 7e-7 of the U-Net with n_σ = 5, lies outside the interval in which consistent
  sampling has real noise (κ = 0.95). It is kept and marked, and not counted as a minimum.
- These networks were trained before the authors corrected the discriminator's input (their
  "bug fix"): the curves are of adversarial networks with the uncorrected objective.

## Models of our own

{models}; {levels} levels, one training each. Fréchet distance of {
        scale.count:,} samples to the training images in the features
of `{scale.extractor}`, {scale.seeds} sampling seeds; real images score {band.mean:.2f} ±
{band.deviation:.2f} at the same counts.

![Distance against kappa](figure3/kappa.png)

*Consistent sampling at all levels. Bars: two standard errors. [SVG](figure3/kappa.svg),
[numbers](figure3/measurements.csv)*

![Distance against eta](figure3/eta.png)

*Both samplers with n_σ = 1 against η = ε/σ_L², the paper's axis without units.
[SVG](figure3/eta.svg)*

{
        markdown_table(
            (
                "model and sampler",
                "best",
                "all that tie with it",
                "distance",
                "at κ = 1.5",
                "1.5 against best",
            ),
            own,
        )
    }

± is the standard error of the mean of {scale.seeds} seeds over other generated images (jackknife);
the reference is fixed, and what another training would change is not in it. Two step sizes tie
unless they differ by more than twice the root of the summed squares of both ±.

## What held

- κ = 1.5 ties with the best step size in {ties} of {len(verdicts)} scans here; the table says what
  it costs in the others.
{_claims(scale.presets, measured)}

## What differs from the paper

- {_setting(scale_name)}
- Step sizes are few, and the best one is chosen on the same samples that are reported.

{machine_of(records.values())} The seconds of a record include training where the model was not
there yet.
"""


def _claims(presets: tuple[str, str], measured: Measured) -> str:
    """The paper's claims about denoising and about the two samplers, at n_sigma 1."""
    lines = []
    for preset in presets:
        best = {
            (method, outcome): min(
                (
                    spread
                    for (point, kind), spread in measured.items()
                    if (point.preset, point.sampler.method, kind) == (preset, method, outcome)
                    and point.sampler.n_sigma == 1
                ),
                key=lambda each: each.mean,
            )
            for method in ("als", "cas")
            for outcome in _OUTCOMES
        }
        for method in ("als", "cas"):
            raw, denoised = best[method, "raw"], best[method, "denoised"]
            lines.append(
                f"- {preset}, {method.upper()}, n_σ = 1: denoising {_change(denoised, raw)}"
                f" ({raw.text(2)} raw, {denoised.text(2)} denoised, each at its best step size)."
            )
        cas, als = best["cas", "denoised"], best["als", "denoised"]
        lines.append(
            f"- {preset}, n_σ = 1, denoised: CAS {_change(cas, als)} against ALS"
            f" ({cas.text(2)} and {als.text(2)}) at as many network calls."
        )
    return "\n".join(lines)


def _change(new: Spread, old: Spread) -> str:
    if new.ties(old):
        return "is a tie"
    return "lowers the distance" if new.mean < old.mean else "raises the distance"


def _setting(scale_name: str) -> str:
    if scale_name == "paper":
        return "Data, networks, levels and features are the paper's; the seeds are ours."
    return (
        "8×8 digits and a U-Net of width 32 trained for minutes, not CIFAR-10 with NCSNv2 for days;"
        " features of a small digit classifier, not Inception. Distances do not compare with the"
        " paper's; the shape of the curves does."
    )
