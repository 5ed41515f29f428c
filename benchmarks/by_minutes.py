"""What pictures of one's own come to in how many minutes: runs beside each other.

    cascore train folder:photos --minutes 10 --out runs/photos-10
    cascore train folder:photos --minutes 30 --out runs/photos-30
    python -m benchmarks.by_minutes runs/photos-10 runs/photos-30 --out photos.png

For each run the minutes, the width, the pictures seen, the errors of H on held-out pictures by
noise level and of its mean colour, and the Fréchet distance of 2,000 samples at 12 calls. The
picture has the same seeds drawn by each run, from top to bottom, a row for each class it knows.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.held_out import held_out_errors
from cascore import load
from cascore.evaluation.evaluate import evaluate
from cascore.experiment import build
from cascore.experiment.settings import Data, EvaluationSettings, Sampler
from cascore.measurement import in_words
from cascore.model.loading import Model
from cascore.pixels import save_png, sheet, to_uint8

SHOWN, CALLS, SAMPLES = 16, 12, 2000


def distance_of(model: Model, data: Data) -> str:
    """The Fréchet distance of denoised samples to the training pictures, ± one standard error."""
    settings = EvaluationSettings(
        path=model.folder,
        root=data.root,
        metrics=("frechet",),
        count=SAMPLES,
        sampler=Sampler(calls=CALLS),
    )
    return next(
        in_words(number.value, number.error)
        for number in evaluate(settings, device=torch.device("cpu"), model=model).measurements
        if number.images.form == "denoised" and number.references[0].split == "train"
    )


def main() -> None:
    """Draw, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("by-minutes.png"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for number, run in enumerate(given.runs):
        model = load(run, device=torch.device("cpu"))
        data = model.experiment.data
        label = "all" if model.classes else None
        count = SHOWN * max(1, len(model.classes))
        rows.append(to_uint8(model.sample(range(count), label=label, calls=CALLS).denoised))
        errors = held_out_errors(model.denoiser, build.load_data_splits(data)["test"])
        if not number:
            columns = ["run", "minutes", "width", "pictures seen", *errors, f"{CALLS} calls"]
            print(f"| {' | '.join(columns)} |\n| --- |{' ---: |' * (len(columns) - 1)}")
        seen = model.step * model.experiment.train.batch_size
        cells = [
            run.name,
            f"{model.experiment.minutes or 0:g}",
            f"{model.experiment.network.width}",
            f"{seen:,}",
            *(f"{value:.3g}" for value in errors.values()),
            distance_of(model, data),
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
    save_png(sheet(torch.cat(rows), columns=SHOWN), given.out)
    print(f"the same seeds, rows for each run: {given.out}")


if __name__ == "__main__":
    main()
