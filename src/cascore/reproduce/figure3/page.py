"""The page of Figure 3, from its records and the authors' curves."""

from __future__ import annotations

from functools import partial

from cascore.reproduce.claims import comparisons_table
from cascore.reproduce.comparisons import Verdict, estimated
from cascore.reproduce.figure3.authors import best_kappa, excess_at, load_curves
from cascore.reproduce.figure3.pictures import (
    authors_against_epsilon,
    authors_against_kappa,
    own_against_eta,
    own_against_kappa,
)
from cascore.reproduce.figure3.tables import (
    DEFAULT,
    Measured,
    authors_rows,
    authors_table,
    best_rows,
    measured_of,
    measurements_table,
)
from cascore.reproduce.figure3.values import best_of, claims
from cascore.reproduce.figure3.work import SCALES
from cascore.reproduce.floors import band_of
from cascore.reproduce.pages import Page, machine_of, markdown_table
from cascore.reproduce.spread import Estimate, Spread
from cascore.reproduce.units import Records

__all__ = ["page"]


def page(scale_name: str, records: Records) -> Page:
    """The authors' curves in epsilon and kappa, and the same on models of our own."""
    scale = SCALES[scale_name]
    measured = measured_of(scale_name, records)
    band = band_of(records["floor"]["result"])
    curves = load_curves()
    return Page(
        text=_text(scale_name, records, measured, band),
        pictures={
            "authors-epsilon": partial(authors_against_epsilon, curves),
            "authors-kappa": partial(authors_against_kappa, curves),
            "kappa": partial(own_against_kappa, scale.presets, measured, band),
            "eta": partial(own_against_eta, scale.presets, measured, band),
        },
        tables={
            "measurements": measurements_table(scale_name, records),
            "authors": authors_table(),
            "comparisons": comparisons_table(claims(scale_name, records)),
        },
    )


def _text(scale_name: str, records: Records, measured: Measured, band: Spread) -> str:
    scale = SCALES[scale_name]
    authors = authors_rows()
    cifar = [c for c in load_curves().values() if c.kappa is not None and c.data == "cifar10"]
    best = {o: [best_kappa(c, o) for c in cifar] for o in ("denoised", "raw")}
    cost = max(excess_at(c, "denoised", DEFAULT) for c in cifar)
    experiment = next(r for n, r in records.items() if n != "floor")["settings"]["experiment"]
    models = " and ".join(
        f"`{name}` ({steps:,} training steps)"
        for name, steps in zip(scale.presets, scale.steps, strict=True)
    )
    own = best_rows(measured)
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
the reference is fixed, and what another training would change is not in it. Two numbers tie unless
the 95 % interval of their difference leaves zero out, which is 1.96 times the root of the summed
squares of both ±. All step sizes share their noise, so their differences are better known than
that: more tie here than need to. Each pair is in [comparisons.csv](figure3/comparisons.csv).

## What held

- κ = 1.5 ties with the best step size in {ties} of {len(verdicts)} scans here; the table says what
  it costs in the others.
{_claims(scale.presets, measured)}

## What differs from the paper

- {_setting(scale_name)}
- Step sizes are few, and the best one is chosen on the same samples that are reported. Where it is
  the largest or the smallest tried, the minimum may lie beyond.
{_lengths(scale.steps)}
{machine_of(records.values())}
The seconds of a record include training where the model was not there yet.
"""


def _claims(presets: tuple[str, str], measured: Measured) -> str:
    """The paper's claims about denoising and about the two samplers, at n_sigma 1."""
    lines = []
    for preset in presets:
        best = best_of(preset, measured)
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


def _change(new: Estimate, old: Estimate) -> str:
    words: dict[Verdict, str] = {
        "held": "lowers the distance",
        "tie": "is a tie",
        "did not hold": "raises the distance",
    }
    return words[estimated("", new, old).verdict]


def _lengths(steps: tuple[int, int]) -> str:
    if steps[0] == steps[1]:
        return ""
    return (
        f"- The two networks were trained for {steps[0]:,} and {steps[1]:,} steps, so they do"
        " not show what a\n  discriminator does; each is compared with itself alone.\n"
    )


def _setting(scale_name: str) -> str:
    if scale_name == "paper":
        return "Data, networks, levels and features are the paper's; the seeds are ours."
    return (
        "8×8 digits and a U-Net of width 32 trained for minutes, not CIFAR-10 with NCSNv2 for days;"
        " features of a small digit classifier, not Inception. Distances do not compare with the"
        " paper's; the shape of the curves does."
    )
