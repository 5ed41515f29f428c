"""Where the studies get their networks: a kept model of the very training, else a run."""

from dataclasses import replace

import pytest
import torch

from cascore.experiment.presets import PRESETS
from cascore.experiment.run import training_run
from cascore.experiment.settings import Adversarial
from cascore.model.convert import convert_run
from cascore.model.folder import read_model_record
from cascore.model.loading import load
from paper.engine.models import Models

CPU = torch.device("cpu")
TINY = replace(
    PRESETS["digits"],
    network=replace(PRESETS["digits"].network, width=8),
    train=replace(PRESETS["digits"].train, steps=2, batch_size=4),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    list(training_run(TINY, folder, device=CPU))
    return folder


@pytest.fixture
def models(run, tmp_path):
    """Where runs are to go, with the model of the run above kept."""
    convert_run(run, tmp_path / "kept" / "digits-seed-0", weights="ema")
    return Models(tmp_path / "runs", tmp_path / "kept", CPU, notify=lambda message: None)


def test_a_kept_model_of_the_very_training_is_taken(models):
    # What a run saves weighs nothing, nor does a discriminator that is not trained.
    kept = replace(TINY, train=replace(TINY.train, save_every=7, keep_last=1))
    kept = replace(kept, adversarial=Adversarial(width=3))
    record = read_model_record(models.kept / "digits-seed-0")
    assert models.of(kept).digest == record.digest
    assert not models.runs.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"train": replace(TINY.train, seed=1)},
        {"train": replace(TINY.train, steps=1)},
        {"train": replace(TINY.train, precision="bfloat16")},
        {"schedule": replace(TINY.schedule, levels=27)},
        {"train": replace(TINY.train, objective="hybrid")},
    ],
)
def test_what_differs_in_anything_that_decides_the_weights_is_trained(models, change):
    record = read_model_record(models.kept / "digits-seed-0")
    assert models.of(replace(TINY, **change)).digest != record.digest
    assert len(list(models.runs.iterdir())) == 1


def test_the_discriminator_of_a_hybrid_training_decides_its_weights(tmp_path):
    hybrid = replace(TINY, train=replace(TINY.train, objective="hybrid"))
    list(training_run(hybrid, tmp_path / "run", device=CPU))
    convert_run(tmp_path / "run", tmp_path / "kept" / "digits-hybrid", weights="ema")
    models = Models(tmp_path / "runs", tmp_path / "kept", CPU, notify=lambda message: None)
    assert models.has(hybrid)
    assert not models.has(replace(hybrid, adversarial=Adversarial(width=3)))


def test_the_models_of_the_package_are_taken_under_any_name(models):
    model = load("digits")
    assert models.of(replace(model.experiment, name="another name")).digest == model.digest


def test_raw_weights_are_not_those_that_a_study_wants(run, tmp_path):
    convert_run(run, tmp_path / "kept" / "digits-seed-0", weights="raw")
    models = Models(tmp_path / "runs", tmp_path / "kept", CPU, notify=lambda message: None)
    models.of(TINY)
    assert models.runs.is_dir()


def test_a_model_is_there_when_it_is_kept_or_trained_to_its_end(models):
    other = replace(TINY, train=replace(TINY.train, seed=1, steps=2, save_every=1))
    assert models.has(TINY)
    assert not models.has(other)
    run = training_run(other, models._run(other), device=CPU)
    next(run)
    assert not models.has(other)
    list(run)
    assert models.has(other)
    assert not models.has(replace(other, train=replace(other.train, steps=3)))
