"""Tuning: a search that finds known optima in noise, and advice that sampling takes and names."""

import json
import math
import random
import statistics
import sys
from dataclasses import replace

import pytest
import torch
from running import CPU, run, tiny, trained_in

from cascore.errors import InputError
from cascore.evaluation.evaluate import reference_for
from cascore.evaluation.search import Candidate, search
from cascore.evaluation.tune import default_candidate, frechet_objective, largest_kappa
from cascore.evaluation.verify import settings_of_measurement
from cascore.experiment.chain import generate
from cascore.experiment.presets import PRESETS
from cascore.experiment.settings import EvaluationSettings, Sampler
from cascore.measurement import read_measurements
from cascore.model.advice import Advised, Choice, read_choices, write_choice
from cascore.model.convert import convert_run
from cascore.model.loading import load
from cascore.pixels import to_uint8

DEFAULT = Candidate(2, 2.5)


# --- the search ----------------------------------------------------------------------------------


def valley(*, at, depth=1.0, offset=0.0, common=1.0, apart=0.0):
    """A parabola in log kappa with noise of each block that is shared, and noise that is not."""

    def objective(candidate, block):
        shared = common * random.Random(block).gauss(0, 1)
        alone = apart * random.Random(f"{candidate} {block}").gauss(0, 1)
        bottom = offset * (candidate.order == 1)
        return 10 + depth * math.log(candidate.kappa / at) ** 2 + bottom + shared + alone

    return objective


@pytest.mark.parametrize("at", [1.0, 1.3, 4.0, 11.0, 30.0])
@pytest.mark.parametrize("offset", [0.5, -0.5])
def test_the_bottom_of_a_valley_is_found_to_the_finest_spacing(at, offset):
    """However large the noise of the seeds: it is common to all candidates."""
    result = search(
        valley(at=at, offset=offset, common=100),
        default=DEFAULT, orders=(1, 2), largest=30, points=7, rounds=3,
    )  # fmt: skip
    finest = math.log(30) / 6 / 2**3
    assert abs(math.log(result.best.kappa / at)) < finest / 2 + 0.01
    assert result.best.order == (2 if offset > 0 else 1)
    assert result.choice == result.best
    exact = math.log(2.5 / at) ** 2 - math.log(result.best.kappa / at) ** 2 + max(-offset, 0)
    assert result.difference.mean == pytest.approx(exact, rel=1e-9)
    assert result.difference.error < 1e-9


def search_flat(trial):
    """Of candidates that are all alike, but for noise."""

    def objective(candidate, block):
        return random.Random(f"{trial} {candidate} {block}").gauss(0, 1)

    return search(objective, default=DEFAULT, orders=(1, 2), largest=20)


def test_a_flat_curve_keeps_the_default_and_is_not_refined():
    results = [search_flat(trial) for trial in range(40)]
    # One side of the 95 % interval holds 2.5 %: 39 of 40 expected, fewer than 35 once in 1,000.
    assert sum(result.choice == DEFAULT for result in results) >= 35
    # 15 of the grid, 12 more in three full rounds
    assert statistics.median(len(result.curve) for result in results) <= 19


def test_the_luck_of_the_search_is_not_in_the_gain():
    """The best of 15 equal candidates looks better than it is, but on fresh blocks it does not."""
    results = [search_flat(trial) for trial in range(60)]
    # Of 60 gains with standard deviation sqrt(2 / 4) candidate.
    gain = statistics.fmean(result.difference.mean for result in results)
    assert abs(gain) < 4 * math.sqrt(0.5 / 60)
    assert statistics.fmean(-x.against_default(x.best).mean for x in results) > 0.5


def test_all_candidates_are_measured_on_the_same_blocks_and_the_last_two_on_others():
    asked = []

    def objective(candidate, block):
        asked.append((candidate, block))
        return valley(at=10)(candidate, block)

    result = search(objective, default=DEFAULT, orders=(1, 2), largest=30, blocks=3)
    assert len(asked) == len(set(asked))
    for candidate in result.curve:
        more = {3, 4, 5} if candidate in (result.best, DEFAULT) else set()
        assert {b for c, b in asked if c == candidate} == {0, 1, 2} | more


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": 1}, "blocks must be at least 2"),
        ({"points": 2}, "points must be at least 3"),
        ({"orders": ()}, "no order"),
        ({"largest": 1.0}, "above 1"),
        ({"largest": math.inf}, "above 1"),
    ],
)
def test_a_search_that_cannot_be_is_refused(settings, message):
    whole = {"default": DEFAULT, "orders": (2,), "largest": 9.0, **settings}
    with pytest.raises(InputError, match=message):
        search(valley(at=2), **whole)


