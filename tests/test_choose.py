"""A folder of one's own: what is chosen for it, why, and that what is given stands."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from running import CPU, run
from scipy.spatial.distance import pdist

from cascore.data.contents import read_folder
from cascore.errors import InputError
from cascore.experiment import build
from cascore.experiment.build import Subject, build_denoiser
from cascore.experiment.choose import (
    ENOUGH_STEPS,
    FolderSurvey,
    choose_levels,
    choose_network,
    choose_size,
    fitting_options,
    fitting_size,
    survey_folder,
)
from cascore.experiment.cost import Measured, measured_step, step_cost
from cascore.experiment.presets import FOLDER, PRESETS
from cascore.experiment.run_folder import read_experiment
from cascore.experiment.settings import Data
from cascore.pixels import save_png, to_float
from cascore.preprocessing import FolderOptions
from cascore.schedule import level_count
from cascore.spectrum import Spectrum

COLOUR_32 = FolderSurvey(images=100, smallest=32, usual=32, one_size=(32, 32), grey=0)


def draw(folder, sizes, *, channels=3, start=0):
    """Random images; by the hash of their names some are held out."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, (height, width) in enumerate(sizes, start=start):
        pixels = np.random.default_rng(i).integers(256, size=(channels, height, width))
        save_png(torch.from_numpy(pixels.astype(np.uint8)), folder / f"{i}.png")


def test_a_survey_reads_headers(tmp_path):
    draw(tmp_path, [(9, 20), (30, 12)])
    draw(tmp_path, [(10, 10)], channels=1, start=2)
    found = survey_folder(read_folder(tmp_path))
    assert found == FolderSurvey(images=3, smallest=9, usual=9, one_size=None, grey=1)
    assert found.mixed
    assert found.grey < found.images
    assert fitting_options(found, FolderOptions()) == FolderOptions(size=12, mode="rgb")
    given = FolderOptions(size=4, mode="grey", skip_broken=True)
    assert fitting_options(found, given) == given
    draw(tmp_path / "one", [(16, 16)] * 2, channels=1)
    one = survey_folder(read_folder(tmp_path / "one"))
    assert (one.one_size, one.grey == one.images, one.mixed) == ((16, 16), True, False)
    assert fitting_options(one, FolderOptions()) == FolderOptions()


@pytest.mark.parametrize(
    ("one_size", "usual", "largest", "size"),
    [
        ((32, 32), 32, 64, 32),
        ((28, 28), 28, 64, 28),
        ((30, 30), 30, 64, 32),
        ((32, 40), 32, 64, 32),
        ((256, 256), 256, 64, 64),
        ((256, 256), 256, 128, 128),
        ((100, 100), 100, 128, 104),
        (None, 45, 64, 48),
        (None, 63, 64, 64),
    ],
)
def test_pictures_keep_their_size_up_to_the_largest(one_size, usual, largest, size):
    survey = FolderSurvey(images=9, smallest=8, usual=usual, one_size=one_size, grey=0)
    assert fitting_size(survey, largest=largest) == size
    assert size >= min(usual, largest)


def test_one_small_picture_of_twenty_does_not_make_all_small(tmp_path):
    draw(tmp_path, [(8, 8)] + [(32, 32)] * 19)
    survey = survey_folder(read_folder(tmp_path))
    assert (survey.smallest, survey.usual, fitting_size(survey)) == (8, 32, 32)
    draw(tmp_path, [(8, 8)], start=100)
    assert fitting_size(survey_folder(read_folder(tmp_path))) == 8


def machine(speed, *, once=0.0, gain=None):
    """The time of an update where so many operations a second are done, or more with a `gain`."""

    def measure(experiment):
        size = SIZES[id(experiment.data)]
        seconds = step_cost(experiment, (3, size, size)).seconds(speed)
        settings = experiment.train
        for name, factor in (gain or {}).items():
            seconds /= factor if getattr(settings, name) not in (False, "float32") else 1
        return Measured(settings.batch_size, seconds, once if settings.compiled else 0.0)

    return measure


SIZES = {}


def chosen_for(size, *, minutes, speed, gpu=False, low=False, **machine_settings):
    """What is chosen for square pictures of a size, and why."""
    SIZES[id(FOLDER.data)] = size
    how = {"minutes": minutes, "measure": machine(speed, **machine_settings)}
    return choose_network(FOLDER, (3, size, size), gpu=gpu, low=low, **how)


