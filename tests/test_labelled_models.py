"""Runs of EDM's form that know classes, with a spectrum or without: trained, drawn, converted."""

import json
import shutil
from dataclasses import asdict

import pytest
import torch
from PIL import Image
from running import run

from cascore.data import load_images
from cascore.errors import InputError
from cascore.model import convert, loading
from cascore.spectrum import Spectrum

OPTIONS = (
    *("--network.conditional", "--network.preconditioned", "--network.labels"),
    *("--train.sigmas", "log-normal", "--train.warmup", "2", "--train.steps", "4"),
    *("--network.width", "8", "--train.batch-size", "8", "--threads", "1", "--device", "cpu"),
)


@pytest.fixture(scope="module", params=[(), ("--network.spectral",)], ids=["edm", "spectral"])
def form(request):
    return request.param


@pytest.fixture(scope="module")
def folder(form, tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled") / "run"
    assert run("train", "digits", *OPTIONS, *form, "--out", folder) == 0
    return folder


def test_mean_deviation_and_classes_are_measured_and_in_the_record(folder):
    digits = load_images("digits", "train")
    pixels, data = digits.images.double() / 255, json.loads((folder / "data.json").read_text())
    assert data["classes"] == list("0123456789")
    assert data["mean"] == pytest.approx(float(pixels.mean()), rel=1e-12)
    assert data["deviation"] == pytest.approx(float(pixels.std(correction=0)), rel=1e-12)
    model = loading.load(folder)
    assert float(model.denoiser.mean) == pytest.approx(data["mean"], rel=1e-6)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rates = [json.loads(line)["learning_rate"] for line in lines]
    assert rates == pytest.approx([1e-3, 2e-3, 2e-3, 2e-3])


def test_a_run_goes_on_to_the_bit(folder, form, tmp_path):
    short = [option if option != "4" else "2" for option in OPTIONS]
    assert run("train", "digits", *short, *form, "--out", tmp_path / "run") == 0
    assert run("train", "digits", *OPTIONS, *form, "--out", tmp_path / "run") == 0
    whole, resumed = (loading.load(run) for run in (folder, tmp_path / "run"))
    expected = whole.denoiser.state_dict()
    assert resumed.step == 4
    for name, value in resumed.denoiser.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_the_model_folder_draws_the_same_pictures_of_each_class(folder, tmp_path):
    convert.convert_run(folder, tmp_path / "model", weights="ema")
    model, again = loading.load(folder), loading.load(tmp_path / "model")
    assert again.classes == model.classes == tuple("0123456789")
    for options in ({"label": "3"}, {"label": "all", "guidance": 2.0}, {}):
        first, second = (m.sample(range(20), calls=3, **options) for m in (model, again))
        assert torch.equal(first.denoised, second.denoised), options
        assert first.nfe == (6 if "guidance" in options else 3)
    text = (tmp_path / "model" / "README.md").read_text()
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in text


def test_a_picture_is_that_of_its_seed_and_class_in_any_batch(folder):
    model = loading.load(folder)
    generator = torch.Generator().manual_seed(0)
    for weight in model.denoiser.parameters():  # so that classes differ: they begin as none
        weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    whole = model.sample(range(6), label=["2", "7", "4"], calls=2, batch_size=4).denoised
    for row, label in ((0, "2"), (3, "7"), (5, "4")):
        alone = model.sample([row], label=label, calls=2).denoised
        torch.testing.assert_close(whole[row], alone[0], rtol=0, atol=1e-5)
    other = model.sample([0], label="5", calls=2).denoised[0]
    assert not torch.allclose(other, whole[0], atol=1e-3)
    none, zero = model.sample([0], calls=2), model.sample([0], label="5", guidance=0, calls=2)
    assert torch.equal(none.denoised, zero.denoised)
    assert not torch.allclose(none.denoised[0], other, atol=1e-3)


def test_what_cannot_be_drawn_is_refused(folder):
    model = loading.load(folder)
    for options, message in (
        ({"label": "frog"}, "there is no class 'frog': this model knows 0, 1"),
        ({"label": ["1", "2", "3"]}, "4 pictures cannot be shared by 3 classes: ask for 6"),
        ({"guidance": 2.0}, "give a label too"),
        ({"label": []}, "there is no class"),
        ({"label": 3}, "label is 3; expected names, which are text: '0', '1'"),
        ({"label": [1, 2]}, r"label is \[1, 2\]; expected names"),
    ):
        with pytest.raises(InputError, match=message):
            model.sample(range(4), calls=2, **options)
    with pytest.raises(InputError, match="this model knows none"):
        loading.load("digits").sample(range(4), label="3", calls=2)


def test_the_command_draws_a_row_of_each_class(folder, tmp_path, capsys):
    out = tmp_path / "all"
    options = ("--calls", "2", "--device", "cpu", "--guidance", "1.5")
    assert run("sample", folder, "--label", "all", "--out", out, *options) == 0
    record = json.loads((out / "record.json").read_text())
    assert (record["count"], record["nfe"], record["guidance"]) == (80, 4, 1.5)
    assert record["labels"] == list("0123456789")
    with Image.open(out / "denoised.png") as sheet:
        width, height = sheet.size  # 8 columns and 10 rows of 32 + 2 pixels
    assert (width - 2, height - 2) == (8 * 34, 10 * 34)
    assert run("sample", folder, "--label", "3", "7", "--count", "6", *options) == 0
    assert run("sample", folder, "--label", "3", "x", *options) == 2
    assert run("sample", folder, "--label", "3", "7", "--count", "5", *options) == 2
    assert "ask for 6" in capsys.readouterr().err


def test_classes_whose_names_are_no_names_of_files_have_folders_apart(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run", ignore=shutil.ignore_patterns("samples"))
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    names = ["A", "a", "猫", "犬", "new york", *data["classes"][5:]]
    (tmp_path / "run" / "data.json").write_text(json.dumps(data | {"classes": names}))
    for name in names[:5]:
        asked = ("--label", name, "--count", "1", "--calls", "1", "--device", "cpu")
        assert run("sample", tmp_path / "run", *asked) == 0
    drawn = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert len(drawn) == 5
    assert sum("count-1-a-guidance-1" in name for name in drawn) == 1
    assert sum("count-1-new-york-guidance-1" in name for name in drawn) == 1


def test_a_spectrum_is_in_the_record_and_its_loss_is_seen(tmp_path):
    """A record of bands that are no variances, or of none, is refused by its name."""
    options = ("--network.spectral", "--train.ema-profiles")
    assert run("train", "digits", *OPTIONS, *options, "--out", tmp_path / "run") == 0
    known = Spectrum.of(load_images("digits", "train").images)
    convert.convert_run(tmp_path / "run", tmp_path / "model", weights="ema")
    text = (tmp_path / "model" / "model.json").read_text()
    assert json.loads(text)["data"]["spectrum"] == json.loads(json.dumps(asdict(known)))
    other = tmp_path / "other"
    convert.convert_run(tmp_path / "run", other, weights="ema", ema_length=0.1)
    variances = loading.load(other).denoiser.variances
    torch.testing.assert_close(variances, known.variances(8, 8), rtol=0, atol=0)
    for change, message in (
        (lambda data: data.pop("spectrum"), "spectrum of its data"),
        (lambda data: data["spectrum"].update(bands=[[-1.0] * 15]), "spectrum"),
        (lambda data: data["spectrum"].update(bands=[[1.0] * 3]), "3 bands"),
        (lambda data: data.update(spectrum=4), "spectrum"),
    ):
        changed = json.loads(text)
        change(changed["data"])
        (tmp_path / "model" / "model.json").write_text(json.dumps(changed))
        with pytest.raises(InputError, match=message):
            loading.load(tmp_path / "model")


def test_data_without_classes_and_networks_that_cannot_be_are_refused(tmp_path, capsys):
    for what, options in (
        ("25-gaussians", ("--network.labels",)),
        ("digits", ("--network.preconditioned",)),
        ("digits", ("--network.spectral", "--network.conditional")),
        ("digits", ("--train.accumulation", "3")),
        ("digits", ("--train.label-dropout", "1.5")),
        ("digits", ("--train.log-deviation", "0")),
    ):
        assert run("train", what, *options, "--out", tmp_path / "run", "--device", "cpu") == 2
        assert options[0] in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
