"""`cascore evaluate`: a model's samples, or a folder of images, against real images."""

import shlex
from collections.abc import Iterator, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from cascore.cli import options
from cascore.cli.common import (
    chosen_sampler,
    display_of,
    given_options,
    result_table,
    table_console,
)
from cascore.errors import InputError
from cascore.experiment.settings import EvaluationSettings, Sampler
from cascore.locks import one_file
from cascore.measurement import (
    METRICS,
    Measurement,
    chain_words,
    read_measurements,
    write_measurements,
)
from cascore.model.pretrained import find_model, place_for, spoken_name
from cascore.plain import printable
from cascore.preprocessing import FolderOptions, folder_path, is_folder

if TYPE_CHECKING:
    from rich.table import Table

    from cascore.evaluation.evaluate import Evaluation
    from cascore.model.loading import Model


@dataclass(frozen=True, kw_only=True)
class Evaluate(EvaluationSettings):
    """Judge a model, or a folder of images from any program, against real images.

    Examples:
    cascore evaluate runs/digits --calls 12
    cascore evaluate pictures --data folder:photos --size 64
    cascore evaluate pictures --data statistics.npz --extractor inception
    """

    model: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="MODEL")]]
    """Folder of a run, a model folder, hf://user/name on the hub, the name of a model that comes
    with cascore, or a folder of images, as PATH or folder:PATH."""
    path: tyro.conf.Suppress[tyro.conf.Fixed[Path]] = Path()  # of what was named
    folder: options.Folders = field(default_factory=FolderOptions)
    metrics: tuple[options.Metric, ...] | None = None
    precision: options.Precisions = "float32"
    compiled: options.Compiled = False
    sampler: options.Samplers = field(default_factory=Sampler)
    like: options.Like = None
    out: Path | None = None
    """File for the records (default: in evaluations/ of the model, or evaluations/NAME; none for a
    folder of images)."""
    device: options.Device = "auto"

    def run(self, typed: str) -> int:
        """Judge a model's samples, or a folder of images; print a table and write the records."""
        from cascore.evaluation.evaluate import evaluate
        from cascore.experiment.build import select_device
        from cascore.model.advice import Advised
        from cascore.model.loading import is_model, load
        from cascore.model.wide import ShareDone, first_goes_on, parts_beside
        from cascore.training import PATIENCE, held_by_first, joined_processes

        path = folder_path(self.model) if is_folder(self.model) else find_model(self.model)
        sampler = chosen_sampler(self.sampler, self.like, path)
        device = select_device(self.device)
        with joined_processes(device, patience=PATIENCE) as (device, workers):
            display, model, advice = display_of(workers), None, Advised(sampler)
            if is_model(path):
                model = load(
                    path,
                    device=device,
                    checkpoint=self.checkpoint,
                    precision=self.precision,
                    notify=display.say,
                )
                advice = model.advised(sampler)
            elif path.is_dir():
                _require_of_images(path, given_options(shlex.split(typed)))
            if advice.notice is not None:
                display.say(advice.notice)
            settings = replace(self, path=path, sampler=advice.sampler)
            out = self.out or _default_path(settings, model)
            with suppress(ShareDone), ExitStack() as held:
                parts = None
                if out is None:  # and no place for what could be shared
                    first_goes_on(workers)
                else:
                    lock = _one_evaluation(out)
                    held.enter_context(held_by_first(lock, workers, what=out, device=device))
                    parts = held.enter_context(parts_beside(out))
                evaluation = evaluate(
                    settings,
                    device=device,
                    model=model,
                    display=display,
                    command=typed,
                    tuned=advice.choice,
                    parts=parts,
                    workers=workers,
                )
                if out is not None:
                    write_measurements(out, evaluation.measurements)
                _show(evaluation, settings)
                if out is not None:
                    display.say(f"records: {out}")
        return 0


def _require_of_images(path: Path, given: Set[str]) -> None:
    """Refuse what says how a model is to draw, beside a folder of images."""
    of_models = {
        *("checkpoint", "count", "seed", "batch_size"),
        *("precision", "compiled", "guidance", "like"),
    }
    if unused := sorted(given & (of_models | {x.name for x in fields(Sampler)})):
        named = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
        raise InputError(
            f"{named}: {path} is a folder of images, which are there and all judged; leave out what"
            " says how a model draws"
        )


@contextmanager
def _one_evaluation(out: Path) -> Iterator[None]:
    """Hold the lock of a file of records; what holds anything else is not replaced."""
    with one_file(out, "an evaluation"):
        if out.exists() and out.stat().st_size:
            try:
                read_measurements(out)
            except InputError as error:
                raise InputError(
                    f"{out} is there and holds no records, so it is not replaced: choose another"
                    f" file ({error})"
                ) from None
        yield