def test_more_time_or_speed_gives_a_wider_network_and_updates_enough():
    seen = []
    for speed in np.geomspace(1e10, 1e14, 30):
        experiment, _ = chosen_for(32, minutes=10, speed=speed)
        width, batch = experiment.network.width, experiment.train.batch_size
        seen.append((width, batch))
        fitting = 600 / step_cost(experiment, (3, 32, 32)).seconds(speed)
        assert fitting >= ENOUGH_STEPS or (width, batch) == (32, 16)
        assert experiment.data == FOLDER.data  # never fewer pixels
    assert seen == sorted(seen)
    assert len(set(seen)) > 5
    assert (seen[0], seen[-1]) == ((32, 16), (128, 128))


def test_what_does_not_fit_is_said():
    _, reason = chosen_for(32, minutes=0.1, speed=1e9)
    assert "rough" in reason
    _, reason = chosen_for(32, minutes=100, speed=1e12)
    assert "rough" not in reason


def test_a_network_that_was_measured_too_slow_gives_way_to_a_narrower_one():
    """Small tensors compute slower than large ones, so what is left is measured again."""
    tried = []

    def measure(experiment):
        tried.append((experiment.network.width, experiment.train.batch_size))
        return Measured(experiment.train.batch_size, experiment.network.width / 128, 0.0)

    experiment, _ = choose_network(FOLDER, (3, 32, 32), minutes=20, measure=measure)
    assert tried[0] == (128, 128)
    assert len(tried) <= 4
    assert experiment.network.width < 128


def small_gpu(speed, *, rows):
    """A GPU whose memory holds so many rows of width 32, and that nothing can be compiled for."""
    computed = machine(speed, gain={"precision": 2, "compiled": 4})

    def measure(experiment):
        if experiment.train.compiled:
            raise RuntimeError("Failed to find C compiler")  # what torch.compile raises is one
        if experiment.network.width * experiment.train.batch_size > 32 * rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return computed(experiment)

    return measure


def test_a_gpu_of_little_memory_without_a_compiler_gets_what_it_can_compute():
    SIZES[id(FOLDER.data)] = 32
    choose = partial(choose_network, FOLDER, (3, 32, 32), minutes=30, gpu=True)
    experiment, reason = choose(measure=small_gpu(1e13, rows=130))
    assert (experiment.network.width, experiment.train.batch_size) == (64, 64)
    assert (experiment.train.precision, experiment.train.compiled) == ("bfloat16", False)
    assert "more memory than there is" in reason
    _, reason = choose(measure=small_gpu(1e13, rows=1e6))
    assert "memory" not in reason
    with pytest.raises(torch.OutOfMemoryError):
        choose(measure=small_gpu(1e13, rows=1))


@pytest.mark.parametrize(
    ("minutes", "gain", "expected"),
    [
        (30, {"precision": 2, "compiled": 1.5}, ("bfloat16", True, True)),
        (1, {"precision": 2, "compiled": 1.5}, ("bfloat16", True, False)),
        (30, {"precision": 0.5, "compiled": 0.9}, ("float32", False, False)),
        (30, {"precision": 2, "compiled": 0.9}, ("bfloat16", True, False)),
    ],
)
def test_a_gpu_computes_as_most_updates_fit(minutes, gain, expected):
    """Compilation takes a minute here, which a short training does not earn back."""
    experiment, reason = chosen_for(64, minutes=minutes, speed=1e13, gpu=True, once=60, gain=gain)
    settings = experiment.train
    assert (settings.precision, settings.channels_last, settings.compiled) == expected
    assert ("bfloat16" in reason, "compiled" in reason) == (expected[0] == "bfloat16", expected[2])


@pytest.mark.parametrize(
    ("low", "gain", "expected"),
    [
        (True, {"precision": 2}, ("bfloat16", False)),
        (True, {"precision": 0.1, "channels_last": 1.2}, ("float32", True)),
        (False, {"precision": 2, "channels_last": 0.8}, ("float32", False)),  # it is not tried
    ],
)
def test_a_processor_computes_in_bfloat16_where_it_can_and_that_is_faster(low, gain, expected):
    experiment, _ = chosen_for(32, minutes=10, speed=1e11, low=low, gain=gain)
    assert (experiment.train.precision, experiment.train.channels_last) == expected
    assert not experiment.train.compiled


