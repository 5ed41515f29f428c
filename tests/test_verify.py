"""Records computed again: found, found to rounding, or not found, and why."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from evaluating import SAMPLER, ask, write_images
from rich.console import Console
from running import CPU, run, tiny, trained_in
from safetensors.torch import load_file, save_file

from cascore.data import load_images
from cascore.errors import InputError
from cascore.evaluation.evaluate import evaluate
from cascore.evaluation.verify import settings_of_measurement, verify
from cascore.experiment.chain import resolved
from cascore.experiment.run_folder import read_experiment
from cascore.experiment.settings import EvaluationSettings, Sampler
from cascore.files import file_digest
from cascore.measurement import read_measurements, write_measurements
from cascore.preprocessing import FolderOptions
from cascore.progress import Display
from cascore.training import checkpoint

TWO = ("frechet", "precision-recall")


@pytest.fixture
def trained(tmp_path):
    return trained_in(tmp_path / "run", tiny(steps=2, save_every=1))


def again(records):
    return verify(records, root=None, device=CPU)


def test_a_run_is_found_again_to_the_bit_though_it_has_gone_on(trained):
    records = ask(trained, count=30, checkpoint="1", metrics=TWO).measurements
    verified = again(records)
    assert [number.outcome for number in verified] == ["equal"] * 8
    assert [number.measurement for number in verified] == records
    assert all(number.changes == () for number in verified)
    assert records[0].model.step == 1


def test_each_number_stands_for_itself_and_costs_one_sampling(trained, monkeypatch):
    records = ask(trained, count=30, metrics=("frechet", "kernel", "memorisation")).measurements
    calls = []

    class Counts(Display):
        def counting(self, title, total):
            calls.append((title, total))
            return super().counting(title, total)

    some = [records[-1], records[0]]  # of pixels, and of features
    verified = verify(some, root=None, device=CPU, display=Counts(Console(quiet=True)))
    assert [number.outcome for number in verified] == ["equal", "equal"]
    assert [number.measurement.metric for number in verified] == ["memorisation", "frechet"]
    assert calls == [("sampling", 4 * 30)]


def test_another_value_is_told_from_rounding_by_the_error(trained):
    record = ask(trained, count=30, metrics=("frechet",)).measurements[0]
    near = replace(record, value=record.value + 0.9 * record.error)
    far = replace(record, value=record.value + 1.1 * record.error)
    unknown = replace(record, value=record.value * (1 + 2e-4), error=None)
    rounded = replace(record, value=record.value * (1 + 5e-5), error=None)
    assert [number.outcome for number in again([near, far, unknown, rounded])] == [
        "within uncertainty", "different", "different", "within uncertainty",
    ]  # fmt: skip


def test_what_moves_by_rounding_is_told_and_does_not_decide(trained):
    record = ask(trained, count=30, metrics=("frechet",)).measurements[0]
    older = replace(
        record,
        software={**record.software, "torch": "1.0"},
        images=replace(record.images, digest="00" * 32),
    )
    (verified,) = again([older])
    assert verified.outcome == "equal"
    assert f"torch was 1.0, is {torch.__version__}" in verified.changes
    assert any(x.startswith("pixels of the samples was 000000000000") for x in verified.changes)


def test_what_even_draws_score_is_no_setting_of_the_measure(trained):
    """cascore 0.3 recorded it to first order in 1 / count."""
    record = next(
        x for x in ask(trained, count=30, metrics=("modes",)).measurements if x.metric == "modes-kl"
    )
    older = replace(record, settings={**record.settings, "perfect": 9 / 60})
    assert record.settings["perfect"] > 9 / 60
    assert [(number.outcome, number.changes) for number in again([older])] == [("equal", ())]


def test_other_weights_are_found_before_anything_is_computed(trained, monkeypatch):
    records = ask(trained, count=30, metrics=("frechet",)).measurements
    path = trained / "checkpoints" / "step-00000002" / "state.safetensors"
    tensors = load_file(path)
    name = next(x for x in tensors if x.startswith("ema.") and x.endswith("weight"))
    tensors[name] = tensors[name] + 1e-3
    save_file(tensors, path)
    record = json.loads((path.parent / "state.json").read_text())
    record["digest"] = file_digest(path)  # whole, but of another training
    (path.parent / "state.json").write_text(json.dumps(record))
    monkeypatch.setattr("cascore.evaluation.verify.evaluate", None)
    for number in again(records):
        assert number.outcome == "not computed"
        assert f"were {records[0].model.digest[:12]} at step 2" in number.changes[0]
    shutil.rmtree(path.parent)
    assert "no checkpoint '2'" in again(records)[0].changes[0]


def test_other_data_or_another_extractor_are_another_number(trained):
    record = ask(trained, count=30, metrics=("frechet",)).measurements[0]
    (reference,) = record.references
    other_data = replace(record, references=(replace(reference, digest="00" * 32),))
    other_eyes = replace(record, extractor=replace(record.extractor, digest="00" * 32))
    for other, message in (
        (other_data, "the real images digits train was 000000000000, is "),
        (other_eyes, "the extractor digits was 000000000000, is "),
    ):
        (verified,) = again([other])
        assert verified.outcome == "different"
        assert verified.value == record.value
        assert verified.changes[0].startswith(message)


def test_a_folder_that_changed_is_told(tmp_path):
    """Of images that are resized: how comes back from the record."""
    large = load_images("digits", "test").images[:40].repeat_interleave(2, 2)
    folder = write_images(large.repeat_interleave(2, 3), tmp_path / "a")
    options = FolderOptions(size=8, filter="box", crop="none")
    record = ask(folder, data="digits", folder=options, metrics=("frechet",)).measurements[0]
    assert settings_of_measurement(record).folder == options
    assert again([record])[0].outcome == "equal"
    shutil.copy(folder / "0000.png", folder / "0001.png")
    (verified,) = again([record])
    assert verified.outcome == "different"
    assert verified.changes[0].startswith(f"the images of {folder} was {record.images.digest[:12]}")
    (folder / "0001.png").unlink()
    assert again([record])[0].changes[1] == f"their count in {folder} was 40, is 39"


def test_statistics_of_a_folder_that_was_resized_are_found_again(trained, tmp_path):
    large = load_images("digits", "test").images[:40].repeat_interleave(2, 2)
    folder = write_images(large.repeat_interleave(2, 3), tmp_path / "a")
    statistics = tmp_path / "a.npz"
    options = ("--extractor", "pixels", "--size", 8, "--filter", "box", "--device", "cpu")
    assert run("reference", f"folder:{folder}", statistics, *options) == 0
    (record, *_) = ask(trained, count=30, data=str(statistics), metrics=("frechet",)).measurements
    assert record.references[0].settings == {"size": 8, "filter": "box"}
    assert again([record])[0].outcome == "equal"


def test_numbers_without_real_images_have_their_root_from_others_of_the_file(trained, monkeypatch):
    """The digits need none, but say that one was given; each root would be an evaluation."""
    records = ask(trained, count=30, root="elsewhere", metrics=("frechet", "modes")).measurements
    roots = []

    def noting(settings, **how):
        roots.append(settings.root)
        return evaluate(settings, **how)

    monkeypatch.setattr("cascore.evaluation.verify.evaluate", noting)
    assert {number.outcome for number in again(records)} == {"equal"}
    assert roots == ["elsewhere"]


@pytest.mark.parametrize(
    "sampler",
    [
        Sampler(kappa=float("inf"), calls=3),
        Sampler(method="als", calls=4, n_sigma=2),
        Sampler(order=1, eta=0.5, spacing="karras", levels="all"),
        Sampler(calls=3),
        Sampler(calls=3, spacing="geometric"),
    ],
)
def test_every_sampler_comes_back(trained, tmp_path, sampler):
    question = EvaluationSettings(
        path=trained, sampler=sampler, count=4, metrics=("frechet",), batch_size=3
    )
    records = evaluate(question, device=CPU).measurements
    write_measurements(tmp_path / "a.json", records)
    (record, *_) = read_measurements(tmp_path / "a.json")
    verified = settings_of_measurement(record).sampler
    schedule = read_experiment(trained).schedule
    assert resolved(verified, schedule) == resolved(sampler, schedule)
    assert settings_of_measurement(record).batch_size == 3
    assert again([record])[0].outcome == "equal"


def test_a_record_of_a_later_cascore_is_told(trained):
    record = ask(trained, count=4, metrics=("frechet",)).measurements[0]
    with pytest.raises(InputError, match="no number 'fid'"):
        again([replace(record, metric="fid")])
    sampler = replace(record.sampler, settings={**record.sampler.settings, "order": 7})
    with pytest.raises(InputError, match=r"sampler\.order is 7"):
        again([replace(record, sampler=sampler)])


def test_the_commands_load_a_model_once_and_the_exit_code_says_what_was_found(
    trained, tmp_path, capsys, monkeypatch
):
    true, hashed = checkpoint.file_digest, []
    monkeypatch.setattr(checkpoint, "file_digest", lambda path: hashed.append(path) or true(path))
    out = tmp_path / "a.json"
    asked = ("--calls", SAMPLER.calls, "--count", 30, "--metrics", "frechet", "memorisation")
    assert run("evaluate", trained, *asked, "--device", "cpu", "--out", out) == 0
    assert len(hashed) == 1
    assert run("verify", out) == 0
    assert len(hashed) == 2
    assert capsys.readouterr().out.count("equal") == 6
    plain = json.loads(out.read_text())
    plain[0]["value"] *= 2
    out.write_text(json.dumps(plain))
    assert run("verify", out) == 1
    assert capsys.readouterr().out.count("different") == 1
    shutil.rmtree(trained)
    assert run("verify", out) == 1
