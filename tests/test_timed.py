"""Training by the clock: when it ends, what it looks at, which weights it keeps, what it says."""

import http.client
import itertools
import json
import math
import shutil
import socket
import struct
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import HTTPServer

import numpy as np
import pytest
import torch
from example_records import RECORD
from PIL import Image
from running import CPU, run

from cascore.cli.train import parse_train
from cascore.cli.watch import _Handler
from cascore.data import ImageSet
from cascore.data.images import DataRecord
from cascore.denoiser import UnconditionalDenoiser
from cascore.errors import InputError
from cascore.experiment import run as run_module
from cascore.experiment.learned import LEARNED, judged, read_learned
from cascore.experiment.looks import (
    SIGMAS,
    Look,
    Looks,
    Yardstick,
    cut_looks,
    has_risen,
    read_looks,
)
from cascore.experiment.page import PAGE
from cascore.experiment.presets import FOLDER, PRESETS
from cascore.experiment.run import training_run
from cascore.experiment.run_folder import read_checkpoint, read_experiment, read_selection
from cascore.experiment.settings import ENDLESS
from cascore.experiment.timed import remarks_of_size
from cascore.model.convert import convert_run
from cascore.model.loading import load
from cascore.networks import UNet
from cascore.pixels import save_png
from cascore.plain import read_json, read_json_lines
from cascore.schedule import geometric_sigmas
from cascore.spectrum import Spectrum
from cascore.theory import EmpiricalDenoiser, linear_errors
from cascore.training import Pace, TrainState, train
from cascore.training.checkpoint import checkpoints
from cascore.training.held_out import denoising_errors


class Clock:
    """A clock that goes on by so many seconds whenever it is read."""

    def __init__(self, tick):
        self.time, self.tick = 0.0, tick

    def __call__(self):
        self.time += self.tick
        return self.time


def pictures(count, split="train", *, start=0):
    """Smooth 8×8 pictures of two classes: brighter above, or brighter below."""
    rng = np.random.default_rng(start)
    slope = np.linspace(-60, 60, 8)[:, None]
    labels = np.arange(count) % 2
    base = rng.integers(70, 180, size=(count, 3, 1, 1))
    pixels = base + np.where(labels == 0, 1, -1)[:, None, None, None] * slope
    return ImageSet(
        name="folder:pictures",
        split=split,
        images=torch.from_numpy(pixels.astype(np.uint8).repeat(8, axis=3)),
        labels=torch.from_numpy(labels),
        record=DataRecord(source="made here", split="none"),
        classes=("down", "up"),
    )


TRAIN, HELD_OUT = pictures(40), pictures(10, "test", start=1)
TINY = replace(
    FOLDER,
    data=replace(FOLDER.data, name="folder:pictures"),
    network=replace(FOLDER.network, width=8, unshuffle=1, labels=True),
    schedule=replace(FOLDER.schedule, first=5.0, levels=20),
    train=replace(FOLDER.train, batch_size=8, warmup=2, steps=10**9, save_every=1000),
    minutes=1.0,
)


def trained(folder, experiment, monkeypatch, *, tick=0.25, **settings):
    """What a run by a clock of ours reports, and what it says."""
    told, clock = [], Clock(tick)
    monkeypatch.setattr(run_module, "Pace", partial(Pace, now=clock))
    steps = training_run(
        experiment,
        folder,
        device=CPU,
        data=TRAIN,
        held_out=HELD_OUT,
        notify=told.append,
        **settings,
    )
    return list(steps), told


# --- the clock


