"""The pages of Tables 1, 2 and 3, from their records."""

from __future__ import annotations

from functools import partial
from itertools import product

from cascore.experiment.presets import PRESETS
from cascore.experiment.settings import Experiment
from cascore.reproduce.claims import claims_table, comparisons_table
from cascore.reproduce.pages import Page, Table, machine_of, markdown_table
from cascore.reproduce.spread import Spread, spread_over
from cascore.reproduce.tables.pictures import dots, sheet
from cascore.reproduce.tables.scales import TABLES, TableScale
from cascore.reproduce.tables.values import (
    OBJECTIVES,
    OUTCOMES,
    Key,
    Values,
    best_key,
    claims_of,
    compared,
    floors_of,
    values_of,
)
from cascore.reproduce.tables.work import METHODS, SHEET, Cell, cells, trials
from cascore.reproduce.tuning import VALIDATION_SEED, Method, at_edge, knob_text
from cascore.reproduce.units import Records

__all__ = ["page"]

_PAPER = {
    "table1": "CIFAR-10 with NCSNv2",
    "table2": "LSUN-church 64×64 with NCSNv2",
    "table3": "CIFAR-10 with the U-Net",
}


_PAPER_SAYS = """\
The paper finds that denoising and n_σ = 5 lower every distance; that the discriminator does with
NCSNv2, but not for denoised samples of the U-Net; that CAS is better than ALS on CIFAR-10 at
n_σ = 1; and that CAS ends nearer to its denoised sample than ALS. Here:"""


def page(table: str, scale_name: str, records: Records) -> Page:
    """The table as the paper lays it out, its claims one by one, a chart and a sheet of samples."""
    scale = TABLES[table][scale_name]
    values, floors = values_of(scale, records), floors_of(records)
    return Page(
        text=_text(table, scale_name, records, values),
        pictures={
            "distances": partial(dots, scale, values, floors),
            "samples": partial(sheet, scale, records),
        },
        tables={
            "measurements": _measurements(scale, records),
            "comparisons": comparisons_table(claims_of(scale, values)),
            **({} if scale.grid is None else {"tunings": _tunings(scale, records)}),
        },
    )


def _text(table: str, scale_name: str, records: Records, values: Values) -> str:
    scale = TABLES[table][scale_name]
    experiment = PRESETS[scale.presets[0]]
    found = claims_of(scale, values)
    measured = scale.seeds * scale.trainings
    return f"""# Table {table[-1]}: sampling, n_σ, denoising and the objective

`cascore reproduce {table} --scale {scale_name}` wrote this page from the records in
[{table}/records-{scale_name}]({table}/records-{scale_name}). The paper's Table {table[-1]} is
{_PAPER[table]}; {_ours(scale_name, experiment)}.

Fréchet distance of {scale.count:,} samples to the training images, lower is better. Models:
`{scale.presets[0]}` and `{scale.presets[1]}`, {scale.steps:,} training steps in {scale.precision},
{_counted(scale.trainings, "training")} each; {experiment.schedule.levels} levels. {
        _spread_text(scale)
    }

{_distances(scale, values, floors_of(records))}

**Bold**: the lowest of its extractor; †: not told apart from it. Raw and denoised come from one
chain, with the same network calls.

![Distances]({table}/distances.png)

*Whiskers: two standard deviations of the {measured} measurements; grey: as many real images.
[SVG]({table}/distances.svg), [numbers]({table}/measurements.csv)*

![Samples]({table}/samples.png)

*The first {SHEET} denoised samples of seed 0: the same noise in every row, none picked.
[SVG]({table}/samples.svg)*

## Step sizes

{_tuning(table, scale, records)}

## What held

{_PAPER_SAYS}

{claims_table(found)}

{_rule(scale)} Each pair is in
[comparisons.csv]({table}/comparisons.csv).

## What differs from the paper

{_differences(scale_name, scale)}

{machine_of(records.values())}
The seconds of a record include training where the model was not there yet.
"""


def _ours(scale_name: str, experiment: Experiment) -> str:
    if scale_name == "paper":
        return "this one is that"
    network = {"unet": "a small U-Net", "ncsnv2": "a small NCSNv2"}[experiment.network.kind]
    return f"this one is `{experiment.data.name}` with {network}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _spread_text(scale: TableScale) -> str:
    seeds = ", ".join(str(seed) for seed in range(scale.seeds))
    of = f"the {scale.seeds} sampling seeds {seeds}"
    if scale.trainings > 1:
        of += f" on each of {scale.trainings} trainings, all together"
    return f"Mean ± standard deviation over {of}."


def _rule(scale: TableScale) -> str:
    """How the two sides of a claim are compared."""
    networks = (
        "the two objectives by the means of their trainings"
        if scale.trainings > 1
        else "the two objectives so too, on one\nnetwork each, and other trainings may rank them"
        " otherwise"
    )
    return f"""\
A pair ties unless the 95 % interval of its difference (Student) leaves zero out. Two ways of
sampling are compared on each network by itself, seed by seed; {networks}."""


