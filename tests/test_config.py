"""Settings: there and back through JSON, and every contradiction refused by name."""

import dataclasses

import pytest

from cascore.errors import InputError
from cascore.experiment.presets import PRESETS, describe_preset
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

EVERYTHING = Experiment(
    name="σ",
    data=Data(
        name="folder:a b", root="r", size=16, crop="none", filter="box", mode="grey", flip=True
    ),
    network=Network(
        conditional=True,
        width=8,
        multipliers=(1, 2, 3),
        blocks=2,
        attention=(False, True, True),
        dropout=0.1,
        unshuffle=2,
    ),
    schedule=Schedule(first=50.0, last=0.02, levels=232),
    train=Train(
        objective="hybrid",
        steps=7,
        batch_size=3,
        learning_rate=1e-5,
        betas=(-0.5, 0.99),
        ema_decay=0.0,
        ema_warmup=False,
        precision="bfloat16",
        seed=2**64 - 1,
        save_every=2,
        keep_last=3,
        keep_every=4,
        evaluate_every=5,
        evaluate_count=6,
    ),
    adversarial=Adversarial(
        gan="hinge",
        width=4,
        steps=2,
        learning_rate=3e-4,
        betas=(0.0, 0.5),
        weight=0.25,
        clamp=False,
    ),
)


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
    for part, values in dataclasses.asdict(EVERYTHING).items():
        same = {k for k, v in values.items() if default[part][k] == v} if part != "name" else set()
        assert same <= {"kind", "depth"}  # the settings above are all other than the defaults


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
        ('{"train": {"steps": 0}}', "experiment.train: train: steps must be at least 1, not 0"),
    ],
)
def test_json_that_is_no_experiment_is_refused_with_the_place(text, message):
    with pytest.raises(InputError, match=message):
        read(text)


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        (Network, {"multipliers": (1, 2, 2)}, "3 multipliers but 2 attention flags"),
        (Schedule, {"first": 0.01, "last": 5.0}, "first > last > 0, not 0.01 and 5.0"),
        (Schedule, {"first": 1.0, "last": 1.0}, "first > last > 0"),
        (Schedule, {"last": 0.0}, "first > last > 0"),
        (Schedule, {"first": float("inf")}, "first > last > 0, not inf"),
        (Schedule, {"first": float("nan")}, "first > last > 0, not nan"),
        (Schedule, {"levels": 1}, "one level needs first = last > 0, not 5.0 and 0.01"),
        (Schedule, {"levels": 0}, "levels must be at least 1, not 0"),
        (Network, {"kind": "ncsnv2", "conditional": True}, "does not see the noise level"),
        (Train, {"steps": 0}, "steps must be at least 1, not 0"),
        (Train, {"batch_size": -1}, "batch_size must be at least 1, not -1"),
        (Train, {"save_every": 0}, "save_every must be at least 1"),
        (Train, {"keep_last": 0}, "keep_last must be at least 1"),
        (Train, {"keep_every": -1}, "keep_every must be 0 or more: -1"),
        (Train, {"ema_decay": 1.0}, r"ema_decay must be in \[0, 1\): 1.0"),
        (Train, {"ema_decay": float("nan")}, "ema_decay must be in"),
        (Train, {"seed": -1}, "seed must be from 0 to 2.64 - 1: -1"),
        (Train, {"seed": 2**64}, "seed must be from 0"),
        (Train, {"learning_rate": 0.0}, "learning_rate must be positive"),
        (Train, {"learning_rate": float("nan")}, "learning_rate must be positive"),
        (Adversarial, {"steps": 0}, "adversarial: steps must be at least 1, not 0"),
        (Sampler, {"kappa": 2.0, "eta": 0.1}, "at most one of kappa, eta, epsilon: kappa and eta"),
        (Sampler, {"method": "als", "kappa": 2.0}, "kappa is for cas"),
        (Sampler, {"steps": 0}, "steps must be at least 1: 0"),
        (Sampler, {"n_sigma": 0}, "n_sigma must be at least 1, not 0"),
    ],
)
def test_contradictions_are_refused(kind, settings, told):
    with pytest.raises(InputError, match=told):
        kind(**settings)


def test_the_papers_adversarial_betas():
    assert PRESETS["digits-adversarial"].train.betas == (0.0, 0.9)
    assert PRESETS["digits-adversarial"].adversarial.betas == (-0.5, 0.9)
    assert PRESETS["digits-adversarial"].train.objective == "hybrid"
    assert PRESETS["digits"].train.objective == "plain"


def test_a_preset_is_described_in_one_line():
    lines = {describe_preset(preset) for preset in PRESETS.values()}
    assert len(lines) == len(PRESETS)
    assert all("\n" not in line for line in lines)
