"""The page of `beyond`, from its records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from cascore.experiment.presets import PRESETS
from cascore.reproduce.beyond.claims import (
    claims,
    default_claims,
    denoising_claims,
    levels_claims,
)
from cascore.reproduce.beyond.methods import BEST, KAPPAS, METHODS, SCALES, TWINS, Subject, name_of
from cascore.reproduce.beyond.pictures import (
    against_calls,
    against_kappa,
    all_models,
    raw_against_denoised,
)
from cascore.reproduce.beyond.schedulers import SCHEDULERS
from cascore.reproduce.beyond.tables import (
    budget_rows,
    default_sentences,
    fewest_rows,
    fewest_sentences,
)
from cascore.reproduce.beyond.values import (
    Measured,
    floors_of,
    measured_of,
    measurements_table,
    paper_best,
    scans,
)
from cascore.reproduce.beyond.work import TWIN_CALLS, TWINS_UNIT, Cell, cells
from cascore.reproduce.claims import claims_table, comparisons_table
from cascore.reproduce.floors import like_real
from cascore.reproduce.pages import Page, machine_of, markdown_table
from cascore.reproduce.sampler import label_of
from cascore.reproduce.spread import Spread
from cascore.reproduce.units import Records

__all__ = ["page"]

_BUDGETS = (5, 8, 10, 12, 15, 20, 30, 50, 100)
_GREY_LEVEL = 1 / 255
_KAPPAS = ", ".join(f"{kappa:g}" for kappa in KAPPAS)


def page(scale_name: str, records: Records) -> Page:
    """Distance against calls on every model, and who equals whom."""
    subjects = SCALES[scale_name]
    measured = measured_of(scale_name, records)
    floors = {each.preset: floors_of(each, records) for each in subjects}
    first = subjects[0]
    by_order = {
        order: scans(first, f"order-{order}-tuned", records)
        for order in (1, 2)
        if f"order-{order}-tuned" in first.plan
    }
    return Page(
        text=_text(scale_name, records, measured, floors),
        pictures={
            "calls": partial(against_calls, first, measured, floors),
            "models": partial(all_models, subjects, measured, floors),
            "raw": partial(raw_against_denoised, first, measured),
            "kappa": partial(against_kappa, first, by_order),
        },
        tables={
            "measurements": measurements_table(scale_name, records),
            "comparisons": comparisons_table(claims(scale_name, records)),
        },
    )


def _text(
    scale_name: str,
    records: Records,
    measured: Measured,
    floors: Mapping[str, Mapping[str, Spread]],
) -> str:
    subjects = SCALES[scale_name]
    first = subjects[0]
    budgets = [each for each in _BUDGETS if any(cell.planned == each for cell in cells(first))]
    return f"""# Beyond the paper: quality against network calls

`cascore reproduce beyond --scale {scale_name}` wrote this page from the records in
[beyond/records-{scale_name}](beyond/records-{scale_name}). The same trained networks, the same
starting noise, and the samplers that one would pick: the paper's two, our second order and its
kappas, and the schedulers of diffusers {records[TWINS_UNIT]["result"]["version"]}.

![Distance against calls](beyond/calls.png)

*Fréchet distance of denoised samples against network calls for one picture, `{first.preset}`,
features of `{first.extractors[0]}`. Bars and bands: two standard errors; the grey band is what real
images score, the star and the orange band the paper's best. Dashed lines add no noise; dotted ones
are tuned for each number of calls. Levels are geometric, the paper's, unless others are named; the
default's are centred. [SVG](beyond/calls.svg), [numbers](beyond/measurements.csv)*

## How few calls it takes

The paper's best is annealed Langevin sampling with n_σ = 5 at all training levels and denoised, its
η chosen on a validation seed. The fewest calls, of those measured, at which a method is lower than
it or cannot be told from it; in brackets how much higher its distance is there, ± half the 95 %
interval. "> 20": at none of those measured, of which 20 is the most; blank: not measured. Not to be
told apart is less than to be equal, and with more pictures more can be told apart.

{markdown_table(_fewest_columns(subjects), fewest_rows(subjects, measured))}

{_lines(fewest_sentences(subjects, measured))}

{claims_table(default_claims(subjects, measured))}

Each pair of this page is in [comparisons.csv](beyond/comparisons.csv).

## By number of calls

`{first.preset}`, features of `{first.extractors[0]}`, denoised. Bold: the lowest of a column, and
all that tie with it. Heun's method spends two calls a level and may use one call less.

{
        markdown_table(
            ("method", *(str(each) for each in budgets)), budget_rows(first, measured, budgets)
        )
    }

{_lines(_paper_sentence(each, records, measured, floors) for each in subjects)}

![All models](beyond/models.png)

*The methods that were measured on every model. [SVG](beyond/models.svg)*

{_lines(default_sentences(subjects, measured))}

{claims_table(levels_claims(subjects, measured))}

## By noise

`{first.preset}`, each κ of {_KAPPAS} on {first.validation} pictures of a validation seed.
`cascore reproduce never-tuning` asks what it costs to leave κ alone.