def test_the_largest_kappa_replaces_99_percent_or_is_twice_the_default():
    schedule = PRESETS["digits"].schedule
    for steps in (2, 12, 50):
        gamma = (schedule.last / schedule.first) ** (1 / (steps - 1))
        largest = largest_kappa(schedule, calls=steps)
        untuned = default_candidate(schedule, calls=steps).kappa
        assert largest == pytest.approx(max(2 * untuned, math.log(0.01) / math.log(gamma)))
    with pytest.raises(InputError, match="no noise to tune"):
        largest_kappa(schedule, calls=1)


# --- the command and what it leaves --------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return trained_in(tmp_path_factory.mktemp("runs") / "run", tiny(steps=2))


QUICK = ("--calls", 3, "--count", 8, "--blocks", 2, "--device", "cpu")


@pytest.fixture(scope="module")
def tuned(trained):
    """What `cascore tune` recorded of the run, and the folder of it."""
    assert run("tune", trained, *QUICK) == 0
    (folder,) = (trained / "tuning").iterdir()
    return json.loads((folder / "tuning.json").read_text()), folder


def test_the_record_says_all_that_the_choice_follows_from(trained, tuned):
    record, folder = tuned
    assert record["weights"] == load(trained).digest
    assert record["extractor"]["name"] == record["reference"]["name"] == "digits"
    assert (record["count"], record["blocks"], record["first_seed"]) == (8, 2, 1_000_000)
    assert len(record["curve"]) >= 15
    assert all(len(point["values"]) == 2 for point in record["curve"])
    default = next(point for point in record["curve"] if record["default"].items() <= point.items())
    assert default["over_default"] == {"mean": 0, "error": 0, "freedom": 1}
    least = min(record["curve"], key=lambda point: statistics.fmean(point["values"]))
    assert record["best"].items() <= least.items()
    assert record["choice"] in (record["best"], record["default"])
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    choice = read_choices(trained / "sampler.json")[3]
    assert {"order": choice.order, "kappa": choice.kappa} == record["choice"]
    assert choice.weights == record["weights"]
    assert choice.spacing == ("centred" if choice.order == 2 else "geometric")


def test_a_value_of_the_curve_is_that_of_evaluate(trained, tuned, tmp_path):
    candidate = tuned[0]["curve"][0]
    knobs = ("--order", candidate["order"], "--kappa", candidate["kappa"], "--calls", 3)
    asked = ("--count", 8, "--seed", 1_000_008, "--metrics", "frechet", "--device", "cpu")
    assert run("evaluate", trained, *knobs, *asked, "--out", tmp_path / "r.json") == 0
    number = next(r for r in read_measurements(tmp_path / "r.json") if r.images.form == "denoised")
    assert candidate["values"][1] == pytest.approx(number.value, rel=1e-6)


def test_the_objective_is_of_denoised_samples(trained):
    """At last levels this high they differ from the raw ones by more than a grey value."""
    model = load(trained)
    high = replace(model.experiment, schedule=replace(model.experiment.schedule, last=2.0))
    model, question = replace(model, experiment=high), EvaluationSettings(path=trained, count=10)
    reference = reference_for(question, model, device=CPU)
    distance = frechet_objective(model, reference, calls=3, first_seed=5, batch_size=4)(
        Candidate(1, 1.5), 2
    )
    samples = generate(
        model.denoiser, shape=model.shape, seeds=range(25, 35), schedule=high.schedule,
        sampler=Sampler(calls=3, order=1, kappa=1.5), device=CPU,
    )  # fmt: skip
    raw, denoised = (
        reference.frechet(reference.see(to_uint8(x)), "train").mean
        for x in (samples.raw, samples.denoised)
    )
    assert distance == pytest.approx(denoised, rel=1e-6)
    assert abs(raw - denoised) > 1e-3 * denoised


def choose(folder, **changes):
    choice = Choice(
        order=1, kappa=3.25, spacing="geometric", weights=load(folder).digest,
        extractor="digits", gain=0.5, gain_error=0.1, tuned=True,
    )  # fmt: skip
    (folder / "sampler.json").unlink(missing_ok=True)
    write_choice(folder / "sampler.json", 3, replace(choice, **changes))


def test_sampling_and_judging_take_the_choice_and_say_so(trained, tmp_path, capsys):
    choose(trained)
    before = read_choices(trained / "sampler.json")[3]
    write_choice(trained / "sampler.json", 12, replace(before, kappa=9.0))  # one more, none less
    out = tmp_path / "a"
    assert run("sample", trained, "--calls", 3, "--count", 2, "--out", out) == 0
    record = json.loads((out / "record.json").read_text())
    assert (record["sampler"]["order"], record["sampler"]["kappa"]) == (1, 3.25)
    assert record["tuned"]["gain"] == 0.5
    assert "as tuned for 3 calls" in capsys.readouterr().err

    asked = ("--calls", 3, "--count", 10, "--metrics", "frechet", "--device", "cpu")
    assert run("evaluate", trained, *asked, "--out", tmp_path / "r.json") == 0
    assert "as tuned for 3 calls" in capsys.readouterr().err
    (first, *_) = read_measurements(tmp_path / "r.json")
    assert first.sampler.settings["kappa"] == 3.25
    assert first.sampler.settings["tuned"]["weights"] == first.model.digest
    (trained / "sampler.json").unlink()  # the record says enough to be computed again
    wanted = Sampler(order=1, kappa=3.25, calls=3, spacing="geometric")
    assert settings_of_measurement(first).sampler == wanted
    assert run("verify", tmp_path / "r.json") == 0