def _distances(scale: TableScale, values: Values, floors: dict[str, Spread]) -> str:
    best = {e: best_key(values, extractor=e) for e in scale.extractors}

    def cell(key: Key) -> str:
        text, lowest = spread_over(values[key]).text(2), best[key.extractor]
        if key == lowest:
            return f"**{text}**"
        apart = compared("", values, lower=lowest, higher=key)
        return text if all(each.verdict == "held" for each in apart) else f"{text} †"

    columns = [f"`{e}`, {o}" for e, o in product(scale.extractors, OBJECTIVES)]
    rows = [
        (
            *(f"{method.upper()}", str(n), "yes" if outcome == "denoised" else "no"),
            *(
                cell(Key(e, o, method, n, outcome))
                for e, o in product(scale.extractors, OBJECTIVES)
            ),
        )
        for method, n, outcome in product(METHODS, scale.n_sigmas, OUTCOMES)
    ]
    real = [floors[e].text(2) for e in scale.extractors for _ in OBJECTIVES]
    return markdown_table(
        ("sampling", "n_σ", "denoised", *columns), [*rows, ("real images", "", "", *real)]
    )


def _tuning(table: str, scale: TableScale, records: Records) -> str:
    """The step size of each sampler on each model, and how it was chosen."""
    if scale.grid is None:
        return "The paper's tuned ε, the same for both objectives (`cascore presets` lists them)."
    rows = []
    for trial in trials(scale):
        for cell in cells(scale, trial):
            result = records[cell.unit(0)]["result"]
            rows.append(
                (
                    f"`{trial.preset}`, training {trial.training}",
                    f"{cell.method.upper()}, n_σ = {cell.n_sigma}",
                    knob_text(result["sampler"]),
                    _how(cell, records),
                    str(result["nfe"]),
                )
            )
    first = scale.extractors[0]
    edges = sum(bool(_edge_of(cell, records)) for t in trials(scale) for cell in cells(scale, t))
    return f"""{markdown_table(("model", "sampler", "step size", "how", "network calls"), rows)}

Chosen by the denoised distance in the features of `{first}`, of {scale.grid.count:,} samples of
sampling seed {VALIDATION_SEED:,}, which no number above has seen; all that were tried are in
[tunings.csv]({table}/tunings.csv). η_n = 1 − (1 − η_1)^(1/n) is the
η whose n steps add as much noise as one of η_1. {
        f"{edges} of the {len(rows)} stand{'s' * (edges == 1)} at the edge of what was tried: there"
        " the best may lie beyond."
        if edges
        else "No choice stands at the edge of what was tried."
    }"""


def _how(cell: Cell, records: Records) -> str:
    tuned = records[cell.trial.tuning(cell.method, cell.n_sigma)]["result"]
    if cell.method == "cas" and cell.n_sigma > 1:
        return "κ of n_σ = 1"
    if not tuned["tried"]:
        return "the noise of η at n_σ = 1"
    edge = _edge_of(cell, records)
    return f"best of {len(tuned['tried'])}" + (f", {edge}" if edge else "")


def _edge_of(cell: Cell, records: Records) -> str:
    tuned = records[cell.trial.tuning(cell.method, cell.n_sigma)]["result"]
    return "" if cell.method == "cas" and cell.n_sigma > 1 else at_edge(tuned)


def _differences(scale_name: str, scale: TableScale) -> str:
    if scale_name == "paper":
        return "- Data, networks, levels, step sizes and features are the paper's; seeds are ours."
    experiment = PRESETS[scale.presets[0]]
    schedule, batch = experiment.schedule, experiment.train.batch_size
    lines = (
        "Data, network, schedule, training and features are smaller, so distances do not compare"
        f" with the paper's: σ_1 = {schedule.first:g}, {schedule.levels} levels, {scale.steps:,}"
        f" steps of {batch} images.",
        "The paper counts 10,000 samples in the features of Inception. Here it is"
        f" {scale.count:,}, so every distance is biased upwards, that of real images as well.",
        "Step sizes are tuned for each model; the paper's ε serve both objectives. With"
        f" n_σ = {scale.n_sigmas[1]} consistent sampling keeps the κ of n_σ = 1, and Langevin"
        " sampling takes the η of equal noise; where no η is, it is tuned again.",
        "The paper gives one number for each cell, without a spread.",
    )
    return "\n".join(f"- {line}" for line in lines)


def _tunings(scale: TableScale, records: Records) -> Table:
    """Every step size that was tried, for a CSV file."""
    few, many = scale.n_sigmas
    searches: tuple[tuple[Method, int], ...] = (("cas", few), ("als", few), ("als", many))
    letters = {"cas": "kappa", "als": "eta"}
    rows = [
        (
            *(trial.preset, trial.training, method, n, letters[method], each["knob"]),
            *(each["raw"], each["denoised"], each["knob"] == result["chosen"]),
        )
        for trial, (method, n) in product(trials(scale), searches)
        for result in (records[trial.tuning(method, n)]["result"],)
        for each in result["tried"]
    ]
    columns = "model training method n_sigma knob value raw denoised chosen"
    return Table(columns.split(), rows)


def _measurements(scale: TableScale, records: Records) -> Table:
    """Every measurement, for a CSV file."""
    rows = [
        (
            *(trial.preset, trial.training, cell.method, cell.n_sigma),
            *(result["sampler"]["kappa"] or "", result["sampler"]["eta"] or ""),
            *(result["sampler"]["epsilon"] or "", result["nfe"], seed, outcome, extractor),
            *(result[outcome][extractor]["value"], result[outcome][extractor]["error"]),
        )
        for trial in trials(scale)
        for cell, seed in product(cells(scale, trial), range(scale.seeds))
        for result in (records[cell.unit(seed)]["result"],)
        for outcome, extractor in product(OUTCOMES, scale.extractors)
    ]
    columns = (
        "model training method n_sigma kappa eta epsilon nfe seed outcome extractor distance"
        " standard_error"
    )
    return Table(columns.split(), rows)