def test_the_rate_rises_stays_and_falls_to_nothing_with_the_time():
    pace = Pace(100.0, steps=10**9, warmup=4, started=0.0, now=Clock(1.0))
    rates = [pace.rate(step) for step in range(100)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert set(rates[3:39]) == {1.0}
    assert np.allclose(np.diff(rates[40:]), -1 / 60)
    assert rates[-1] == pytest.approx(0, abs=1e-12)


def test_a_training_goes_on_from_its_last_rate_with_the_time_that_is_left():
    pace = Pace(100.0, steps=10**9, warmup=4, started=0.0, now=Clock(1.0))
    pace.go_on(seconds=50.0, rate=0.1)
    assert pace.rate(7) == pytest.approx(0.35)  # a quarter more, though 0.82 would be due
    assert pace.rate(8) == pytest.approx(0.6)
    assert pace.rate(9) == pytest.approx((100 - 53) / 60)
    assert pace.share(9) == pytest.approx(0.54)


def test_updates_end_it_too():
    pace = Pace(100.0, steps=10, started=0.0, now=Clock(0.0))
    assert [pace.share(step) for step in (0, 5, 10)] == [0, 0.5, 1]


def test_processes_tell_each_other_where_they_compute():
    """NCCL takes tensors of GPUs alone; the device that stands for one here computes nothing."""
    seen = []

    class Others:
        count = 2

        def mean(self, values):
            seen.append(values.device.type)
            return torch.tensor(0.25)

    pace = Pace(100.0, steps=10, workers=Others(), device=torch.device("meta"), now=Clock(1.0))
    assert pace.share(1) == 0.25
    assert seen == ["meta"]


@pytest.mark.parametrize("seconds", [0.02, 0.3, 2.0])
def test_processes_wait_for_each_other_once_a_second_and_end_in_time(seconds):
    """Updates of one length, but for a look of 10 seconds that the others wait for."""
    asked, clock = [], Clock(0.0)

    class Others:
        count = 2

        def mean(self, values):
            asked.append(clock.time)
            return values

    pace = Pace(100.0, steps=10**9, workers=Others(), started=0.0, now=clock)
    step, share, shares = 0, 0.0, []
    while share < 1:
        share = pace.share(step)
        assert pace.share(step) == share  # for whoever asks again
        shares.append((clock.time, share))
        step += 1
        clock.time += 10.0 if step == 25 else seconds
    behind = [time - 100 * share for time, share in shares]
    # A second by the speed that held before; the look is known at the next agreement.
    assert all(-1.01 <= late <= 1e-3 for late in behind[:25] + behind[45:-1])
    assert all(late <= 10 for late in behind)
    assert abs(shares[-1][0] - 100) <= max(1e-3, seconds)
    between = np.diff(sorted(set(asked)))
    assert np.median(between) == pytest.approx(max(seconds, min(20 * seconds, 1.0)), rel=0.2)


def test_processes_that_did_all_updates_need_not_agree_on_the_end():
    class Others:
        count = 2

        def mean(self, values):
            return torch.zeros(())

    pace = Pace(100.0, steps=10, workers=Others(), now=Clock(1.0))
    assert [pace.share(step) for step in (9, 10)] == [0, 1]


def test_it_ends_in_time_whatever_the_machine_does(tmp_path, monkeypatch):
    """From its tenth reading on, the clock is slowed down by another program."""
    clock = Clock(0.1)
    readings = itertools.count()

    def now():
        clock.tick = 0.1 if next(readings) < 10 else 1.0
        return clock()

    monkeypatch.setattr(run_module, "Pace", partial(Pace, now=now))
    steps = list(training_run(TINY, tmp_path / "run", device=CPU, data=TRAIN, held_out=HELD_OUT))
    looks = read_looks(tmp_path / "run")
    assert looks[-1].step == steps[-1].step
    # 60 seconds, then a last update and a last look, which read the clock a few times.
    assert 1.0 <= looks[-1].minutes < 1.0 + 6 / 60
    assert steps[-1].learning_rate < 0.3 * TINY.train.learning_rate


# --- a run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of a minute, its reports and what it said."""
    folder = tmp_path_factory.mktemp("runs") / "pictures"
    with pytest.MonkeyPatch.context() as patch:
        return folder, *trained(folder, TINY, patch)


def test_a_run_leaves_sheets_a_film_a_page_and_its_rates(whole):
    folder, reported, told = whole
    looks = read_looks(folder)
    assert looks[0].step == 0
    assert 5 < len(looks) <= 11
    for look in looks:
        with Image.open(folder / "samples" / look.sheet) as sheet:
            assert sheet.width == 8 * (8 * 4 + 2) + 2  # two rows of eight pictures, enlarged
            assert sheet.height == 2 * (8 * 4 + 2) + 2
    with Image.open(folder / "samples" / "film.webp") as film:
        assert film.n_frames <= len(looks)  # equal ones in a row are one
        assert film.n_frames > 1
    page = (folder / PAGE).read_text()
    assert f"samples/{looks[-1].sheet}" in page
    assert "http-equiv" not in page  # it is done
    assert "<polyline" in page
    logged = read_json_lines(folder / "metrics.jsonl")
    assert [line["step"] for line in logged] == [metrics.step for metrics in reported]
    assert logged[0]["learning_rate"] == TINY.train.learning_rate / 2
    assert logged[-1]["learning_rate"] < 0.1 * TINY.train.learning_rate
    assert read_experiment(folder).minutes == 1
    assert any("do not replay" in line for line in told) is False  # said with what was chosen
    assert read_learned(folder) is not None


def test_a_network_that_knows_its_levels_alone_is_looked_at_there(tmp_path, monkeypatch):
    seen = []

    class Seeing(torch.nn.Module):
        """Says of what levels it was asked to draw."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x, sigma, label=None):
            seen.append(float(torch.as_tensor(sigma).flatten()[0]))
            return 0 * x + self.weight

    experiment = replace(TINY, train=replace(TINY.train, sigmas="levels"))
    experiment = replace(experiment, network=replace(experiment.network, labels=False))
    looks = Looks(experiment, tmp_path, TRAIN, HELD_OUT)
    state = TrainState(Seeing())
    look = looks.take(state, minutes=1.0)
    levels = experiment.schedule
    trained_at = geometric_sigmas(levels.first, levels.last, levels.levels)
    for sigma in seen:
        assert min(abs(sigma / float(level) - 1) for level in trained_at) < 1e-5
    step = (levels.first / levels.last) ** (1 / (levels.levels - 1))
    for sigma, wanted in zip(look.sigmas, SIGMAS, strict=True):  # the nearest of them
        assert abs(math.log(sigma / wanted)) <= math.log(step) / 2


def test_the_weights_of_the_least_held_out_loss_are_kept(whole):
    folder = whole[0]
    looks = [look for look in read_looks(folder) if look.step]
    best = min(looks, key=lambda look: look.loss)
    chosen = read_selection(folder)
    assert (chosen.step, chosen.value) == (best.step, best.loss)
    assert chosen.candidates == len(looks)
    taken, _, selection = read_checkpoint(folder, "auto", lambda x: x, print)
    assert (taken.step, selection) == (best.step, chosen)


def test_the_same_command_does_nothing_and_more_minutes_go_on(whole, tmp_path, monkeypatch):
    import shutil

    folder, reported, _ = whole
    shutil.copytree(folder, tmp_path / "run")
    again, told = trained(tmp_path / "run", TINY, monkeypatch)
    assert again == []
    assert "--minutes 2" in told[-1]
    assert (tmp_path / "run" / LEARNED).is_file()
    longer, told = trained(tmp_path / "run", replace(TINY, minutes=2.0), monkeypatch)
    assert longer[0].step == reported[-1].step + 1
    last = reported[-1].learning_rate
    assert longer[0].learning_rate == pytest.approx(last + TINY.train.learning_rate / 2)
    assert any("do not replay" in line for line in told)
    looks = read_looks(tmp_path / "run")
    assert looks[-1].minutes == pytest.approx(2, abs=0.3)
    assert read_experiment(tmp_path / "run").minutes == 2
    with pytest.raises(InputError, match="minutes was 2"):
        trained(tmp_path / "run", replace(TINY, minutes=0.0), monkeypatch)


def test_a_run_that_is_killed_goes_on_and_is_judged(whole, tmp_path, monkeypatch):
    stopped, _ = trained(
        tmp_path / "run",
        TINY,
        monkeypatch,
        should_stop=itertools.chain([0] * 9, [1]).__next__,
        tick=0.5,
    )
    assert len(stopped) == 10
    assert not (tmp_path / "run" / LEARNED).exists()
    went_on, told = trained(tmp_path / "run", TINY, monkeypatch)
    assert went_on[0].step == 11
    assert went_on[0].learning_rate == stopped[-1].learning_rate  # constant; nothing to warm up
    assert any("goes on" in line or "resumed" in line for line in told)
    assert read_learned(tmp_path / "run") is not None
    (tmp_path / "run" / LEARNED).unlink()  # killed before the end
    assert trained(tmp_path / "run", TINY, monkeypatch)[0] == []
    assert read_learned(tmp_path / "run") is not None


def test_the_best_look_of_a_run_that_was_killed_before_it_was_kept(whole, tmp_path, monkeypatch):
    """The weights of the look are those of the newest checkpoint, from which the run goes on."""
    folder = tmp_path / "run"
    trained(folder, TINY, monkeypatch, should_stop=itertools.chain([0] * 99, [1]).__next__)
    newest = checkpoints(folder / "checkpoints")[-1]
    line = json.loads((folder / "looks.jsonl").read_text("utf-8").splitlines()[-1])
    with (folder / "looks.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line | {"step": newest.step, "loss": 1e-6}) + "\n")
    trained(folder, TINY, monkeypatch, should_stop=lambda: True)
    assert read_selection(folder).step == newest.step
    assert [x.step for x in checkpoints(folder / "best")] == [newest.step]


def test_a_run_that_goes_on_looks_again_when_a_mark_is_passed(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    trained(folder, TINY, monkeypatch, should_stop=itertools.chain([0] * 99, [1]).__next__)
    before = [look.step for look in read_looks(folder)]
    once = itertools.chain([0], [1]).__next__
    trained(folder, TINY, monkeypatch, should_stop=once, tick=1e-3)
    assert [look.step for look in read_looks(folder)] == before


def test_a_preset_takes_minutes_and_goes_on_without_being_told_again(tmp_path, capsys):
    """In place of its updates and of the rate that follows them, which a given number bounds."""
    preset = PRESETS["cifar-10-classes"]
    assert preset.train.decay_from > 0
    timed = parse_train(["cifar-10-classes", "--minutes", "5"]).experiment
    train = replace(preset.train, steps=ENDLESS, decay_from=0)
    assert timed == replace(preset, minutes=5.0, train=train)
    small = ("--network.width", "8", "--train.batch-size", "4", "--train.steps", "6")
    command = ("train", "digits", *small, "--out", str(tmp_path / "run"), "--threads", "1")
    assert run(*command, "--minutes", "5") == 0
    assert read_learned(tmp_path / "run") is not None
    assert read_experiment(tmp_path / "run").minutes == 5
    assert run(*command) == 0
    assert "--minutes 10" in capsys.readouterr().err  # which would go on
    again = parse_train(["digits", *small, "--out", str(tmp_path / "run")])
    assert again._by_clock(tmp_path / "run") == read_experiment(tmp_path / "run")


def test_a_preset_takes_no_minutes_that_are_none(tmp_path, capsys):
    assert run("train", "digits", "--minutes", "0", "--dry-run", "--out", tmp_path / "run") == 2
    assert "minutes must be above 0" in capsys.readouterr().err


# --- held-out loss


def look(minutes, loss, **other):
    values = {"train": (0.1,) * 6, "saturated": 0.0, "distance": 0.0, "sheet": ""} | other
    return Look(step=round(100 * minutes), minutes=minutes, loss=loss, sigmas=SIGMAS, **values)


@pytest.mark.parametrize(
    ("losses", "risen"),
    [
        ([9, 5, 4, 3, 2, 1], False),
        ([9, 5, 1, 2, 2, 2], True),
        ([9, 5, 1, 2, 2], False),  # two looks are no trend
        ([9, 5, 1, 1.01, 1.01, 1.01], False),  # within 2 %
        ([9, 5, 1, 2, 0.9, 2, 2], False),  # a lower one in between
        ([9, 5, 1, 1.01, 1.05, 1.2], False),  # it had not risen by 2 % at once
        ([9, 5, 1, 1.01, 1.05, 1.2, 1.5], True),
        ([9, 8, 7, 6, 1, 2, 2, 2], False),  # it took longer to come to the least
        ([None, None, None, None], False),
    ],
)
def test_loss_has_risen_when_it_has_for_long(losses, risen):
    assert has_risen([look(minutes, loss) for minutes, loss in enumerate(losses)]) is risen


def test_a_run_stops_when_held_out_loss_has_risen(tmp_path, monkeypatch):
    """Its loss is told to rise from the second look on."""
    losses = itertools.chain([9.0, 1.0], itertools.count(2))
    monkeypatch.setattr("cascore.experiment.looks.mean_loss", lambda *_: next(losses))
    reported, told = trained(tmp_path / "run", TINY, monkeypatch)
    looks = read_looks(tmp_path / "run")
    assert [look.loss for look in looks] == [9, 1, 2, 3, 4]
    assert looks[-1].minutes < 0.5
    assert "More pictures, not more time" in " ".join(told)
    assert read_selection(tmp_path / "run").step == looks[1].step < reported[-1].step
    best = load(tmp_path / "run", notify=print)
    assert best.step == looks[1].step
    save_png(TRAIN.images[0], tmp_path / "seen.png")
    restore = ("restore", tmp_path / "run", tmp_path / "seen.png", "--task", "colorize")
    few = ("--count", "1", "--calls", "2", "--device", "cpu")
    assert run(*restore, *few, "--out", tmp_path / "restored") == 0
    assert read_json(tmp_path / "restored" / "record.json")["checkpoint"] == best.digest
    again, told = trained(tmp_path / "run", TINY, monkeypatch)
    assert again == []
    assert "More pictures, not more time" in told[-1]


@pytest.mark.parametrize("held_out", [HELD_OUT, None])
def test_distances_on_the_way_choose_only_where_no_held_out_loss_does(
    held_out, tmp_path, monkeypatch
):
    """The loss is told to rise from the second look on, the distance to fall all the time."""
    losses = itertools.chain([9.0, 1.0], itertools.count(2))
    monkeypatch.setattr("cascore.experiment.looks.mean_loss", lambda *_: next(losses))
    monkeypatch.setattr(run_module, "Pace", partial(Pace, now=Clock(1.0)))

    def measure(step):
        return replace(RECORD, value=1000 / step, model=replace(RECORD.model, step=step))

    judged_often = replace(TINY, train=replace(TINY.train, evaluate_every=4, save_every=4))
    folder = tmp_path / "run"
    steps = list(
        training_run(
            judged_often, folder, device=CPU, data=TRAIN, held_out=held_out, measure=measure
        )
    )
    every = range(4, steps[-1].step + 1, 4)
    assert [x["model"]["step"] for x in read_json_lines(folder / "evaluations.jsonl")] == [*every]
    chosen = read_selection(folder)
    if held_out is None:
        assert (chosen.metric, chosen.step) == ("frechet", every[-1])
    else:
        assert (chosen.metric, chosen.step) == ("held-out loss", read_looks(folder)[1].step)
    assert [x.step for x in checkpoints(folder / "best")] == [chosen.step]


def test_small_sets_are_told_so():
    few, none_apart = remarks_of_size(TRAIN, None)
    assert "40 pictures are few" in few
    assert "kept apart" in none_apart
    assert remarks_of_size(pictures(1000), HELD_OUT) == []


# --- errors


def test_errors_are_those_of_the_denoiser_and_the_noise_is_the_same_each_time():
    class Keeps(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = torch.nn.Parameter(torch.ones(()))

        def forward(self, x, sigma):
            return self.factor * x

    errors = denoising_errors(Keeps(), TRAIN.images, SIGMAS, seed=0, batch_size=7)
    # H = x errs by the noise itself: its deviation, to a few errors of an estimate from so many.
    assert errors == pytest.approx(SIGMAS, rel=4 / (2 * TRAIN.images.numel()) ** 0.5)
    assert errors == denoising_errors(Keeps(), TRAIN.images, SIGMAS, seed=0, batch_size=40)
    assert errors != denoising_errors(Keeps(), TRAIN.images, SIGMAS, seed=1)


def test_no_linear_denoiser_errs_less_than_linear_errors_say():
    """The optimum for a Gaussian, by solving with its covariance, drawn from by numpy."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5)) * np.array([2, 1, 0.5, 0.2, 0.05])
    covariance, sigma = root @ root.T, 0.7
    x = rng.multivariate_normal(np.zeros(5), covariance, size=100_000)
    noisy = x + sigma * rng.normal(size=x.shape)
    wiener = np.linalg.solve(covariance + sigma**2 * np.eye(5), covariance)
    measured = np.sqrt(((noisy @ wiener - x) ** 2).mean())
    (error,) = linear_errors(torch.from_numpy(np.linalg.eigvalsh(covariance)), [sigma])
    assert error == pytest.approx(measured, rel=0.01)


# --- whether it learned


GOOD = {"saturated": 0.02, "distance": 0.1, "held_out": (0.01, 0.03, 0.04, 0.08, 0.12, 0.2)}
LINEAR = (0.010, 0.027, 0.058, 0.110, 0.165, 0.224)  # of cars and horses of CIFAR-10
YARDSTICK = Yardstick(floor=0.016, blank=4.7, saturated=0.026)


@pytest.mark.parametrize(
    ("seen", "sign"),
    [
        ({}, None),
        ({"saturated": 0.2}, "20%"),
        ({"distance": 2.4}, "blank picture"),
        # the held-out errors of the paper's form after nine minutes (issue of 0.3)
        ({"held_out": (0.0081, 0.051, 0.1, 0.185, 0.5, 2.0)}, "best linear denoiser"),
        ({"held_out": None, "train": (0.3,) * 6}, "best linear denoiser"),
        ({"held_out": LINEAR}, "best linear denoiser"),  # a network that was not trained
    ],
)
def test_each_sign_of_noise_is_told(seen, sign):
    facts = {"linear": LINEAR, "yardstick": YARDSTICK, "pictures": 5000, "shape": (3, 32, 32)}
    facts |= {"minutes": 9, "begun": False}
    found = judged(look(9.0, 1.0, **GOOD | seen), **facts)
    assert len(found.signs) == (sign is not None)
    assert (sign or "") in found.words
    assert bool(found.words) is bool(found.advice) is (sign is not None)


def test_advice_names_time_size_another_model_and_pictures():
    facts = {"linear": LINEAR, "yardstick": YARDSTICK, "pictures": 99, "minutes": 5}
    facts |= {"shape": (3, 64, 64), "begun": False}
    found = judged(look(5.0, 1.0, **GOOD | {"saturated": 0.9}), **facts)
    assert [x.split(",")[0] for x in found.advice] == [
        "more time",
        "smaller pictures",
        "a model to begin with",
        "more pictures than 99",
    ]
    assert "500 of 2,000 updates: --minutes 20," in found.words  # of which 5 minutes made 500
    for other in ({"begun": True}, {"shape": (1, 64, 64)}):
        static = look(5.0, 1.0, **GOOD | {"saturated": 0.9})
        assert "--from" not in judged(static, **facts | other).words


class Exact(torch.nn.Module):
    """The optimum for the training set as a network."""

    def __init__(self, images):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.optimum = EmpiricalDenoiser(images.images.float() / 255)

    def forward(self, x, sigma):
        return self.optimum(x, sigma)


def test_static_of_the_former_default_is_no_picture_and_the_optimum_is(tmp_path):
    """0.3 took a network that does not see sigma, in the paper's form, for some sixty updates."""
    experiment = replace(TINY, network=replace(TINY.network, labels=False))
    network = UNet(width=16, multipliers=(1, 2), blocks=1, attention=(False, True))
    former = TrainState(UnconditionalDenoiser(network))
    for _ in train(former, TRAIN, geometric_sigmas(5, 0.01, 20), steps=62, batch_size=16):
        pass
    looks = Looks(experiment, tmp_path, TRAIN, HELD_OUT)
    linear = linear_errors(Spectrum.of(TRAIN.images).variances(*TRAIN.shape[1:]), SIGMAS)
    facts = {"linear": linear, "yardstick": looks.yardstick(), "pictures": 40}
    facts |= {"shape": TRAIN.shape, "begun": False}
    static = judged(looks.take(former, minutes=1.0), minutes=1.0, **facts)
    assert len(static.signs) == 3, static
    best = looks.take(TrainState(Exact(TRAIN)), minutes=1.0)
    assert judged(replace(best, held_out=None), minutes=1.0, **facts).signs == ()


def test_what_was_found_is_repeated_wherever_the_model_is_loaded(whole, tmp_path):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(whole[0], folder)
    found = json.loads((folder / LEARNED).read_text())
    (folder / LEARNED).write_text(json.dumps(found | {"signs": ["it is static"], "advice": ["x"]}))
    convert_run(folder, tmp_path / "model", weights="ema")
    for path in (folder, tmp_path / "model"):
        told = []
        assert "it is static" in load(path, notify=told.append).warning
        assert "it is static" in told[-1]
    card = (tmp_path / "model" / "README.md").read_text()
    assert "it is static" in card
    assert "do not replay" in card


# --- watching


def test_watch_says_where_the_page_is(whole, tmp_path, capsys):
    assert run("watch", whole[0]) == 0
    assert capsys.readouterr().out.strip() == str((whole[0] / PAGE).resolve())
    assert run("watch", tmp_path) == 2
    assert "not a run" in capsys.readouterr().err


@contextmanager
def watched(folder):
    """The address of a server in front of a run's page, which answers one after the other."""
    with HTTPServer(("127.0.0.1", 0), partial(_Handler, folder=folder, page=PAGE)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address
        server.shutdown()


def http_status(address, path, **headers):
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.request("GET", path, headers=headers)
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def test_only_the_page_and_its_pictures_are_served_and_only_to_this_machine(whole):
    with watched(whole[0]) as address:
        status = partial(http_status, address)
        sheet = read_looks(whole[0])[0].sheet
        for path in ("/", f"/{PAGE}", f"/samples/{sheet}"):
            assert status(path) == 200
            assert status(path, Host="example.org") == 403
            assert status(path, Origin="http://example.org") == 403
        for path in (
            *("/experiment.json", "/checkpoints", "/samples/../data.json", "/../run.py"),
            *("/samples/./", "/samples", "/samples/", f"/{PAGE}/", f"/samples//{sheet}"),
        ):
            assert status(path) == 404


def test_who_leaves_or_sends_junk_to_the_page_is_not_told_of(whole, capsys):
    with watched(whole[0]) as address:
        for path in ("/", "/samples/\0"):
            with socket.create_connection(address) as client:
                head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{address[1]}\r\n\r\n"
                client.sendall(head.encode())
                reset = struct.pack("ii", 1, 0)  # closed at once, with the answer unread
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        assert http_status(address, "/") == 200  # and those before have been answered
    assert capsys.readouterr().err == ""


def test_damage_to_a_look_costs_no_other_one_and_is_told_of(whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    log, told = tmp_path / "run" / "looks.jsonl", []
    before, lines = read_looks(tmp_path / "run"), log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([b"\xff" + lines[0][1:], *lines[1:]]))
    cut_looks(tmp_path / "run", before[-1].step, notify=told.append)
    assert read_looks(tmp_path / "run") == before[1:]
    assert any("looks.jsonl: a line cannot be read" in line for line in told)
    assert log.with_name("looks.jsonl.aside").is_file()
