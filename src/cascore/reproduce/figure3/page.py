"""The page of Figure 3, from its records and the authors' curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from cascore.reproduce.claims import claims_table, comparisons_table
from cascore.reproduce.figure3.authors import best_kappa, excess_at, load_curves
from cascore.reproduce.figure3.pictures import (
    authors_against_epsilon,
    authors_against_kappa,
    own_against_eta,
    own_against_kappa,
)
from cascore.reproduce.figure3.tables import (
    DEFAULT,
    authors_rows,
    authors_table,
    eta_rows,
    kappa_rows,
    kappa_scans,
    measurements_table,
)
from cascore.reproduce.figure3.values import OUTCOMES, Measured, claims, floors_of, measured_of
from cascore.reproduce.figure3.work import SCALES, Subject
from cascore.reproduce.pages import Page, machine_of, markdown_table
from cascore.reproduce.units import Records

__all__ = ["page"]


def page(scale_name: str, records: Records) -> Page:
    """The authors' curves in epsilon and kappa, and the same on models of our own."""
    subjects = SCALES[scale_name]
    measured = measured_of(scale_name, records)
    curves = load_curves()
    return Page(
        text=_text(scale_name, records, measured),
        pictures={
            "authors-epsilon": partial(authors_against_epsilon, curves),
            "authors-kappa": partial(authors_against_kappa, curves),
            **{
                f"{name}-{place + 1}": partial(draw, subjects, records, measured, extractor=place)
                for name, draw in (("kappa", own_against_kappa), ("eta", own_against_eta))
                for place in _places(subjects)
            },
        },
        tables={
            "measurements": measurements_table(scale_name, records),
            "authors": authors_table(),
            "comparisons": comparisons_table(claims(scale_name, records)),
        },
    )


def _places(subjects: Sequence[Subject]) -> range:
    """Of the extractors, as many for each network."""
    return range(len(subjects[0].extractors))


def _text(scale_name: str, records: Records, measured: Measured) -> str:
    subjects = SCALES[scale_name]
    authors = authors_rows()
    cifar = [c for c in load_curves().values() if c.kappa is not None and c.data == "cifar10"]
    best = {o: [best_kappa(c, o) for c in cifar] for o in ("denoised", "raw")}
    cost = max(excess_at(c, "denoised", DEFAULT) for c in cifar)
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

{
        markdown_table(
            ("network", "training steps", "levels", "pictures", "seeds", "real images"),
            [_subject_row(each, records) for each in subjects],
        )
    }

{_pictures("kappa", "Consistent sampling at all levels", subjects)}
{
        _pictures(
            "eta",
            "Both samplers with n_σ = 1 against η = ε/σ_L², the paper's axis without units",
            subjects,
        )
    }
Where the best κ lies. After the best, from the lowest to the highest that tie with it; a star marks
an end of the scan, beyond which the minimum may lie.

{
        markdown_table(
            (
                *("network", "n_σ", "features of", "best κ, denoised", "cost of 1.5"),
                *("best κ, raw", "cost of 1.5"),
            ),
            kappa_rows(subjects, measured),
        )
    }

{_default_lines(subjects, measured)}

Both samplers at as many network calls, each at its best step size:

{
        markdown_table(
            (
                *("network", "n_σ", "features of", "ALS, denoised", "CAS, denoised"),
                *("ALS, raw", "CAS, raw"),
            ),
            eta_rows(subjects, measured),
        )
    }

{claims_table(claims(scale_name, records))}

± is the standard error of the mean of the seeds over other generated images (jackknife); the
reference is fixed, and what another training would change is not in it. Two numbers tie unless the
95 % interval of their difference leaves zero out, which is 1.96 times the root of the summed
squares of both ±. All step sizes share their noise, so their differences are better known than
that: more tie here than need to. Each pair is in [comparisons.csv](figure3/comparisons.csv).

## What differs from the paper

- {_setting(scale_name)}
- Step sizes are few, and the best one is chosen on the same samples that are reported.

{machine_of(records.values())}
The seconds of a record include training where the model was not there yet.
"""


def _subject_row(subject: Subject, records: Records) -> tuple[str, ...]:
    floors = floors_of(subject, records)
    return (
        f"`{subject.preset}`",
        f"{subject.steps:,}",
        str(subject.experiment.schedule.levels),
        f"{subject.count:,}",
        str(subject.seeds),
        ", ".join(f"{floor.text(2)} (`{name}`)" for name, floor in floors.items()),
    )


def _pictures(name: str, caption: str, subjects: Sequence[Subject]) -> str:
    """A picture for each extractor, each under its caption."""
    return "\n".join(
        f"![{caption}](figure3/{name}-{place + 1}.png)\n\n"
        f"*{caption}. Dashed and hollow: raw; full: denoised. Bars: two standard errors; grey: real"
        f" images.\n[SVG](figure3/{name}-{place + 1}.svg),"
        " [numbers](figure3/measurements.csv)*\n"
        for place in _places(subjects)
    )


def _default_lines(subjects: Sequence[Subject], measured: Measured) -> str:
    """How often the authors' kappa ties with the best, and which one does so most often."""
    lines = []
    for outcome in reversed(OUTCOMES):
        scans = kappa_scans(subjects, measured, outcome)
        ties = Counter(knob for each in scans for knob in each.ties)
        costs = [each.cost for each in scans if DEFAULT not in each.ties]
        most = max(ties, key=lambda knob: ties[knob])
        lines.append(
            f"- {outcome.capitalize()}, κ = {DEFAULT} ties with the best in {ties[DEFAULT]} of"
            f" {len(scans)} scans"
            + (f" and costs up to {max(costs):.0%} in the others" if costs else "")
            + f"; κ = {most:g} ties in {ties[most]}, more than any other."
        )
    return "\n".join(lines)


def _setting(scale_name: str) -> str:
    if scale_name == "paper":
        return "Data, networks, levels and features are the paper's; the seeds are ours."
    return (
        "8×8 digits and 28×28 clothes, and small networks trained for minutes or hours, not"
        " CIFAR-10 for days; features of small classifiers and of a random network, not Inception."
        " Distances do not compare with the paper's; the shape of the curves does."
    )
