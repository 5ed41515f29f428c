"""How good the pictures are after how many seconds: ours of today and of 0.3, and diffusers'.

    python -m benchmarks.time_to_quality fashion-mnist --root FOLDER_OF_PREPARED_SETS --minutes 6
    python -m benchmarks.time_to_quality cifar-10-jpeg --root FOLDER_OF_PREPARED_SETS --minutes 10

Each way trains for so many minutes by the clock, on one thread, in bfloat16, on batches of 32, for
each seed, and leaves the average of its weights after a tenth, a quarter, a half and all of the
time. Each sampler draws from each of these; the Fréchet distance to the training images is without
the bias of finitely many samples, in the features that `cascore evaluate` takes.

- cascore: EDM's form, log-normal levels, Adam whose rate follows the clock; the default sampler.
- cascore 0.3: the same U-Net in the paper's form, blind, at the paper's levels, a constant rate.
- diffusers' loop: the same U-Net in the loop of their unconditional training example: 1,000 linear
  steps, epsilon, AdamW at 1e-4 with warm-up and cosine (here by the clock), clipping, EMAModel.
  DDPM's 1,000 steps (few pictures, at the end of one seed), DDPM's 50, DPM-Solver++ at 20.
  Again at our learning rate.
- diffusers: its own UNet2DModel of as many weights in that loop.

Rows go to OUT, a CSV file, and what it has is not measured again; `--draw PICTURE` draws all that
it has, and the table is printed. Not evidence for a GPU, larger networks, longer trainings.
"""

import argparse
import copy
import csv
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.forms import NETWORK
from cascore.data import ImageSet
from cascore.evaluation.reference import Reference, load_reference
from cascore.experiment import build
from cascore.experiment.chain import generate
from cascore.experiment.choose import choose_levels
from cascore.experiment.presets import FOLDER
from cascore.experiment.settings import Data, Experiment, Sampler, Train
from cascore.metrics import extract_features, frechet_jackknife
from cascore.networks import ConditionalUNet
from cascore.pixels import to_uint8
from cascore.training import Pace, Workers

CPU = torch.device("cpu")
SHARES = (0.1, 0.25, 0.5, 1.0)
"""Of the time, after which the average of the weights is kept."""
COUNT, FEW, BATCH, ENDLESS = 1000, 250, 32, 10**7
FORMS = {"cascore": replace(NETWORK, conditional=True, preconditioned=True), "cascore 0.3": NETWORK}
THEIRS = {
    "diffusers": (True, 1e-4),
    "diffusers' loop": (False, 1e-4),
    "diffusers' loop at our rate": (False, FOLDER.train.learning_rate),
}
"""Whether the U-Net is theirs too, and the learning rate."""

Draw = Callable[[nn.Module, Sequence[int]], Tensor]
"""Pictures in [0, 1] of seeds, by an average of the weights."""
Updates = Iterator[tuple[int, Callable[[], nn.Module]]]
"""After each update its number, and what copies the average of the weights."""


@dataclass(frozen=True)
class Row:
    """A number: how far the pictures of a sampler are, after how long, and what they took."""

    data: str
    minutes: float
    way: str
    seed: int
    seconds: float
    updates: int
    weights: int
    sampler: str
    pictures: int
    distance: float
    error: float
    seconds_for_64: float


# --- ours ----------------------------------------------------------------------------------------


def our_updates(experiment: Experiment, images: ImageSet, seconds: float) -> Updates:
    """Our training loop; in EDM's form its rate follows the clock."""
    state = build.build_state(experiment, build.Subject.of(images), device=CPU)
    pace = Pace(seconds, steps=ENDLESS, warmup=experiment.train.warmup)
    rate = pace.rate if experiment.network.preconditioned else None
    how = {"device": CPU, "workers": Workers(), "rate": rate}
    for metrics in build.training_loop(experiment, state, images, **how):  # type: ignore[arg-type]
        yield metrics.step, partial(copy.deepcopy, state.average)