def _show(evaluation: "Evaluation", settings: EvaluationSettings) -> None:
    """Print the tables, and what a person should know beside them."""
    numbers = evaluation.measurements
    console = table_console()
    console.print(_title(settings, numbers[0]), style="bold")
    by_class = [number for number in numbers if "class" in number.settings]
    console.print(_table([number for number in numbers if "class" not in number.settings]))
    if by_class:
        console.print(_class_table(by_class))
    console.print(_explanation(numbers))
    for notice in evaluation.notices:
        console.print(notice)


def _title(settings: EvaluationSettings, first: Measurement) -> str:
    if first.model is None or first.sampler is None:
        return f"{settings.path}: {first.images.count} images"
    return (
        f"{spoken_name(settings.path)}, step {first.model.step}:"
        f" {chain_words(first.sampler.settings)}, {first.sampler.calls} calls,"
        f" {first.images.count} images"
    )


def _table(records: Sequence[Measurement]) -> "Table":
    """A row for each metric and reference, a column for raw and for denoised."""
    forms = list(dict.fromkeys(record.images.form for record in records))
    table = result_table()
    table.add_column("")
    for name in (*forms, "real images"):
        table.add_column(name, justify="right")
    rows: dict[str, dict[str, Measurement]] = {}
    for record in records:
        rows.setdefault(_row_name(record), {})[record.images.form] = record
    for name, by_form in rows.items():
        cells = [_cell(by_form[form]) if form in by_form else "" for form in forms]
        table.add_row(name, *cells, _floor(next(iter(by_form.values()))))
    return table


def _class_table(records: Sequence[Measurement]) -> "Table":
    """A row for each class, a column for each of its numbers, of the denoised pictures."""
    table = result_table()
    rows: dict[str, dict[str, Measurement]] = {}
    for record in records:
        if record.images.form == "denoised":
            rows.setdefault(record.settings["class"], {})[record.label] = record
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    table.add_column("denoised")
    for name in names:
        table.add_column(name, justify="right")
    for class_name, row in rows.items():
        cells = [_cell(row[name]) if name in row else "" for name in names]
        table.add_row(printable(class_name), *cells)
    return table


def _row_name(record: Measurement) -> str:
    unit = METRICS[record.metric].unit
    name = record.label + (f" × {unit}" if unit > 1 else "")
    if record.metric == "memorisation" or not record.references:
        return name
    reference = record.references[0]
    word = {"train": "training", "test": "held-out"}.get(reference.split or "", "reference")
    known = "" if reference.count is None else f"{reference.count:,} "
    return f"{name}, {known}{word}"


def _cell(record: Measurement) -> str:
    if record.value is None:
        return "infinite"
    scale = METRICS[record.metric].unit
    value = f"{scale * record.value:.{0 if record.metric == 'modes' else 3}f}"
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
    notes = []
    extractor = next((record.extractor for record in records if record.metric == "frechet"), None)
    if extractor is not None:
        notes.append(f"Features of {extractor.name} ({extractor.digest[:12]}).")
    if any(record.floor for record in records):
        notes.append(
            "Real images: what they score at these counts (~: extrapolated); = marks a distance"
            " that other real images score as well, not to be ranked."
        )
    if any(record.metric == "memorisation" for record in records):
        notes.append("Copying: distance to the nearest training image over that to held-out ones.")
    if any(x.provenance == "unknown" for record in records for x in record.references):
        notes.append(
            "Provenance unknown: the statistics do not say which images they are of, how many, or"
            " what made their features."
        )
    if any(record.metric.startswith("class-") for record in records):
        notes.append("Within classes: against as many real images of the class, the mean of all.")
    if (selection := records[0].selection) is not None:
        notes.append(
            f"The checkpoint is the best of {selection.candidates} by {selection.metric}, which is"
            " luck in part: compare it with the best of as many."
        )
    return " ".join(notes)


def _default_path(settings: EvaluationSettings, model: "Model | None") -> Path | None:
    """In evaluations/ of a model; none for a folder of images, which is not ours."""
    if model is None:
        return None
    from cascore.experiment.outputs import file_name

    chain = model.chain(settings.sampler)
    facts = {**asdict(chain), "guidance": settings.guidance}
    name = (
        f"{chain_words(facts)} {chain.calls} calls"
        f" seed {settings.seed} count {settings.count} step {model.step}{_asked(settings)}"
    )
    return place_for(settings.path, "evaluations") / f"{file_name(name)}.json"


def _asked(settings: EvaluationSettings) -> str:
    """What is asked of the pictures, where not the usual: else one answer replaces another."""
    usual = EvaluationSettings(path=settings.path)
    given, unset = (vars(x) | vars(x.folder) for x in (settings, usual))
    names = (
        *("data", "root", *vars(usual.folder)),
        *("extractor", "metrics", "as_published", "precision"),
    )
    return "".join(f" {name} {given[name]}" for name in names if given[name] != unset[name])