![Distance against kappa](beyond/kappa.png)

*The validation seed, denoised; order 1 at geometric levels, order 2 at the default's, which are
centred. Bars: two standard errors. [SVG](beyond/kappa.svg)*

## Raw and denoised

![Raw and denoised](beyond/raw.png)

*Raw is x after the last step, denoised H of the last call: both from the same chains. Above 1
denoising helps. Counted below as pairs, whose common noise drops out. [SVG](beyond/raw.svg)*

{claims_table(denoising_claims(subjects, records))}

## Which published sampler each setting equals

{TWIN_CALLS} calls on `{first.preset}`, the same start and, where there is noise, the same numbers:

{
        markdown_table(
            ("scheduler of diffusers", "our setting", "largest difference of a pixel"),
            _twin_rows(records),
        )
    }

{_twin_sentence(records)}
Those settings are measured once, by our own sampler. Heun, DEIS, DPM-Solver++(3M) and UniPC are
none of ours.

## How it was measured

{_lines(_subject_line(each) for each in subjects)}
- ± is the standard error of the mean over the sampling seeds (jackknife over generated images). The
  reference set is fixed and each network is trained once: what another training would change is
  not in it. Two numbers tie unless the 95 % interval of their difference leaves zero out, which is
  1.96 times the root of the summed squares of both ±. Raw and denoised samples are paired seed by
  seed; of {subjects[0].seeds} seeds that interval is wide (Student).
- The schedulers get geometric levels, one training timestep each, no clipping and no
  thresholding, and otherwise what diffusers sets. Variance-preserving ones hold x / √(1 + σ²). They
  end at σ = 0 by a first-order step, so their result is H of the last call: what we call denoised.
  DEIS stops at σ_L; its H is taken as well.
- The noise of our samplers is keyed by picture; all methods start from the same.
- azula's and smalldiffusion's samplers are not here: both libraries bring torchvision, which
  cascore does without. Those of theirs that add no noise are of the families above: Euler, Heun,
  and Adams-Bashforth on the noise (as DEIS) or on H (as DPM-Solver++(3M)).
- A method chosen on a validation seed is reported on other seeds. All others are fixed beforehand.
- {_setting(scale_name)}

{machine_of(records.values())}
The seconds of a record include training where the model was not there yet.
"""


def _lines(sentences: Iterable[str]) -> str:
    return "\n".join(sentences)


def _fewest_columns(subjects: Sequence[Subject]) -> tuple[str, ...]:
    """A column for each model and extractor."""
    return (
        "nothing tuned",
        *(f"{each.preset} ({name})" for each in subjects for name in each.extractors),
    )


def _paper_sentence(
    subject: Subject,
    records: Records,
    measured: Measured,
    floors: Mapping[str, Mapping[str, Spread]],
) -> str:
    extractor = subject.extractors[0]
    calls, best = paper_best(subject, measured, extractor)
    floor = floors[subject.preset][extractor]
    if like_real(best.mean, floor):
        reach = "where sets of real images score"
    else:
        reach = f"{best.mean / floor.mean:.1f} times what real images score"
    chosen = records[Cell(subject.preset, BEST, None).unit(0)]["result"]["choice"]
    tried = [name_of(choice) for choice in METHODS[BEST].choices]
    edges = {tried[0]: ", the smallest tried", tried[-1]: ", the largest tried"}
    return (
        f"- {subject.preset}: the paper's best is {best.text(2)} at {calls} calls (η ="
        f" {chosen.rpartition('-')[2]}{edges.get(chosen, '')}), {reach} ({floor.text(2)})."
    )


def _twin_rows(records: Records) -> list[tuple[str, ...]]:
    largest = records[TWINS_UNIT]["result"]["largest"]
    return [
        (SCHEDULERS[name].label, label_of(sampler), f"{largest[name]:.1e}")
        for name, sampler in TWINS.items()
    ]


def _twin_sentence(records: Records) -> str:
    largest = records[TWINS_UNIT]["result"]["largest"]
    apart = [SCHEDULERS[name].label for name in TWINS if largest[name] >= _GREY_LEVEL]
    if not apart:
        return "All of them agree to less than one grey level (1/255)."
    return (
        f"Further apart than one grey level (1/255): {', '.join(apart)}. A network can enlarge the"
        " rounding of its input; on a smooth exact denoiser all agree to 2e-5."
    )


def _subject_line(subject: Subject) -> str:
    schedule = PRESETS[subject.preset].schedule
    return (
        f"- `{subject.preset}`: {subject.steps:,} training steps, {schedule.levels} levels,"
        f" {subject.count:,} pictures on {subject.seeds} sampling seeds, {subject.validation} for"
        " each choice on the validation seed."
    )


def _setting(scale_name: str) -> str:
    if scale_name == "paper":
        return "Data, networks and levels are the paper's; the seeds are ours."
    return (
        "Small pictures and small networks: the order of methods need not be that of CIFAR-10 with"
        " networks trained for days."
    )
