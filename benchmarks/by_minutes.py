"""What pictures of one's own come to in how many minutes: runs beside each other.

    cascore train folder:photos --minutes 10 --out runs/photos-10
    cascore train folder:photos --minutes 30 --out runs/photos-30
    python -m benchmarks.by_minutes runs/photos-10 runs/photos-30 --out photos.png

For each run the minutes, the width, the pictures seen and columns of `benchmarks/forms.py`: errors
of H on held-out pictures by noise level, of its mean colour, the Fréchet distance at 12 calls. The
picture has the same seeds drawn by each run, from top to bottom, a row for each class it knows.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.forms import numbers
from cascore import load
from cascore.experiment import build
from cascore.pixels import save_png, sheet, to_uint8

SHOWN, CALLS = 16, 12


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
        held_out = build.load_data_splits(data)["test"]
        found = numbers(model, held_out, data, distances=(CALLS,))
        if not number:
            columns = ["run", "minutes", "width", "pictures seen", *found]
            print(f"| {' | '.join(columns)} |\n| --- |{' ---: |' * (len(columns) - 1)}")
        seen = model.step * model.experiment.train.batch_size
        cells = [
            run.name,
            f"{model.experiment.minutes or 0:g}",
            f"{model.experiment.network.width}",
            f"{seen:,}",
            *(f"{value:.3g}" for value in found.values()),
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
    save_png(sheet(torch.cat(rows), columns=SHOWN), given.out)
    print(f"the same seeds, rows for each run: {given.out}")


if __name__ == "__main__":
    main()