def our_experiment(form: str, data: Data, images: ImageSet, seed: int) -> Experiment:
    """Training as it is for folders today, or as the presets of 0.3 had it."""
    schedule, _ = choose_levels(images, progress=lambda count: None)
    old = Train(learning_rate=1e-3, batch_size=BATCH)
    train = replace(
        FOLDER.train if form == "cascore" else old,
        steps=ENDLESS,
        seed=seed,
        batch_size=BATCH,
        precision="bfloat16",
    )
    return Experiment(name=form, data=data, network=FORMS[form], schedule=schedule, train=train)


def our_draws(experiment: Experiment, shape: tuple[int, ...]) -> dict[str, Draw]:
    """The default sampler at two numbers of calls."""

    def draw(calls: int, denoiser: nn.Module, seeds: Sequence[int]) -> Tensor:
        how = {"shape": shape, "schedule": experiment.schedule, "device": CPU}
        sampler = Sampler(calls=calls)
        return generate(denoiser, seeds=seeds, sampler=sampler, **how).denoised  # type: ignore[arg-type]

    return {f"the default, {calls} calls": partial(draw, calls) for calls in (12, 50)}


# --- theirs --------------------------------------------------------------------------------------


class Told(nn.Module):
    """Our U-Net where theirs stands: it is told the step as log(sigma) / 4, as in EDM's form."""

    def __init__(self, shape: tuple[int, ...], alphas: Tensor) -> None:
        super().__init__()
        self.network = ConditionalUNet(
            channels=shape[0],
            width=NETWORK.width,
            multipliers=NETWORK.multipliers,
            blocks=NETWORK.blocks,
            attention=NETWORK.attention,
            unshuffle=NETWORK.unshuffle,
        )
        self.register_buffer("levels", ((1 - alphas) / alphas).log() / 8)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        """Epsilon."""
        level: Tensor = self.levels[step]  # type: ignore[index]
        return self.network(x, level.expand(len(x)))  # type: ignore[no-any-return]


class Epsilon(nn.Module):
    """Their U-Net; its widths are such that it has as many weights as ours."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        from diffusers import UNet2DModel

        super().__init__()
        self.network = UNet2DModel(
            sample_size=shape[1],
            in_channels=shape[0],
            out_channels=shape[0],
            layers_per_block=1,
            block_out_channels=(48, 96, 96),
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=16,
            attention_head_dim=8,
        )

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        """Epsilon."""
        return self.network(x, step).sample  # type: ignore[no-any-return]


def their_updates(
    network: nn.Module, images: ImageSet, seconds: float, *, seed: int, rate: float
) -> Updates:
    """The loop of diffusers' unconditional training example, its cosine by the clock."""
    from diffusers import DDPMScheduler
    from diffusers.training_utils import EMAModel

    scheduler, generator = DDPMScheduler(), torch.Generator().manual_seed(seed)
    average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, power=0.75)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=rate, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8
    )
    rows = torch.utils.data.DataLoader(
        images.images, batch_size=BATCH, shuffle=True, drop_last=True, generator=generator
    )
    started, step = time.monotonic(), 0

    def averaged() -> nn.Module:
        whole = copy.deepcopy(network)
        average.copy_to(whole.parameters())
        return whole

    while True:
        for batch in rows:
            share = min(1.0, (time.monotonic() - started) / seconds)
            for group in optimizer.param_groups:
                group["lr"] = rate * min(step / 500, 0.5 * (1 + math.cos(math.pi * share)))
            clean = batch.float() / 127.5 - 1
            noise = torch.randn(clean.shape, generator=generator)
            steps = torch.randint(0, 1000, (len(clean),), generator=generator)
            with torch.autocast("cpu", torch.bfloat16):
                output = network(scheduler.add_noise(clean, noise, steps), steps)
            nn.functional.mse_loss(output.float(), noise).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            average.step(network.parameters())
            step += 1
            yield step, averaged