def test_what_bfloat16_gains_makes_a_wider_network_and_not_more_updates():
    slow, fast = (chosen_for(32, minutes=30, speed=speed)[0] for speed in (1e11, 4e11))
    low, reason = chosen_for(32, minutes=30, speed=1e11, low=True, gain={"precision": 4})
    assert slow.network.width < fast.network.width
    assert (low.network, low.train.batch_size) == (fast.network, fast.train.batch_size)
    assert "4,500" in reason


@pytest.mark.parametrize(
    ("grey", "mode", "chosen"), [(0, "auto", "auto"), (5, "auto", "rgb"), (5, "grey", "grey")]
)
def test_mixed_colours_become_rgb_unless_asked(grey, mode, chosen):
    survey = COLOUR_32._replace(grey=grey)
    assert choose_size(Data(name="x", mode=mode), survey, largest=64)[0].mode == chosen


@pytest.fixture
def photos(tmp_path):
    draw(tmp_path / "photos", [(16, 16)] * 30)
    return tmp_path / "photos"


TINY = ("--network.width", "4", "--train.batch-size", "4", "--device", "cpu", "--threads", "1")


def test_levels_are_techniques_1_and_2(photos):
    from cascore.data import load_images

    images = load_images(f"folder:{photos}", "train")
    schedule, reason = choose_levels(images)
    exact = pdist(to_float(images.images).flatten(1).double().numpy()).max()
    assert exact <= schedule.first < exact + 0.1
    assert schedule.levels == level_count(3 * 16 * 16, schedule.first, 0.01)
    assert "Technique 1" in reason
    assert "Technique 2" in reason


