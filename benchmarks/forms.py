"""Which form of the network learns pictures soonest: the paper's, one that sees sigma, or EDM's.

    python benchmarks/forms.py cifar-10-jpeg --root FOLDER_OF_PREPARED_SETS --minutes 10
    python benchmarks/forms.py folder:photos --minutes 10 --out runs/forms

Trains the same U-Net in each form and for each seed, so many minutes one after the other, by the
clock (a run that was stopped goes on), and prints for each form, mean over seeds and, with more
than one, half their range:

- the root mean square error of H per pixel, on held-out pictures at each noise level, the same
  noise for all; and that of the mean colour of H at the largest level;
- Fréchet distances of denoised samples at 12 and 50 calls of the default sampler, in the features
  that `cascore evaluate` takes for the set.

`sheets.png` has the same seeds drawn by each form, a row for each. Not evidence for other networks,
sizes or times.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from cascore.data import ImageSet
from cascore.evaluation.evaluate import evaluate
from cascore.experiment import build
from cascore.experiment.choose import LAST, choose_levels
from cascore.experiment.presets import FOLDER
from cascore.experiment.run import training_run
from cascore.experiment.settings import (
    ENDLESS,
    Data,
    EvaluationSettings,
    Experiment,
    Network,
    Sampler,
    Train,
)
from cascore.model.loading import Model, load
from cascore.noise import KeyedNoise, Purpose
from cascore.pixels import save_png, sheet, to_float, to_uint8
from cascore.progress import Display
from cascore.training.held_out import denoising_errors

NETWORK = Network(
    width=48, multipliers=(1, 2, 2), attention=(False, True, False), blocks=1, unshuffle=2
)
FORMS: Mapping[str, Network] = {
    "paper's, blind": NETWORK,
    "paper's, sees sigma": replace(NETWORK, conditional=True),
    "EDM's": replace(NETWORK, conditional=True, preconditioned=True),
}
SIGMAS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 20.0)
PICTURES, SAMPLES, SHOWN, SEED = 256, 2000, 12, 0


def experiment_of(
    data: Data, images: ImageSet, network: Network, seed: int, minutes: float
) -> Experiment:
    """The training of a form: its own law of noise levels, all else alike."""
    schedule, _ = choose_levels(images, progress=lambda count: None)
    law = "log-normal" if network.preconditioned else "levels"
    train: Train = replace(FOLDER.train, steps=ENDLESS, sigmas=law, seed=seed)
    return Experiment(
        name="form", data=data, network=network, schedule=schedule, train=train, minutes=minutes
    )


def trained(experiment: Experiment, folder: Path, splits: Mapping[str, ImageSet]) -> Model:
    """The model of a run, trained now, gone on with, or there already."""
    run = training_run(
        experiment,
        folder,
        device=torch.device("cpu"),
        data=splits["train"],
        held_out=splits.get("test"),
        notify=Display().say,
    )
    for _ in run:
        pass
    return load(folder, device=torch.device("cpu"))


def numbers(
    model: Model, held_out: ImageSet, data: Data, *, distances: Sequence[int] = (12, 50)
) -> dict[str, float]:
    """What the table says of a model, by its column; distances at so many calls."""
    images = held_out.images[torch.linspace(0, held_out.count - 1, PICTURES).long()]
    errors = denoising_errors(model.denoiser, images, SIGMAS, seed=SEED)
    found = {f"{sigma:g}": error for sigma, error in zip(SIGMAS, errors, strict=True)}
    clean, sigma = to_float(images), torch.tensor(SIGMAS[-1])
    noise = KeyedNoise(SEED, indices=range(len(images)))
    z = noise.normal(clean.shape, purpose=Purpose.HELD_OUT, step=len(SIGMAS))
    with torch.no_grad():
        off = model.denoiser(clean + sigma * z, sigma) - clean
    found[f"colour, {SIGMAS[-1]:g}"] = float(off.mean(dim=(2, 3)).square().mean().sqrt())
    for calls in distances:
        settings = EvaluationSettings(
            path=model.folder,
            root=data.root,
            metrics=("frechet",),
            count=SAMPLES,
            sampler=Sampler(calls=calls),
        )
        measured = evaluate(settings, device=torch.device("cpu"), model=model).measurements
        found[f"{calls} calls"] = next(
            number.value or 0.0
            for number in measured
            if number.images.form == "denoised" and number.references[0].split == "train"
        )
    return found


def cell(values: list[float]) -> str:
    """Mean over seeds, with half their range."""
    spread = f" ± {(max(values) - min(values)) / 2:.2g}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3g}{spread}"


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="a set of pictures, or folder:PATH")
    parser.add_argument("--root", default=None, help="folder of prepared sets")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/forms"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = Data(name=arguments.data, root=arguments.root)
    splits = build.load_data_splits(data)
    rows, sheets = {}, []
    for form, network in FORMS.items():
        found: list[dict[str, float]] = []
        for seed in range(arguments.seeds):
            experiment = experiment_of(data, splits["train"], network, seed, arguments.minutes)
            name = "".join(letter for letter in form if letter.isalnum())
            model = trained(experiment, arguments.out / f"{name}-{seed}", splits)
            found.append({"updates": model.step, **numbers(model, splits["test"], data)})
            if seed == 0:
                samples = model.sample(seeds=range(SHOWN), calls=12)
                sheets.append(to_uint8(samples.denoised))
        rows[form] = {name: [row[name] for row in found] for name in found[0]}
    columns = list(next(iter(rows.values())))
    what = f"{arguments.data}, {arguments.minutes:g} minutes each, {arguments.seeds} seeds"
    print(f"{what}, levels down to {LAST:g}")
    print(f"| form | {' | '.join(columns)} |")
    print(f"| --- |{' ---: |' * len(columns)}")
    for form, row in rows.items():
        print(f"| {form} | {' | '.join(cell(row[name]) for name in columns)} |")
    save_png(sheet(torch.cat(sheets), columns=SHOWN), arguments.out / "sheets.png")
    print(f"the same seeds, a row for each form: {arguments.out / 'sheets.png'}")


if __name__ == "__main__":
    main()