def their_draws(shape: tuple[int, ...]) -> dict[str, Draw]:
    """Their schedulers."""
    from diffusers import DDPMScheduler, DPMSolverMultistepScheduler

    @torch.no_grad()
    def draw(kind: type, calls: int, network: nn.Module, seeds: Sequence[int]) -> Tensor:
        parts = []
        for first in range(0, len(seeds), 250):
            part = seeds[first : first + 250]
            scheduler, generator = kind(), torch.Generator().manual_seed(part[0])
            with warnings.catch_warnings():  # they hand tensors to NumPy, of which NumPy 2 warns
                warnings.filterwarnings("ignore", "__array_", DeprecationWarning)
                scheduler.set_timesteps(calls)
            x = torch.randn(len(part), *shape, generator=generator)
            for step in scheduler.timesteps:
                output = network(x, step.reshape(1))
                x = scheduler.step(output, step, x, generator=generator).prev_sample
            parts.append((x + 1) / 2)
        return torch.cat(parts)

    of = {"DDPM": (DDPMScheduler, (50, 1000)), "DPM-Solver++": (DPMSolverMultistepScheduler, (20,))}
    return {
        f"{name}, {calls} calls": partial(draw, kind, calls)
        for name, (kind, many) in of.items()
        for calls in many
    }


# --- measuring -----------------------------------------------------------------------------------


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


def measured(reference: Reference, draw: Draw, average: nn.Module, count: int) -> tuple[float, ...]:
    """The distance without its bias, its standard error, and the seconds of 64 pictures."""
    average.eval()
    started = time.perf_counter()
    pixels = to_uint8(draw(average, range(count)))
    seconds = 64 * (time.perf_counter() - started) / count
    features = extract_features(reference.extractor, pixels)
    values = frechet_jackknife(features, reference.moments["train"], blocks=10)
    return float(values.mean()), float(values.std() / math.sqrt(len(values))), seconds


def rows_of(way: str, seed: int, data: Data, images: ImageSet, minutes: float) -> Iterator[Row]:
    """Train and measure; DDPM's 1,000 steps at the end of the first seed alone."""
    torch.manual_seed(seed)
    shape, seconds = images.shape, 60 * minutes
    if way in FORMS:
        experiment = our_experiment(way, data, images, seed)
        updates, draws = our_updates(experiment, images, seconds), our_draws(experiment, shape)
    else:
        from diffusers import DDPMScheduler

        own, rate = THEIRS[way]
        network = Epsilon(shape) if own else Told(shape, DDPMScheduler().alphas_cumprod)
        updates = their_updates(network, images, seconds, seed=seed, rate=rate)
        draws = their_draws(shape)
    found = kept(updates, seconds)
    reference = load_reference(data, count=COUNT, device=CPU)
    for spent, updates, average in found:
        weights = sum(weight.numel() for weight in average.parameters())
        for name, draw in draws.items():
            long = "1000" in name
            if long and (seed or spent < seconds):
                continue
            count = FEW if long else COUNT
            numbers = measured(reference, draw, average, count)
            at = (round(spent, 1), updates, weights, name, count)
            yield Row(data.name, minutes, way, seed, *at, *numbers)


WAYS = (*FORMS, *THEIRS)


def read(path: Path) -> list[Row]:
    """The rows of a CSV file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        kinds = {field.name: field.type for field in fields(Row)}
        return [
            Row(**{name: kinds[name](text) for name, text in line.items()})  # type: ignore[operator]
            for line in csv.DictReader(file)
        ]


def write(path: Path, rows: Sequence[Row]) -> None:
    """All rows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        table.writeheader()
        table.writerows(map(asdict, rows))


def seconds_until(distance: float, points: Sequence[tuple[float, float]]) -> float:
    """When a course of (seconds, distance) is down to a distance, straight between in logarithms.

    Of the first point at most; infinite where it never is.
    """
    before = None
    for seconds, value in points:
        if value <= distance:
            if before is None:
                return seconds
            a, b = before
            part = math.log(b / distance) / math.log(b / value)
            return float(a * (seconds / a) ** part)
        before = seconds, value
    return math.inf


# --- what it comes to ----------------------------------------------------------------------------


def courses(rows: Sequence[Row]) -> dict[tuple[str, str, str], list[list[Row]]]:
    """By data, way and sampler: for each share of the time the rows of all seeds."""
    found: dict[tuple[str, str, str], dict[int, list[Row]]] = {}
    for row in rows:
        share = min(
            range(len(SHARES)), key=lambda i: abs(60 * row.minutes * SHARES[i] - row.seconds)
        )
        found.setdefault((row.data, row.way, row.sampler), {}).setdefault(share, []).append(row)
    return {key: [shares[i] for i in sorted(shares)] for key, shares in found.items()}