@pytest.mark.parametrize(
    "given",
    [
        Sampler(calls=4),
        Sampler(calls=3, kappa=2.0),
        Sampler(calls=3, eta=0.5),
        Sampler(calls=3, order=2),  # which is the default, but was asked for
        Sampler(calls=3, spacing="karras"),
        Sampler(calls=3, method="als"),
    ],
)
def test_whoever_asks_for_something_else_gets_it(trained, given):
    choose(trained)
    assert load(trained).advised(given).sampler == given


def test_a_choice_for_other_weights_or_of_the_default_is_not_taken(trained):
    untuned = Sampler(calls=3)
    choose(trained, weights="0" * 64)
    advised = load(trained).advised(untuned)
    assert advised.sampler == untuned
    assert "other weights" in advised.notice
    choose(trained, order=2, kappa=2.0, tuned=False)  # the default of today, whatever it was then
    assert load(trained).advised(untuned) == Advised(untuned)


def test_a_choice_goes_with_the_weights_that_it_was_for(trained, tmp_path):
    choose(trained)
    model = load(trained)
    model.save_pretrained(tmp_path / "saved")
    saved = load(tmp_path / "saved")
    assert read_choices(tmp_path / "saved" / "sampler.json")[3].kappa == 3.25
    drawn = {"calls": 3, "progress": False}
    assert torch.equal(saved.sample([1, 2], **drawn).raw, model.sample([1, 2], **drawn).raw)
    convert_run(trained, tmp_path / "raw", weights="raw")
    convert_run(trained, tmp_path / "half", weights="ema", half=True)
    choose(trained, weights="0" * 64)
    convert_run(trained, tmp_path / "stale", weights="ema")
    for other in ("raw", "half", "stale"):
        assert not (tmp_path / other / "sampler.json").exists(), other


def test_a_choice_is_taken_with_the_levels_it_was_tuned_at(trained):
    """Those of cascore 0.3 name none: their second order was tuned at geometric levels."""
    choose(trained, order=2, spacing="centred")
    model, path = load(trained), trained / "sampler.json"
    assert model.advised(Sampler(calls=3)).sampler.spacing == "centred"
    values = json.loads(path.read_text())
    del values["calls"]["3"]["spacing"]
    path.write_text(json.dumps(values))
    advised = model.advised(Sampler(calls=3)).sampler
    assert advised == Sampler(calls=3, order=2, kappa=3.25, spacing="geometric")


CHOSEN = """{"format_version": 1, "calls": {"3": {"order": 2, "kappa": 3.25, "weights": "",
    "tuned": true, "extractor": "", "gain": 0, "gain_error": 0}}}"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "not what cascore tune writes"),
        ('{"format_version": 2, "calls": {}}', "not what cascore tune writes"),
        (CHOSEN.replace('"3"', '"x"'), "not what cascore tune writes"),
        ('{"format_version": 1, "calls": {"3": {}}}', "order is missing"),
        (CHOSEN.replace('"order": 2', '"order": 7'), "order is 7"),
        (CHOSEN.replace("3.25", "0.5"), "tune again"),
    ],
)
def test_a_broken_file_of_choices_is_told(tmp_path, text, message):
    (tmp_path / "sampler.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_choices(tmp_path / "sampler.json")


def test_a_shipped_model_is_tuned_without_touching_the_package(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = ("--calls", 2, "--count", 4, "--blocks", 2, "--orders", 2, "--device", "cpu")
    assert run("tune", "digits", *asked) == 0
    (folder,) = (tmp_path / "tuning" / "digits").iterdir()
    assert {path.name for path in folder.iterdir()} >= {"tuning.json", "sampler.json"}
    assert "on fresh seeds" in capsys.readouterr().err
    assert run("tune", "digits", *asked) == 2
    assert "is there already" in capsys.readouterr().err


def test_without_matplotlib_there_is_no_picture_and_a_word(trained, monkeypatch, capsys, tmp_path):
    for name in [module for module in sys.modules if module.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run("tune", trained, *QUICK, "--seed", 5, "--out", tmp_path / "out") == 0
    assert not (tmp_path / "out" / "curve.png").exists()
    assert "cascore[report]" in capsys.readouterr().err
    (trained / "sampler.json").unlink()
