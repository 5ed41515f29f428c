"""`cascore.load` and what it returns: the README's lines, a notebook, a run, a model folder."""

import io

import pytest
import torch
from PIL import Image
from rich.console import Console
from running import POINTS, trained_in
from running import run as command

import cascore
from cascore.errors import InputError
from cascore.model.advice import Choice, write_choice
from cascore.model.convert import convert_run
from cascore.model.pretrained import shipped_names
from cascore.pixels import to_uint8
from cascore.progress import Display
from cascore.sampling import Samples


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_in(tmp_path_factory.mktemp("front") / "run", POINTS)


def test_the_ten_lines_of_the_readme(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = cascore.load("fashion-mnist")
    samples = model.sample(seeds=range(4), calls=3)
    samples.save("clothes.png")
    assert (samples.denoised.shape, samples.raw.shape, samples.nfe) == ((4, 1, 28, 28),) * 2 + (3,)
    with Image.open("clothes.png") as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "L", (62, 62))
    x = cascore.initial_noise((2, *model.shape), float(model.sigmas[0]))
    again = cascore.consistent_annealed(model.denoiser, x, model.sigmas[::40], kappa=2)
    assert again.denoised.shape == (2, 1, 28, 28)
    assert capsys.readouterr() == ("", "")  # a library prints nothing where nobody watches


@pytest.mark.parametrize("name", shipped_names())
def test_the_models_of_the_package(name):
    model = cascore.load(name)
    assert model.sigmas.dtype == torch.float64
    assert len(model.sigmas) == model.experiment.schedule.levels
    assert not model.denoiser.training


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (("--calls", "3"), {"calls": 3}),
        (("--calls", "4", "--order", "1", "--kappa", "2"), {"calls": 4, "order": 1, "kappa": 2.0}),
        (("--calls", "2", "--method", "als"), {"calls": 2, "method": "als"}),
    ],
)
def test_the_command_draws_the_same_pictures(tmp_path, options, settings):
    out = tmp_path / "out"
    common = f"--count 3 --seed 5 --batch-size 2 --device cpu --out {out}"
    assert command("sample", "digits", *options, *common.split()) == 0
    samples = cascore.load("digits").sample(range(5, 8), **settings)
    samples.save(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes() == (out / "denoised.png").read_bytes()
    for image, seed in zip(to_uint8(samples.raw), range(5, 8), strict=True):
        with Image.open(out / "raw" / f"seed-{seed:08d}.png") as picture:
            assert picture.tobytes() == image.numpy().tobytes()


def test_tuned_advice_is_the_default_of_python_too(run, tmp_path):
    folder = tmp_path / "model"
    convert_run(run, folder, weights="ema")
    model = cascore.load(folder)
    plain = model.sample([1, 2], calls=3)
    choice = Choice(
        order=1, kappa=4.0, spacing="geometric", weights=model.digest, extractor="e",
        gain=1.0, gain_error=0.1, tuned=True,
    )  # fmt: skip
    write_choice(folder / "sampler.json", 3, choice)
    tuned = model.sample([1, 2], calls=3)
    explicit = model.sample([1, 2], calls=3, order=1, kappa=4.0, spacing="geometric")
    assert torch.equal(tuned.raw, explicit.raw)
    assert not torch.equal(tuned.raw, plain.raw)
    assert torch.equal(model.sample([1, 2], calls=2).raw, model.sample([2, 1], calls=2).raw.flip(0))
    assert model.to("meta") is model
    assert model.device == torch.device("meta")


def test_what_is_no_model_or_no_seed_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="those are cifar-10, digits, digits-aware, fashion-mnist"):
        cascore.load("fashion")
    with pytest.raises(InputError, match="neither a run nor a model folder"):
        cascore.load(tmp_path)
    for name, instead in (("x.pth", "cascore convert"), ("model_index.json", "from_diffusers")):
        (tmp_path / name).touch()
        with pytest.raises(InputError, match=instead):
            cascore.load(tmp_path if name.endswith(".json") else tmp_path / name)
    model = cascore.load(run)
    for seeds in ([], [-1], [2**64], 16):
        with pytest.raises(InputError, match="seed"):
            model.sample(seeds)
    with pytest.raises(InputError, match="kappa"):
        model.sample([0], kappa=0.5)
    points = model.sample(range(5))
    assert points._repr_png_() is None
    with pytest.raises(InputError, match="no pictures"):
        points.save(tmp_path / "points.png")


def pictures(count):
    values = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return Samples(raw=values, denoised=values, nfe=1)


def test_a_notebook_shows_the_sheet(tmp_path):
    samples = pictures(300)
    with Image.open(io.BytesIO(samples._repr_png_())) as shown:
        assert shown.size == (16 * 34 + 2,) * 2  # 256 of them at most
    samples.save(tmp_path / "all.png")
    with Image.open(tmp_path / "all.png") as saved:
        assert saved.size == (17 * 34 + 2, 18 * 34 + 2)  # and all of them in a file


def test_a_sheet_that_cannot_be_saved_is_refused(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for name, message in (
        ("a.jpg", r"ends in \.png"),
        ("folder.png", "is a folder"),
        ("absent/a.png", "no folder"),
    ):
        with pytest.raises(InputError, match=message):
            pictures(1).save(tmp_path / name)
    broken = torch.full((1, 1, 2, 2), torch.nan)
    with pytest.raises(InputError, match="NaN"):
        Samples(raw=broken, denoised=broken, nfe=1).save(tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def watched(console):
    with Display(console, plain=False).counting("drawing", 2) as advance:
        advance(2)


def test_progress_is_for_those_who_watch():
    terminal, file = io.StringIO(), io.StringIO()
    watched(Console(file=terminal, force_terminal=True))
    watched(Console(file=file))
    assert "2/2" in terminal.getvalue()
    assert file.getvalue() == ""
    watched(Console(file=file, force_jupyter=True))  # rich's warning of widgets would fail this


@pytest.mark.parametrize(
    "settings",
    [{"method": "ddim"}, {"levels": 20}, {"spacing": "even"}, {"calls": 2.5}, {"calls": "3"}],
)
def test_what_the_command_line_refuses_python_refuses_too(settings):
    (name,) = settings
    with pytest.raises(InputError, match=f"--{name} is "):
        cascore.load("digits").sample(range(2), **settings)


def test_a_class_that_is_nearly_one_is_answered_with_it(capsys):
    model = cascore.load("cifar-10")
    with pytest.raises(InputError, match=r"'?Hors'?.*did you mean horse"):
        model.labels("Hors", 1)
    assert command("sample", "cifar-10", "--label", "--calls", "1", "--count", "1") == 2
    assert "there is no class" in capsys.readouterr().err