def table(rows: Sequence[Row]) -> str:
    """A line for each way and sampler: the end, and when it is as good as diffusers ends."""
    lines = [
        "| data | training | sampler | updates | distance at the end | seconds until diffusers' end"
        " | seconds for 64 pictures |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    of_all = courses(rows)
    means = {key: [point(of) for of in course] for key, course in of_all.items()}
    for key, course in of_all.items():
        data, way, sampler = key
        ends = [m[-1][1] for (d, w, _), m in means.items() if d == data and w == "diffusers"]
        until = seconds_until(min(ends), means[key]) if ends else math.nan
        end = course[-1]
        distances = [row.distance for row in end]
        error = statistics.stdev(distances) / math.sqrt(len(end)) if len(end) > 1 else end[0].error
        cells = [
            *(data, way, sampler),
            f"{statistics.fmean(row.updates for row in end):,.0f}",
            f"{statistics.fmean(distances):.2f} ± {error:.2f}",
            "never" if math.isinf(until) else f"{until:.0f}",
            f"{statistics.fmean(row.seconds_for_64 for row in end):.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def point(rows: Sequence[Row]) -> tuple[float, float]:
    """Mean seconds, and the mean distance of the seeds."""
    return (
        statistics.fmean(row.seconds for row in rows),
        statistics.fmean(row.distance for row in rows),
    )


_LOOKS: Mapping[str, tuple[str, str]] = {
    "cascore": ("#0072B2", "o"),
    "cascore 0.3": ("#56B4E9", "v"),
    "diffusers' loop": ("#E69F00", "s"),
    "diffusers' loop at our rate": ("#009E73", "D"),
    "diffusers": ("#D55E00", "^"),
}


def draw_picture(rows: Sequence[Row], path: Path) -> None:
    """Distance against seconds of training, a panel for each set: means, bars over all seeds."""
    from matplotlib.figure import Figure

    sets = list(dict.fromkeys(row.data for row in rows))
    figure = Figure(figsize=(4.8 * len(sets), 4.6), layout="constrained")
    panels = figure.subplots(1, len(sets), squeeze=False)[0]
    for panel, data in zip(panels, sets, strict=True):
        for (of, way, sampler), course in courses(rows).items():
            if of != data:
                continue
            ink, mark = _LOOKS[way]
            points = [point(at) for at in course]
            spread = [[row.distance for row in at] for at in course]
            bars = [
                [p[1] - min(s) for p, s in zip(points, spread, strict=True)],
                [max(s) - p[1] for p, s in zip(points, spread, strict=True)],
            ]
            first = any(name in sampler for name in ("12", "20"))
            panel.errorbar(
                *zip(*points, strict=True),
                yerr=bars,
                color=ink,
                marker=mark,
                linestyle="-" if first else "--",
                fillstyle="full" if first else "none",
                label=f"{way}: {sampler}",
            )
        panel.set(xscale="log", yscale="log", title=data, xlabel="seconds of training")
        panel.set_ylabel("Fréchet distance without its bias")
        panel.grid(visible=True, which="both", color="#d9d9d9", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measure what is missing, or draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", help="a set of pictures; without one: only draw")
    parser.add_argument("--root", default=None, help="folder of prepared sets")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--out", type=Path, default=Path("docs/images/time-to-quality.csv"))
    parser.add_argument("--draw", type=Path, help="the picture, for example time-to-quality.png")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = read(given.out)
    if given.data is not None:
        data = Data(name=given.data, root=given.root)
        images = build.load_data_splits(data)["train"]
        there = {(row.data, row.minutes, row.way, row.seed) for row in rows}
        for seed in given.seeds:
            for way in given.ways:
                if (data.name, given.minutes, way, seed) not in there:
                    new = list(rows_of(way, seed, data, images, given.minutes))
                    rows = [*read(given.out), *new]  # another process may have written since
                    write(given.out, rows)
                    print(way, seed, f"{new[-1].distance:.2f}", flush=True)
    if given.draw is not None:
        draw_picture(rows, given.draw)
    print(table(rows))


if __name__ == "__main__":
    main()
