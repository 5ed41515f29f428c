"""A folder of one's own: what is chosen for it, why, and that what is given stands."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from running import run
from scipy.spatial.distance import pdist

from cascore.data.contents import read_folder
from cascore.errors import InputError
from cascore.experiment.build import Subject, build_denoiser
from cascore.experiment.choose import (
    LEAST_STEPS,
    FolderSurvey,
    choose_levels,
    choose_network,
    fitting_options,
    fitting_sizes,
    survey_folder,
)
from cascore.experiment.cost import step_cost
from cascore.experiment.run_folder import read_experiment
from cascore.experiment.settings import Data
from cascore.pixels import save_png, to_float
from cascore.preprocessing import FolderOptions
from cascore.schedule import level_count

COLOUR_32 = FolderSurvey(images=100, smallest=32, one_size=(32, 32), grey=0)


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
    assert found == FolderSurvey(images=3, smallest=9, one_size=None, grey=1)
    assert found.mixed
    assert found.grey < found.images
    assert fitting_options(found, FolderOptions()) == FolderOptions(size=8, mode="rgb")
    given = FolderOptions(size=4, mode="grey", skip_broken=True)
    assert fitting_options(found, given) == given
    draw(tmp_path / "one", [(16, 16)] * 2, channels=1)
    one = survey_folder(read_folder(tmp_path / "one"))
    assert (one.one_size, one.grey == one.images, one.mixed) == ((16, 16), True, False)
    assert fitting_options(one, FolderOptions()) == FolderOptions()


@pytest.mark.parametrize(
    ("one_size", "smallest", "sizes"),
    [
        ((32, 32), 32, (32, 16, 8)),
        ((28, 28), 28, (28, 16, 8)),
        ((30, 30), 30, (30, 16, 8)),
        ((32, 40), 32, (32, 16, 8)),
        ((256, 256), 256, (64, 32, 16, 8)),
        (None, 63, (32, 16, 8)),
    ],
)
def test_no_size_enlarges_an_image(one_size, smallest, sizes):
    survey = FolderSurvey(images=9, smallest=smallest, one_size=one_size, grey=0)
    assert fitting_sizes(survey) == sizes


def test_more_time_or_speed_gives_a_wider_network_and_then_a_larger_image():
    seen = []
    for speed in (1e9, 3e10, 1e11, 1e13):
        experiment, reasons = choose_network(Data(name="x"), COLOUR_32, minutes=30, speed=speed)
        size = experiment.data.size or 32
        seen.append((size, experiment.network.width))
        seconds = step_cost(experiment, (3, size, size)).seconds(speed)
        assert experiment.train.steps == int(30 * 60 / seconds)
        assert len(reasons) == 2
    assert seen == sorted(seen)
    assert len(set(seen)) == len(seen)
    assert seen[-1] == (32, 128)


def test_at_least_3000_steps_fit_or_it_is_said():
    enough, _ = choose_network(Data(name="x"), COLOUR_32, minutes=30, speed=1e11)
    assert enough.train.steps >= LEAST_STEPS
    few, reasons = choose_network(Data(name="x"), COLOUR_32, minutes=0.01, speed=1e9)
    assert few.train.steps < LEAST_STEPS
    assert "the smallest" in reasons[-1]


def test_a_large_image_gets_no_narrow_network():
    survey = COLOUR_32._replace(smallest=64, one_size=(64, 64))
    seen = set()
    for speed in np.geomspace(1e9, 1e13, 30):
        experiment, _ = choose_network(Data(name="x"), survey, minutes=30, speed=float(speed))
        seen.add((experiment.data.size or 64, experiment.network.width))
    assert {size for size, _ in seen} >= {8, 32, 64}
    assert all(width >= size for size, width in seen)


@pytest.mark.parametrize(
    ("grey", "mode", "chosen"), [(0, "auto", "auto"), (5, "auto", "rgb"), (5, "grey", "grey")]
)
def test_mixed_colours_become_rgb_unless_asked(grey, mode, chosen):
    survey = COLOUR_32._replace(grey=grey)
    experiment, _ = choose_network(Data(name="x", mode=mode), survey, minutes=30, speed=1e11)
    assert experiment.data.mode == chosen


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
    command = ("train", f"folder:{photos}", *TINY, "--train.steps")
    assert run(*command, "2") == 0
    told = capsys.readouterr().err
    assert told.count("chosen: ") == 4
    experiment = read_experiment(tmp_path / "runs" / "folder-photos")
    assert experiment.name == "folder-photos"
    assert (experiment.network.width, experiment.train.steps) == (4, 2)
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


@pytest.mark.parametrize("size", range(8, 65))
def test_every_square_size_has_a_network_that_takes_it(size):
    survey = COLOUR_32._replace(smallest=size, one_size=(size, size))
    experiment, _ = choose_network(Data(name="x"), survey, minutes=9e5, speed=1e11)
    chosen = experiment.data.size or size
    assert chosen <= size
    with torch.device("meta"):
        denoiser = build_denoiser(experiment.network, Subject(shape=(3, chosen, chosen)), seed=0)
        denoiser(torch.zeros(1, 3, chosen, chosen), torch.ones(1))


def test_images_too_small_no_time_and_several_processes_are_refused(photos, capsys, monkeypatch):
    with pytest.raises(InputError, match="smallest image is 7 pixels"):
        fitting_sizes(COLOUR_32._replace(smallest=7, one_size=None))
    for minutes in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="minutes must be above 0"):
            choose_network(Data(name="x"), COLOUR_32, minutes=minutes, speed=1e11)
    for arguments, message in (
        ((f"folder:{photos}", "--data.size", "9"), "a multiple of 4 up to 40"),
        (("folder:nowhere",), "no folder nowhere"),
    ):
        assert run("train", *arguments) == 2
        assert message in capsys.readouterr().err
    monkeypatch.setattr("torch.distributed.is_torchelastic_launched", lambda: True)
    assert run("train", f"folder:{photos}", *TINY) == 2
    assert "without torchrun" in capsys.readouterr().err


def test_a_model_directory_keeps_no_path_and_may_be_read_by_all(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.umask", lambda mask: 0o022)
    assert run("train", f"folder:{photos}", *TINY, "--train.steps", "1", "--out", "run") == 0
    assert run("convert", "run", "model") == 0
    for file in (tmp_path / "model").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes(), file
        assert file.stat().st_mode & 0o777 == 0o644, file
    assert "folder:photos" in (tmp_path / "model" / "model.json").read_text()


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
