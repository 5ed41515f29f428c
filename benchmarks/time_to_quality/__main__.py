"""How good the pictures are after how many seconds: ours of today and of 0.3, and diffusers'.

    python -m benchmarks.time_to_quality fashion-mnist --root FOLDER_OF_PREPARED_SETS --minutes 4
    python -m benchmarks.time_to_quality folder:photos --ways cascore "cascore 0.3" --seeds 0 1

Each way trains for so many minutes by the clock, on one thread, on batches of 32, in bfloat16 where
the processor computes in it, for each seed, and leaves the average of its weights after a quarter,
a half and all of the time. Samplers draw from each of these; the Fréchet distance to the training
images is without the bias of finitely many samples, in the features that `cascore evaluate` takes.
Of ours also the errors of H on held-out images at the end.

- cascore: a U-Net of 1.1 million weights around the best linear denoiser, log-normal levels, a rate
  that follows the clock; the default sampler. And the same in EDM's form.
- cascore, paper's form: the same at the paper's levels with H = x + sigma f(x, sigma); and blind.
- cascore 0.3: the paper's form, blind, at a constant rate.
- diffusers' loop: the same U-Net in the loop of their unconditional training example: 1,000 linear
  steps, epsilon, AdamW at 1e-4 with warm-up and cosine (here by the clock), clipping, EMAModel;
  DPM-Solver++ at 20 calls, DDPM at 50 and, of the first seed, at 1,000. Again at our
  rate and warm-up, which is five times shorter.
- diffusers: its own UNet2DModel of as many weights in that loop, without the 1,000 calls.

Rows go to OUT, a CSV file, and what it has is not measured again; tables of all that it has are
printed. `--draw PICTURE` draws it, `--sheet PICTURE` what the first seed of each way drew last.
Not evidence for a GPU, larger networks, longer trainings.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.held_out import PICTURES, held_out_errors
from benchmarks.time_to_quality.rows import (
    DISTANCE,
    ERROR,
    SHARES,
    Row,
    distances_table,
    draw_picture,
    errors_table,
    read,
    write,
)
from benchmarks.time_to_quality.ways import CPU, WAYS, Ours, Updates
from cascore.data import ImageSet
from cascore.evaluation.reference import Reference, load_reference
from cascore.experiment import build
from cascore.experiment.settings import Data
from cascore.metrics import extract_features, frechet_jackknife
from cascore.pixels import save_png, sheet, to_uint8
from cascore.stats import estimate

COUNT, FEW, BLOCKS, SHOWN = 500, 250, 10, 12


def kept(updates: Updates, seconds: float) -> list[tuple[float, int, nn.Module]]:
    """Seconds, updates and the average of the weights after each share of the time."""
    found, wanted, started = [], [share * seconds for share in SHARES], time.monotonic()
    for step, average in updates:
        spent = time.monotonic() - started
        if spent >= wanted[0]:
            found.append((spent, step, average()))
            wanted.pop(0)
        if not wanted:
            break
    return found


def distance_of(pixels: Tensor, reference: Reference) -> tuple[float, float]:
    """The distance to the training images without its bias, and its standard error."""
    features = extract_features(reference.extractor, pixels)
    values = frechet_jackknife(features, reference.moments["train"], blocks=BLOCKS)
    distance = estimate(values.tolist())
    return distance.mean, distance.error


def rows_of(
    way: str,
    seed: int,
    data: Data,
    splits: Mapping[str, ImageSet],
    reference: Reference,
    minutes: float,
) -> Iterator[tuple[Row, Tensor]]:
    """Train, then measure: rows, each with the pictures that it is of, none for errors of H."""
    torch.manual_seed(seed)
    seconds, none = 60 * minutes, torch.empty(0)
    training = WAYS[way].training(data, splits["train"], seed=seed, seconds=seconds)
    found = kept(training.updates, seconds)
    for place, (spent, updates, average) in enumerate(found, start=1):
        average.eval()
        weights = sum(weight.numel() for weight in average.parameters())
        of = (data.name, minutes, way, seed, round(spent, 1), updates, weights)
        last = place == len(found)
        for name, sampler in training.samplers.items():
            if not (sampler.when == "each" or (last and (sampler.when == "end" or seed == 0))):
                continue
            count = COUNT if sampler.when == "each" else FEW
            started = time.perf_counter()
            pixels = to_uint8(sampler.draw(average, range(count)))
            took = 64 * (time.perf_counter() - started) / count
            distance, error = distance_of(pixels, reference)
            yield Row(*of, DISTANCE, name, count, distance, error, took), pixels
        if last and isinstance(WAYS[way], Ours):
            for level, value in held_out_errors(average, splits["test"]).items():
                yield Row(*of, ERROR, level, PICTURES, value), none


def main() -> None:
    """Measure what is missing, and show all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", help="a set of pictures; without one: only show")
    parser.add_argument("--root", default=None, help="folder of prepared sets")
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--out", type=Path, default=Path("docs/images/time-to-quality.csv"))
    parser.add_argument("--draw", type=Path, help="the picture of all rows, a PNG file")
    parser.add_argument("--sheet", type=Path, help="a sheet of what is trained now, a PNG file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    shown: list[Tensor] = []
    if given.data is not None:
        data = Data(name=given.data, root=given.root)
        splits = build.load_data_splits(data)
        reference = load_reference(data, count=COUNT, device=CPU)
        for seed in given.seeds:
            for way in given.ways:
                key = (data.name, given.minutes, way, seed)
                if key in {(row.data, row.minutes, row.way, row.seed) for row in read(given.out)}:
                    continue
                new = list(rows_of(way, seed, data, splits, reference, given.minutes))
                write(given.out, [*read(given.out), *(row for row, _ in new)])
                drawn = [
                    pixels
                    for row, pixels in new
                    if row.kind == DISTANCE and row.share == len(SHARES) - 1
                ]
                shown += [drawn[0][:SHOWN]] if seed == given.seeds[0] else []
                print(f"{way}, seed {seed}: {new[-1][0].updates:,} updates", flush=True)
    rows = read(given.out)
    if given.sheet is not None and shown:
        save_png(sheet(torch.cat(shown), columns=SHOWN), given.sheet)
    if given.draw is not None:
        draw_picture(rows, given.draw)
    print(f"{distances_table(rows)}\n\n{errors_table(rows)}")


if __name__ == "__main__":
    main()
