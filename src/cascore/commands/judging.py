"""`cascore evaluate`: a model's samples, or a folder of images, against real images."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cascore.evaluation.advice import ADVICE, advised
from cascore.evaluation.evaluate import evaluate as answer
from cascore.evaluation.question import Question
from cascore.experiment import build
from cascore.experiment.outputs import file_name
from cascore.measurement import METRICS, Measurement, write_measurements
from cascore.model.loading import is_model, load_model
from cascore.model.pretrained import place_for, spoken_name
from cascore.progress import Display

__all__ = ["evaluate"]

WIDTH = 100


def evaluate(question: Question, *, out: Path | None, device: str, command: str) -> int:
    """Judge a model's samples, or a folder of images; print a table and write the records."""
    display = Display()
    place = build.select_device(device)
    question = _advised(question, display)
    found = answer(question, device=place, counting=display.counting, command=command)
    console = Console(width=WIDTH, highlight=False, markup=False)
    console.print(_title(question, found.records), style="bold")
    console.print(_table(found.records))
    console.print(_explanation(found.records))
    for notice in found.notices:
        console.print(notice)
    out = out or _default_place(question, found.records)
    if out is not None:
        write_measurements(out, found.records)
        display.say(f"records: {out}")
    return 0


def _advised(question: Question, display: Display) -> Question:
    """The question with what was tuned for the model, where there is that."""
    if not is_model(question.path) or not (question.path / ADVICE).is_file():
        return question
    model = load_model(question.path, checkpoint=question.checkpoint)
    advice = advised(question.sampler, question.path, model)
    if advice.notice is not None:
        display.say(advice.notice)
    tuned = None if advice.choice is None else asdict(advice.choice)
    return replace(question, sampler=advice.sampler, tuned=tuned)


def _title(question: Question, records: Sequence[Measurement]) -> str:
    first = records[0]
    if first.model is None or first.sampler is None:
        return f"{question.path}: {first.images.count} images"
    return (
        f"{spoken_name(question.path)}, step {first.model.step}:"
        f" {build.label_of(question.sampler)}, {first.sampler.nfe} calls,"
        f" {first.images.count} images"
    )


def _table(records: Sequence[Measurement]) -> Table:
    """A row for each metric and reference, a column for raw and for denoised."""
    forms = list(dict.fromkeys(record.images.form for record in records))
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("")
    for form in forms:
        table.add_column(form, justify="right")
    table.add_column("real images", justify="right")
    rows: dict[str, dict[str, Measurement]] = {}
    for record in records:
        rows.setdefault(_row_name(record), {})[record.images.form] = record
    for name, by_form in rows.items():
        cells = [_cell(by_form[form]) if form in by_form else "" for form in forms]
        table.add_row(name, *cells, _floor(next(iter(by_form.values()))))
    return table


def _row_name(record: Measurement) -> str:
    unit = METRICS[record.metric].unit
    name = record.label + (f" × {unit}" if unit > 1 else "")
    if record.metric == "memorisation" or not record.references:
        return name
    split, reference = record.references[0].split, record.references[0]
    word = {"train": "training", "test": "held-out"}.get(split or "", "reference")
    known = "" if reference.count is None else f"{reference.count:,} "
    return f"{name}, {known}{word}"


def _cell(record: Measurement) -> str:
    if record.value is None:
        return "infinite"
    scale = METRICS[record.metric].unit
    value = f"{scale * record.value:.0f}" if record.metric == "modes" else ""
    value = value or f"{scale * record.value:.3f}"
    mark = "= " if record.at_floor else ""
    return mark + value + ("" if record.error is None else f" ± {scale * record.error:.3f}")


def _floor(record: Measurement) -> str:
    floor = record.floor
    if floor is not None:
        return f"{'~' if floor.extrapolated else ''}{floor.mean:.3f} ± {floor.spread:.3f}"
    if record.metric == "modes-kl":
        return f"{record.settings['perfect']:.3f}"
    return "1" if record.metric == "memorisation" else ""


def _explanation(records: Sequence[Measurement]) -> str:
    said = []
    extractor = next((each.extractor for each in records if each.metric == "frechet"), None)
    if extractor is not None:
        said.append(f"Features of {extractor.name} ({extractor.digest[:12]}).")
    if any(record.floor for record in records):
        said.append(
            "Real images: what they score at these counts (~: extrapolated); = marks a distance"
            " that cannot be told from theirs, not to be ranked."
        )
    if any(record.metric == "memorisation" for record in records):
        said.append("Copying: distance to the nearest training image over that to held-out ones.")
    if any(each.provenance == "unknown" for record in records for each in record.references):
        said.append(
            "Provenance unknown: the statistics do not say which images they are of, how many, or"
            " what made their features."
        )
    if (selection := records[0].selection) is not None:
        said.append(
            f"The checkpoint is the best of {selection.candidates} by {selection.metric}, which is"
            " luck in part: compare it with the best of as many."
        )
    return " ".join(said)


def _default_place(question: Question, records: Sequence[Measurement]) -> Path | None:
    """In evaluations/ of a model; none for a folder of images, which is not ours."""
    if not is_model(question.path):
        return None
    first = records[0]
    assert first.model is not None
    assert first.sampler is not None
    name = (
        f"{build.label_of(question.sampler)} {first.sampler.nfe} calls seed {question.first_seed}"
        f" count {question.count} step {first.model.step}"
    )
    file = f"{file_name(name)}.json"
    return place_for(question.path, "evaluations") / file