def test_a_folder_trains_says_what_it_chose_and_goes_on(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ("train", f"folder:{photos}", *TINY, "--train.decay-from", "1", "--train.steps")
    assert run(*command, "2") == 0
    told = capsys.readouterr().err
    assert told.count("chosen: ") == 5
    experiment = read_experiment(tmp_path / "runs" / "folder-photos")
    assert experiment.name == "folder-photos"
    assert (experiment.network.width, experiment.train.steps) == (4, 2)
    assert (experiment.minutes, experiment.train.decay_from) == (0, 1)
    assert run(*command, "3") == 0  # though the machine may be faster now
    assert "it goes on with its settings, 2 steps" in capsys.readouterr().err
    again = read_experiment(tmp_path / "runs" / "folder-photos")
    assert again == replace(experiment, train=replace(experiment.train, steps=3))


def test_a_run_of_another_folder_is_left_alone(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "other" / "photos", [(16, 16)] * 30, start=100)
    assert run("train", *TINY, f"folder:{photos}", "--train.steps", "1") == 0
    before = (tmp_path / "runs" / "folder-photos" / "metrics.jsonl").read_bytes()
    assert run("train", "folder:other/photos", *TINY, "--train.steps", "2") == 2
    told = capsys.readouterr().err
    assert "was trained on other data" in told
    assert f"of folder:{photos} with digest" in told
    assert (tmp_path / "runs" / "folder-photos" / "metrics.jsonl").read_bytes() == before
    monkeypatch.chdir(photos)
    assert run("train", "folder:.", *TINY, "--train.steps", "1", "--dry-run") == 0
    assert "run: runs/folder-photos, new" in capsys.readouterr().out


@pytest.mark.parametrize("size", [*range(8, 41, 4), *range(48, 129, 8)])
def test_every_size_has_a_network_that_takes_it(size):
    for speed in (1e9, 1e15):
        experiment, _ = chosen_for(size, minutes=10, speed=speed)
        shape = (3, size, size)
        with torch.device("meta"):
            subject = Subject(shape=shape, spectrum=Spectrum.flat(shape))
            denoiser = build_denoiser(experiment.network, subject, seed=0)
            denoiser(torch.zeros(1, 3, size, size), torch.ones(1))


def test_images_too_small_no_time_and_several_processes_are_refused(photos, capsys, monkeypatch):
    draw(photos.parent / "narrow", [(16, 16), (7, 9)])
    with pytest.raises(InputError, match=r"smallest image is 7 pixels.* enlarge 1\.png"):
        fitting_size(survey_folder(read_folder(photos.parent / "narrow")))
    for arguments, message in (
        ((f"folder:{photos}", "--minutes", "0"), "--train.steps N"),
        ((f"folder:{photos}", "--minutes", "-1"), "minutes must be above 0"),
        ((f"folder:{photos}", "--minutes", "nan"), "minutes must be above 0"),
        ((f"folder:{photos}", "--data.size", "9"), "a multiple of 4 up to 40"),
        (("folder:nowhere",), "no folder nowhere"),
    ):
        assert run("train", *arguments) == 2
        assert message in capsys.readouterr().err
    monkeypatch.setattr("torch.distributed.is_torchelastic_launched", lambda: True)
    assert run("train", f"folder:{photos}", *TINY) == 2
    assert "without torchrun" in capsys.readouterr().err


def test_a_folder_of_one_picture_many_times_has_nothing_to_learn(tmp_path, capsys):
    for i in range(12):
        save_png(torch.full((1, 8, 8), 9, dtype=torch.uint8), tmp_path / f"{i}.png")
    assert run("train", f"folder:{tmp_path}", "--out", str(tmp_path / "run")) == 2
    assert "are the same one" in capsys.readouterr().err


def test_a_model_directory_keeps_no_path_and_may_be_read_by_all(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.umask", lambda mask: 0o022)
    assert run("train", f"folder:{photos}", *TINY, "--train.steps", "1", "--out", "run") == 0
    assert run("convert", "run", "model") == 0
    for file in (tmp_path / "model").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes(), file
        assert file.stat().st_mode & 0o777 == 0o644, file
    assert "folder:photos" in (tmp_path / "model" / "model.json").read_text()


@pytest.mark.parametrize(("batch", "parts"), [(96, 3), (128, 32)])
def test_a_batch_in_parts_is_tried_in_parts_whatever_the_ladder_has(
    batch, parts, photos, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cascore.experiment.cost._TRIAL_STEPS", 2)
    given = ("--train.batch-size", batch, "--train.accumulation", parts, "--network.width", 4)
    assert run("train", f"folder:{photos}", "--dry-run", "--minutes", "0.01", *given) == 0
    told = capsys.readouterr().out
    settings = json.loads(told[: told.index("\n}\n") + 2])["train"]
    assert (settings["batch_size"], settings["accumulation"]) == (batch, parts)


def test_a_step_that_takes_long_is_tried_on_rows_that_its_parts_divide(monkeypatch):
    monkeypatch.setattr("cascore.experiment.cost.training_speed", lambda device: 1.0)
    monkeypatch.setattr("cascore.experiment.cost._TRIAL_STEPS", 2)
    digits = PRESETS["digits"]
    train = replace(digits.train, batch_size=12, accumulation=4)
    experiment = replace(digits, network=replace(digits.network, width=8), train=train)
    assert measured_step(experiment, build.load_data(digits.data, "train"), CPU).rows == 4


def test_what_is_not_given_follows_what_is(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dry = ("train", f"folder:{photos}", "--dry-run", *TINY, "--minutes", "0.01")
    assert run(*dry, "--schedule.first", "50", "--data.size", "8") == 0
    told = capsys.readouterr().out
    settings = json.loads(told[: told.index("\n}\n") + 2])
    assert settings["data"]["size"] == 8
    assert settings["schedule"]["first"] == 50
    assert settings["schedule"]["levels"] == level_count(3 * 8 * 8, 50, 0.01)
    assert not (tmp_path / "runs").exists()


def test_a_step_is_measured_until_its_numbers_are_there(monkeypatch):
    """On a GPU an update is reported when it is asked for, and done when it can be read."""
    digits = PRESETS["digits"]
    now = [0.0]

    class Update:
        @property
        def dsm(self):
            now[0] += 3.0
            return 0.0

    data = build.load_data(digits.data, "train")
    monkeypatch.setattr("cascore.experiment.cost.training_speed", lambda device: 1e15)
    monkeypatch.setattr(build, "training_loop", lambda *_, **__: [Update() for _ in range(6)])
    monkeypatch.setattr("cascore.experiment.cost.time.perf_counter", lambda: now[0])
    assert measured_step(digits, data, CPU) == (128, 3.0, 0.0)
