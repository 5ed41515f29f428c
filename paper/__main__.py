"""`python -m paper NAME`: measure what is missing and write the page of a study; verify rows."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from cascore.errors import InputError
from cascore.experiment.build import select_device
from cascore.locks import one_writer
from paper.engine.claims import Claim, by_statement
from paper.engine.lab import Cost, Lab
from paper.engine.models import Models
from paper.engine.page import write_page, write_template
from paper.engine.store import Line, Store
from paper.engine.verify import replay, rows_of
from paper.studies import STUDIES

RESULTS = Path("docs/results")
"""Of the laptop scale, the committed one; the others have folders in runs/."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 2 where something could not be measured."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except InputError as error:
        _say(f"error: {error}")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m paper",
        description="Measure a figure or table of the paper anew: pictures, tables and a page. What"
        " measurements.jsonl.gz has is not measured again, so the same command goes on after an"
        " interruption, and redraws the results that come with the source.",
    )
    parser.add_argument(
        "name",
        choices=[*STUDIES, "all", "verify"],
        help="of a study; all writes claims.md; verify measures rows again",
    )
    parser.add_argument(
        "rows",
        nargs="*",
        help="of verify: their ids, or studies, whose rows are all measured again; none lists them",
    )
    parser.add_argument(
        "--scale",
        choices=["tiny", "laptop", "paper"],
        default="laptop",
        help="tiny: seconds, a trial of the program; laptop: what docs/results has, minutes to an"
        " hour each; paper: the paper's own, never run, so only its cost is told",
    )
    parser.add_argument("--cost", action="store_true", help="tell what is missing, measure nothing")
    parser.add_argument(
        "--out", type=Path, help=f"folder of pages (default: {RESULTS} or runs/paper/SCALE/results)"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/paper"), help="folder of trainings")
    parser.add_argument(
        "--models", type=Path, default=Path("paper/models"), help="models that spare a training"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU; the records have 1")
    return parser


def _run(options: argparse.Namespace) -> int:
    torch.set_num_threads(options.threads)
    runs = options.runs / options.scale
    out = options.out or (RESULTS if options.scale == "laptop" else runs / "results")
    path = out / "measurements.jsonl.gz"
    if options.name == "verify":
        return _verify(options, Store(path), runs)
    if options.rows:
        raise InputError(f"{' '.join(options.rows)}: rows are of `python -m paper verify`")
    names = list(STUDIES) if options.name == "all" else [options.name]
    if options.cost or options.scale == "paper":
        store = Store(path)
        for name in names:
            cost, study = Cost(), STUDIES[name]
            study.measure(Lab(store, cost=cost), study.scales[options.scale])
            _say(
                f"{name} at scale {options.scale}: {len(cost.calls):,} measurements to make,"
                f" {sum(cost.calls):,} network calls of one picture;"
                f" {len(cost.updates)} trainings with {sum(cost.updates.values()):,} updates"
            )
        return 0
    models = Models(runs, options.models, select_device(options.device), _say)
    with one_writer(path, "measuring"):
        return _measure(names, options.scale, Store(path), models, out)


def _measure(names: Sequence[str], scale: str, store: Store, models: Models, out: Path) -> int:
    """Measure what is missing of studies and write their pages; 2 where something was left."""
    claims, left = dict[str, list[Claim]](), dict[str, InputError]()
    try:
        for name in names:
            _say(f"{name} at scale {scale}: {STUDIES[name].title}")
            try:
                claims[name] = write_page(name, STUDIES[name], scale, Lab(store, models), out)
            except InputError as error:
                left[name] = error
    finally:
        store.sort()
    if len(names) > 1:
        write_template("claims.md", {"claims": by_statement(claims)}, out / "claims.md")
    for name, reason in left.items():
        _say(f"error: {name}: {reason}")
    return 2 if left else 0


def _verify(options: argparse.Namespace, store: Store, runs: Path) -> int:
    """List the rows, or measure some again; 1 where one is different."""
    if not options.rows:
        for row, line in rows_of(store).items():
            _print(f"{row}  {line['made']['seconds']:8.1f} s  {line['kind']} {_words(line)}")
        return 0
    models = Models(runs, options.models, select_device(options.device), _say)
    outcomes = []
    for again in replay(store, models, options.rows, STUDIES, options.scale):
        _print(f"{again.row}  {again.outcome}  {again.line['kind']} {_words(again.line)}")
        for change in again.changes:
            _print(f"          {change}")
        outcomes.append(again.outcome)
    different = outcomes.count("different")
    _print(f"{len(outcomes)} rows measured again: {different} different")
    return 1 if different else 0


def _words(line: Line) -> str:
    """The settings of a measurement in one line."""
    settings = {**line["settings"], **line["settings"].get("sampler", {})}
    settings.pop("sampler", None)
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _say(message: str) -> None:
    sys.stderr.write(f"{message}\n")


if __name__ == "__main__":
    sys.exit(main())
