"""`cascore restore`: each task on a digit, what it writes, and what it refuses."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from running import run

from cascore.data import load_images
from cascore.model.advice import Choice, write_choice
from cascore.model.loading import load
from cascore.model.restore import observe, operator_of, psnr, read_picture
from cascore.noise import KeyedNoise
from cascore.operators import few_numbers
from cascore.pixels import save_png
from cascore.sampling import initial_noise

SHAPE = (1, 8, 8)
ASKED = ("--calls", "3", "--count", "3", "--device", "cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    digit = load_images("digits", "test").images[3]
    save_png(digit, folder / "digit.png")
    hole = torch.zeros(1, 8, 8, dtype=torch.uint8)
    hole[:, 2:5, 3:6] = 255
    save_png(hole, folder / "hole.png")
    save_png(digit[:, ::4, ::4].contiguous(), folder / "small.png")
    return folder


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("inpaint", ("--mask", "hole.png")),
        ("super-resolve", ("--factor", "2")),
        ("deblur", ("--blur", "0.6")),
        ("compressed", ("--numbers", "20")),
    ],
)
def test_each_task_draws_pictures_and_compares_them_with_the_whole_one(
    task, options, files, tmp_path
):
    given = [files / option if option.endswith(".png") else option for option in options]
    out = tmp_path / "out"
    command = ("restore", "digits", files / "digit.png", "--task", task, *given, "--degrade")
    assert run(*command, *ASKED, "--out", out) == 0
    names = {path.name for path in out.iterdir()}
    sheets = {"denoised", "raw", "seen", "mean", "spread", "restored"}
    assert names == {"denoised", "raw", "record.json", *(f"{name}.png" for name in sheets)}
    drawn = [np.asarray(Image.open(path)) for path in sorted((out / "denoised").iterdir())]
    assert [picture.shape for picture in drawn] == [(8, 8)] * 3
    record = json.loads((out / "record.json").read_text())
    assert (record["task"], record["count"], record["nfe"]) == (task, 3, 3)
    whole = np.asarray(Image.open(files / "digit.png")) / 255
    errors = [((picture / 255 - whole) ** 2).mean() for picture in drawn]
    expected = float(np.mean([-10 * np.log10(error) for error in errors]))
    assert record["psnr"]["draws"] == pytest.approx(expected, abs=0.3)  # of 8-bit pictures


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colour")
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(256, (1, 3, 4, 4), dtype=torch.uint8, generator=generator)
    save_png(coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)[0], folder / "photo.png")
    hole = torch.zeros(1, 32, 32, dtype=torch.uint8)
    hole[:, 8:24, 8:24] = 255
    save_png(hole, folder / "hole.png")
    return folder


@pytest.mark.parametrize("task", ["inpaint", "colorize", "super-resolve", "deblur", "compressed"])
def test_each_task_in_colour_of_a_class(task, photograph, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mask = ("--mask", photograph / "hole.png") if task == "inpaint" else ()
    command = ("restore", "cifar-10", photograph / "photo.png", "--task", task, *mask, "--degrade")
    told = ("--label", "horse", "--guidance", "2")
    assert run(*command, *told, "--calls", "2", "--count", "2", "--device", "cpu") == 0
    (out,) = (tmp_path / "samples" / "cifar-10").iterdir()
    assert "horse-guidance-2" in out.name
    drawn = [np.asarray(Image.open(path)) for path in sorted((out / "denoised").iterdir())]
    assert [picture.shape for picture in drawn] == [(32, 32, 3)] * 2
    record = json.loads((out / "record.json").read_text())
    assert (record["label"], record["guidance"], record["nfe"]) == ("horse", 2, 4)
    assert np.asarray(Image.open(out / "restored.png")).shape[2:] == (3,)


def test_known_pixels_stay_and_the_hole_is_filled_where_the_picture_is_as_it_is_seen(
    files, tmp_path
):
    out = tmp_path / "out"
    command = ("restore", "digits", files / "digit.png", "--task", "inpaint")
    mask = ("--mask", files / "hole.png", "--noise", "0.001")
    assert run(*command, *mask, *ASKED, "--calls", "12", "--out", out) == 0
    picture = np.asarray(Image.open(files / "digit.png")).astype(float)
    known = np.asarray(Image.open(files / "hole.png")) == 0
    for path in (out / "denoised").iterdir():
        drawn = np.asarray(Image.open(path)).astype(float)
        assert np.abs(drawn - picture)[known].max() <= 13  # a twentieth of the range
    assert "psnr" not in json.loads((out / "record.json").read_text())


def test_a_small_picture_is_what_is_seen_of_a_large_one(files):
    operator = operator_of("super-resolve", SHAPE)
    observation = observe(files / "small.png", operator, SHAPE, noise=0.0, degrade=False)
    pixels = np.asarray(Image.open(files / "small.png")) / 255
    assert observation.seen.shape == (1, 1, 2, 2)
    assert observation.seen[0, 0].numpy() == pytest.approx(pixels, abs=1e-6)
    assert observation.remarks == ()
    shown = observation.shown(SHAPE)
    assert torch.equal(shown[0, 0, :4, :4], observation.seen[0, 0, 0, 0].expand(4, 4))
    larger = observe(files / "digit.png", operator, SHAPE, noise=0.0, degrade=False)
    assert len(larger.remarks) == 1


def test_each_question_has_a_folder_and_a_record_of_its_own(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture, fewer = str(files / "digit.png"), ("--calls", "1", "--count", "1", "--device", "cpu")
    asked = (
        ("super-resolve", "--factor", "2"),
        ("super-resolve", "--factor", "4"),
        ("super-resolve", "--factor", "4", "--noise", "0.1"),
        ("super-resolve", "--factor", "4", "--degrade"),
        ("deblur", "--blur", "0.6"),
        ("deblur", "--blur", "0.7"),
        ("compressed", "--numbers", "20"),
        ("compressed", "--numbers", "21"),
        ("inpaint", "--mask", str(files / "hole.png")),
        ("inpaint", "--mask", str(files / "small.png")),
    )
    for task, *options in asked:
        assert run("restore", "digits", picture, "--task", task, *options, *fewer) == 0
    folders = [path.parent for path in tmp_path.rglob("record.json")]
    assert len(folders) == len(asked)
    names = ("task", "mask", "factor", "blur", "numbers", "noise", "degraded")
    records = [json.loads((folder / "record.json").read_text()) for folder in folders]
    assert len({tuple(record[name] for name in names) for record in records}) == len(asked)


@pytest.mark.parametrize(
    ("task", "option", "value", "own"),
    [
        ("colorize", "mask", "hole.png", "inpaint"),
        ("deblur", "factor", "4", "super-resolve"),
        ("super-resolve", "blur", "1.0", "deblur"),
        ("deblur", "numbers", "20", "compressed"),
    ],
)
def test_what_is_for_another_task_is_refused(task, option, value, own, files, capsys):
    """And with the value that it has by default there."""
    asked = ("--task", task, f"--{option}", value, "--degrade")
    assert run("restore", "digits", files / "digit.png", *asked) == 2
    assert f"--{option} is for --task {own}, not for {task}" in capsys.readouterr().err


def test_a_choice_of_tuning_is_named_as_in_sampling(files, tmp_path, capsys):
    model = load("digits")
    model.save_pretrained(tmp_path / "model")
    for weights, words in ((model.digest, "as tuned for 3"), ("0" * 64, "tuned for other weights")):
        choice = Choice(
            order=1, kappa=3.25, spacing="geometric", weights=weights, extractor="digits",
            gain=0.5, gain_error=0.1, tuned=True,
        )  # fmt: skip
        write_choice(tmp_path / "model" / "sampler.json", 3, choice)
        asked = ("--task", "deblur", "--degrade", *ASKED, "--out", tmp_path / weights)
        assert run("restore", tmp_path / "model", files / "digit.png", *asked) == 0
        assert words in " ".join(capsys.readouterr().err.split())


def test_the_noise_in_what_is_seen_is_not_that_of_the_first_chain(files):
    """Whose seed is 0 too; 4 standard errors of the correlation of 64 numbers."""
    observation = observe(files / "digit.png", lambda x: x, SHAPE, noise=0.5, degrade=True)
    z = (observation.seen - observation.whole) / 0.5
    start = initial_noise((1, *SHAPE), 1.0, noise=KeyedNoise([0]))
    assert abs(float((z * start).mean())) < 4 / math.sqrt(64)
    assert float(z.square().mean()) == pytest.approx(1, abs=4 * math.sqrt(2 / 64))


def test_few_numbers_are_shown_as_the_picture_of_least_norm_around_grey(files):
    operator = few_numbers(20, 64)
    observation = observe(files / "digit.png", operator, SHAPE, noise=0.0, degrade=True)
    shown = observation.shown(SHAPE)
    torch.testing.assert_close(operator(shown), observation.seen)
    away = (shown - 0.5).flatten()
    again = few_numbers(64, 64)  # any rotation keeps the length
    whole = (read_picture(files / "digit.png", SHAPE)[0] - 0.5).flatten()
    assert float(away.norm()) < float(whole.norm())
    assert float(again(away[None]).norm()) == pytest.approx(float(away.norm()), rel=1e-5)


def test_psnr_of_a_known_error():
    whole = torch.full((1, 1, 8, 8), 0.5)
    assert psnr(whole + 0.1, whole) == pytest.approx(20, abs=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        ("--task", "inpaint"),
        ("--task", "colorize"),
        ("--task", "super-resolve", "--factor", "3"),
        ("--task", "deblur", "--mask", "hole.png"),
        ("--task", "compressed", "--numbers", "65"),
        ("--task", "deblur", "--noise", "-1"),
        ("--task", "inpaint", "--mask", "absent.png"),
        ("--task", "deblur", "--count", "0"),
        ("--task", "deblur", "--label", "3"),
        ("--task", "deblur", "--guidance", "2"),
    ],
)
def test_what_cannot_be_restored_is_refused_in_a_line(options, files, tmp_path, capsys):
    given = [files / option if option.endswith(".png") else option for option in options]
    out = tmp_path / "out"
    assert run("restore", "digits", files / "digit.png", *given, *ASKED[:2], "--out", out) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) <= 3
    assert not out.exists()
    assert run("restore", "digits", files / "none.png", "--task", "deblur", "--out", out) == 2
