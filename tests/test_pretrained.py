"""Models that come with cascore: found by name, in the wheel, drawn without writing into it."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from running import CPU, run, tiny, trained_in

import cascore
from cascore.data import load_images
from cascore.errors import InputError
from cascore.experiment.run import training_run
from cascore.experiment.settings import Sampler
from cascore.measurement import read_measurements
from cascore.model import pretrained
from cascore.model.card import model_card, scores_of
from cascore.model.folder import read_model_record
from cascore.model.loading import load
from cascore.model.pretrained import find_model, shipped_folders, shipped_names
from cascore.training.checkpoint import checkpoints

PACKAGE = Path(pretrained.__file__).parent


def contents(folder):
    return {p.relative_to(folder) for p in folder.rglob("*") if "__pycache__" not in p.parts}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_model_is_whole_and_says_what_a_user_must_know(name):
    folder = shipped_folders()[name]
    assert load(name).experiment.name == name
    record = read_model_record(folder)
    assert record.weights == "ema"
    assert any(score.metric == "frechet" and score.floor for score in record.scores)
    assert record.experiment.data.root is None
    card = (folder / "README.md").read_text(encoding="utf-8")
    for heading in ("## Data", "## Training", "## Sampling", "## Quality", "## Limits"):
        assert heading in card
    assert re.search("CC BY 4.0|MIT licence|states no licence", card)
    assert "real images score" in card  # numbers, not the excuse for their absence
    for private in ("/work", "/home", "/tmp"):
        assert private not in card + (folder / "model.json").read_text(encoding="utf-8")


def test_what_comes_with_the_package_is_light():
    """Models and extractors together, in bytes."""
    weights = Path(cascore.__file__).parent.rglob("*.safetensors")
    assert sum(path.stat().st_size for path in weights) < 24e6


@pytest.mark.parametrize(("name", "known"), [("digits-aware", True), ("digits", False)])
@pytest.mark.parametrize("settings", [{}, {"order": 1}, {"method": "als"}], ids=str)
def test_a_network_that_sees_sigma_is_asked_at_the_levels_of_its_training(name, known, settings):
    """What lies between is not learned: see the next test."""
    model, asked = load(name), []
    model.draw(range(2), Sampler(calls=9, **settings),
               callback=lambda step, sigma, x, h: asked.append(sigma))  # fmt: skip
    assert len(asked) == 9
    assert (set(asked) <= set(model.sigmas.tolist())) == known
    other = replace(model.experiment, train=replace(model.experiment.train, sigmas="log-uniform"))
    assert (model.experiment.at_levels, other.at_levels) == (known, False)


def test_between_the_levels_of_its_training_a_network_does_not_know_what_it_is_asked():
    """The square error of H on held-out digits, at the first two levels and between: 5, 164, 5."""
    model, held_out = load("digits-aware"), load_images("digits", "test").images[:60] / 255
    z = torch.randn(held_out.shape, generator=torch.Generator().manual_seed(0))
    upper, lower = model.sigmas[:2].tolist()
    errors = [
        float((model.denoiser(held_out + s * z, torch.tensor(s)) - held_out).square().mean())
        for s in (upper, (upper * lower) ** 0.5, lower)
    ]
    assert errors[1] > 10 * max(errors[0], errors[2])


def test_a_path_wins_over_a_name_and_is_never_one(here):
    assert find_model("digits") == PACKAGE / "digits"
    assert find_model("./digits") == Path("digits")
    with pytest.raises(InputError, match="no such path"):
        load(Path("digits"))
    (here / "digits").mkdir()
    assert find_model("digits") == Path("digits")
    assert run("sample", "digit") == 2  # no name either


def test_a_tilde_is_the_home_folder(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    assert find_model("~/runs/mine") == here / "runs" / "mine"
    with pytest.raises(InputError, match="give the path in full"):
        find_model("~no-such-user/mine")


# --- commands ------------------------------------------------------------------------------------


def test_a_name_is_sampled_judged_verified_and_described(here, capsys):
    before = contents(PACKAGE)
    quick = ("--calls", 3, "--device", "cpu")
    assert run("sample", "digits", "--count", 4, *quick) == 0
    told = capsys.readouterr()
    (pictures,) = (here / "samples" / "digits").iterdir()
    assert (here / told.out.strip()).resolve() == pictures.resolve()
    assert str(pictures.relative_to(here) / "denoised.png") in told.err
    assert re.search(
        r"4 samples of digits at 3 network evaluations each \(.*\) in \d+\.\d s", told.err
    )
    assert json.loads((pictures / "record.json").read_text())["run"] == "digits"

    assert run("sample", "digits", "--count", 4, *quick) == 2
    assert "others with --seed" in capsys.readouterr().err

    assert run("evaluate", "digits", "--count", 20, "--metrics", "frechet", *quick) == 0
    (file,) = (here / "evaluations" / "digits").iterdir()
    record = read_measurements(file)[0]
    assert (record.images.source, record.images.path) == ("model", "digits")
    assert run("verify", file) == 0

    assert run("info", "digits") == 0
    assert record.model.digest in capsys.readouterr().out
    assert run("sample", "digits", "--like", "figure-2", "--count", 1, "--out", "a") == 0
    assert contents(PACKAGE) == before


# --- cards ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A run of two steps, records of it, and a model folder with those in its card."""
    place = tmp_path_factory.mktemp("card")
    trained_in(place / "run", tiny(steps=2, batch_size=4))
    asked = ("--count", 20, "--calls", 2, "--device", "cpu", "--out", place / "records.json")
    assert run("evaluate", place / "run", *asked) == 0
    model = ("convert", place / "run", place / "model")
    assert run(*model, "--records", place / "records.json") == 0
    return place


def test_the_card_holds_numbers_licence_training_and_limits(converted):
    card = (converted / "model" / "README.md").read_text(encoding="utf-8")
    record = next(
        each
        for each in read_measurements(converted / "records.json")
        if each.metric == "frechet" and each.images.form == "denoised"
    )
    row = next(line for line in card.splitlines() if line.startswith("| Fréchet distance"))
    for part in (f"{record.value:.4g}", f"{record.floor.mean:.4g}", "1,437 train", "| 20 |"):
        assert part in row
    assert "The data are under Creative Commons Attribution 4.0" in card
    assert "computed in float32: 8 images were seen" in card
    assert "no class, label or text" in card
    assert "Training took" in card
    model = load(converted / "model")
    parameters = sum(parameter.numel() for parameter in model.denoiser.parameters())
    made_again = model_card(read_model_record(converted / "model"), parameters=parameters)
    assert made_again == card  # from what a program reads


def test_numbers_of_other_weights_do_not_get_into_a_card(converted):
    measured = read_measurements(converted / "records.json")
    assert scores_of(measured, digest="0" * 64, source=measured[0].model.digest)
    with pytest.raises(InputError, match="of other weights"):
        scores_of(measured, digest="0" * 64, source="1" * 64)


def test_seconds_of_training_add_up_over_an_interruption(converted, tmp_path):
    shutil.copytree(converted / "run", tmp_path / "run")
    (first,) = checkpoints(tmp_path / "run" / "checkpoints")
    path = first.folder / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": 1000.0}))
    experiment = load(tmp_path / "run").experiment
    longer = replace(experiment, train=replace(experiment.train, steps=3))
    assert len(list(training_run(longer, tmp_path / "run", device=CPU))) == 1
    newest = checkpoints(tmp_path / "run" / "checkpoints")[-1]
    assert 1000 < json.loads((newest.folder / "state.json").read_text())["seconds"] < 1100
