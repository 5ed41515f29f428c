"""Settings: there and back through JSON, and every contradiction refused by name."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascore.errors import InputError
from cascore.experiment.build import Subject, build_denoiser
from cascore.experiment.chain import require_room
from cascore.experiment.presets import FOLDER, PRESETS
from cascore.experiment.settings import (
    Adversarial,
    Data,
    Experiment,
    Network,
    Sampler,
    Schedule,
    Train,
)
from cascore.plain import from_plain, json_text, parse_json
from cascore.preprocessing import FolderOptions
from cascore.ranges import require_memory

EVERYTHING = Experiment(
    name="σ",
    data=Data(name="folder:a b", root="r", size=16, crop="none", filter="box", mode="grey",
              flip=True, labels=False, skip_broken=True, shift=2),
    network=Network(conditional=True, preconditioned=True, spectral=True, labels=True,
                    augmented=True, width=8,
                    multipliers=(1, 2, 3), blocks=2, attention=(False, True, True), dropout=0.1,
                    unshuffle=2),
    schedule=Schedule(first=50.0, last=0.02, levels=232),
    train=Train(objective="hybrid", steps=7, batch_size=3, learning_rate=1e-5, betas=(-0.5, 0.99),
                ema_decay=0.0, ema_warmup=False, ema_profiles=True, precision="bfloat16",
                seed=2**64 - 1, save_every=2,
                keep_last=3, keep_every=4, evaluate_every=5, evaluate_count=6, sigmas="log-uniform",
                log_mean=0.5, log_deviation=0.25, label_dropout=0.2, warmup=3, decay_from=4,
                weight_decay=0.01, clip_norm=1.5, channels_last=True, compiled=True,
                recompute=True),
    adversarial=Adversarial(gan="hinge", width=4, steps=2, learning_rate=3e-4, betas=(0.0, 0.5),
                            weight=0.25, clamp=False),
)  # fmt: skip


def read(text):
    return from_plain(Experiment, parse_json(text, "it"), "experiment")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name):
    preset = PRESETS[name]
    assert preset.name == name
    assert read(json_text(preset)) == preset


def test_every_setting_survives_json():
    again = read(json_text(EVERYTHING))
    assert again == EVERYTHING
    assert repr(again) == repr(EVERYTHING)  # kinds too: a tuple comes back as a tuple
    assert again.train.seed == 2**64 - 1
    default = dataclasses.asdict(Experiment())
    parts = dataclasses.asdict(EVERYTHING)
    assert (parts.pop("name"), parts.pop("minutes")) == ("σ", 0)  # updates or minutes, not both
    assert read(json_text(FOLDER)) == FOLDER
    for part, values in parts.items():
        same = {k for k, v in values.items() if default[part][k] == v}
        # The settings above are all other than the defaults; no hybrid run accumulates.
        assert same <= {"kind", "depth", "accumulation"}


def test_what_is_left_out_has_its_default():
    assert read("{}") == Experiment()
    assert read('{"train": {"steps": 3}}') == Experiment(train=Train(steps=3))
    assert type(read('{"train": {"learning_rate": 1}}').train.learning_rate) is float


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"trian": {}}', "experiment.trian is unknown; expected only name, data"),
        ('{"train": {"steps": 3.0}}', "experiment.train.steps is 3.0; expected a whole number"),
        ('{"train": {"betas": [0.1]}}', "experiment.train.betas has 1 entries; expected 2"),
        ('{"train": {"steps": 0}}', "experiment.train: --train.steps must be at least 1, not 0"),
    ],
)
def test_json_that_is_no_experiment_is_refused_with_the_place(text, message):
    with pytest.raises(InputError, match=message):
        read(text)


LEAST = {
    Network: {"width": 1, "blocks": 1, "unshuffle": 1, "depth": 1},
    Schedule: {"levels": 1},
    Train: {
        "steps": 1, "batch_size": 1, "save_every": 1, "keep_last": 1, "keep_every": 0,
        "evaluate_every": 0, "evaluate_count": 2, "seed": 0,
    },
    Adversarial: {"width": 1, "steps": 1},
}  # fmt: skip


@pytest.mark.parametrize("kind", LEAST)
@given(below=st.integers(max_value=-1))
def test_what_is_too_small_is_refused_by_the_name_of_its_option(kind, below):
    for name, least in LEAST[kind].items():
        option = f"--{kind.__name__.lower()}.{name.replace('_', '-')}"
        with pytest.raises(InputError) as refusal:
            kind(**{name: least + below})
        assert str(refusal.value) == f"{option} must be at least {least}, not {least + below}"


GREATEST = {
    Network: {"width": 16_384, "blocks": 256, "unshuffle": 64, "depth": 256},
    Schedule: {"levels": 100_000, "first": 10**9},
    Train: {"steps": 10**9, "batch_size": 16_384, "learning_rate": 10, "seed": 2**64 - 1},
    Adversarial: {"steps": 1000, "weight": 10**9},
    Sampler: {"calls": 10**6, "n_sigma": 10**6, "epsilon": 10**9},
    FolderOptions: {"size": 16_384},
}


@pytest.mark.parametrize("kind", GREATEST)
@given(above=st.integers(min_value=1, max_value=10**30))
def test_what_is_too_large_is_refused_with_its_bound(kind, above):
    for name, greatest in GREATEST[kind].items():
        with pytest.raises(InputError) as refusal:
            kind(**{name: greatest + above})
        bound = f"must be (at most|below) {greatest:,}, not {greatest + above}$"
        assert re.search(bound, str(refusal.value))


def test_a_machine_says_what_it_would_take_and_what_fits():
    with pytest.raises(InputError, match=r"1,000,000,000,000 pictures take 4,000\.0 GB .* fit"):
        require_memory(10**12, 4, "pictures")
    require_memory(1000, 4, "pictures")
    wide = Network(width=16_384, multipliers=(1, 4), attention=(False, False))
    with pytest.raises(InputError, match=r"parameters of a network take .* GB .* fit"):
        build_denoiser(wide, Subject(shape=(3, 32, 32)), seed=0)
    with pytest.raises(InputError, match=r"1,000,000,000 samples take 30,720\.0 GB"):
        require_room(10**9, (3, 32, 32))


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        (Network, {"multipliers": (1, 2, 2)}, "--network.multipliers has 3 values"),
        (Network, {"dropout": 1.0}, "--network.dropout"),
        (Network, {"kind": "ncsnv2", "conditional": True}, "--network.conditional"),
        (Schedule, {"first": 0.01, "last": 5.0}, "first > last > 0, not --schedule.first 0.01"),
        (Schedule, {"last": 0.0}, "--schedule.last must be above 0, not 0.0"),
        (Schedule, {"first": float("nan")}, "--schedule.first must be above 0, not nan"),
        (Schedule, {"levels": 1}, "one level has one sigma"),
        (Train, {"ema_decay": 1.0}, "--train.ema-decay"),
        (Train, {"seed": 2**64}, "--train.seed"),
        (Train, {"learning_rate": float("nan")}, "--train.learning-rate"),
        (Train, {"betas": (0.9, 1.0)}, "--train.betas"),
        (Adversarial, {"weight": -1.0}, "--adversarial.weight"),
        (Sampler, {"kappa": 2.0, "eta": 0.1}, "at most one of --kappa and --eta"),
        (Sampler, {"method": "als", "kappa": 2.0}, "--kappa 2.0 is for --method cas"),
        (Sampler, {"n_sigma": 0}, "--n-sigma must be at least 1, not 0"),
        (Sampler, {"method": "als", "calls": 3, "n_sigma": 5}, "give 5"),
        (Sampler, {"calls": 12, "n_sigma": 5}, "--levels all"),
    ],
)
def test_contradictions_are_refused(kind, settings, told):
    with pytest.raises(InputError) as refusal:
        kind(**settings)
    assert told in str(refusal.value)
