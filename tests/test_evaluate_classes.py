"""Pictures asked for by class: in whose proportions, whether they are of it, how much of it."""

import json
from dataclasses import replace

import pytest
import torch
from evaluating import ask
from running import CPU, run

from cascore.data import ImageSet, load_images
from cascore.errors import InputError
from cascore.evaluation.classes import of_classes, proportional_labels
from cascore.evaluation.evaluate import reference_for
from cascore.evaluation.verify import verify
from cascore.experiment.settings import EvaluationSettings
from cascore.measurement import read_measurements
from cascore.metrics import load_classifier
from cascore.model.loading import load
from cascore.model.pretrained import find_model

NAMES = tuple("0123456789")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes") / "run"
    options = ("--network.labels", "--train.steps", "2", "--train.batch-size", "8")
    small = ("--network.width", "8", "--threads", "1", "--device", "cpu")
    assert run("train", "digits", *options, *small, "--out", folder) == 0
    return folder


@pytest.fixture(scope="module")
def reference(folder):
    return reference_for(EvaluationSettings(path=folder, count=360), load(folder), device=CPU)


@pytest.fixture(scope="module")
def blank(folder):
    record = ask(folder, count=20, metrics=("frechet",)).measurements[0]
    return replace(record, floor=None, references=(), extractor=None)


def numbers(blank, images, labels, reference):
    found = list(of_classes(blank, images, reference.see(images), labels, reference))
    return {(x.metric, x.settings.get("class")): (x.value, x.error) for x in found}


@pytest.mark.parametrize("count", [7, 100, 1437, 5000])
def test_classes_are_asked_for_as_often_as_real_images_have_them(count):
    real = load_images("digits", "train")
    labels = proportional_labels(real, NAMES, count)
    exact = torch.tensor([float((real.labels == c).sum()) * count / 1437 for c in range(10)])
    assert len(labels) == count
    assert torch.equal(labels, labels.sort().values)
    assert bool(((torch.bincount(labels, minlength=10) - exact).abs() < 1).all())
    if count == 1437:
        assert torch.equal(labels, real.labels.sort().values)


def test_real_held_out_images_are_of_their_class_as_often_as_the_classifier_knows(reference, blank):
    test = load_images("digits", "test")
    found = numbers(blank, test.images, test.labels, reference)
    value, error = found["agreement", None]
    assert value == load_classifier("digits").accuracy
    assert error == pytest.approx((value * (1 - value) / 360) ** 0.5, rel=0.2)
    per_class = [found["agreement", name][0] for name in NAMES]
    shares = torch.bincount(test.labels).double() / 360
    assert sum(x * float(s) for x, s in zip(per_class, shares, strict=True)) == pytest.approx(value)
    # Of equal laws recall is high, and coverage expected at about 1 - 2^-5.
    assert found["class-recall", None][0] > 0.6
    assert found["class-coverage", None][0] == pytest.approx(1 - 2**-5, abs=0.05)
    mean = sum(found["class-recall", name][0] for name in NAMES) / 10
    assert found["class-recall", None][0] == pytest.approx(mean)


def test_the_record_says_how_many_real_images_a_class_was_compared_with(reference, blank):
    test = load_images("digits", "test")
    found = of_classes(blank, test.images, reference.see(test.images), test.labels, reference)
    counts = torch.bincount(test.labels).tolist()
    expected = dict(zip(NAMES, counts, strict=True)) | {None: 360}
    for record in found:
        (*facts,) = record.references  # of agreement none
        assert [real.count for real in facts] == [expected[record.settings.get("class")]][
            : len(facts)
        ]
        assert bool(facts) == record.metric.startswith("class-")


def test_pictures_of_other_classes_agree_with_none_and_cover_nothing(reference, blank):
    test = load_images("digits", "test")
    found = numbers(blank, test.images, (test.labels + 1) % 10, reference)
    assert found["agreement", None][0] < 0.05
    assert found["class-coverage", None][0] < 0.1


def test_one_picture_of_each_class_again_and_again_is_of_it_and_recalls_nothing(reference, blank):
    train = load_images("digits", "train")
    firsts = torch.stack([train.images[train.labels == c][0] for c in range(10)])
    labels = torch.arange(10).repeat_interleave(36)
    found = numbers(blank, firsts[labels], labels, reference)
    assert found["agreement", None][0] > 0.9
    assert found["class-recall", None][0] < 0.05
    assert found["class-coverage", None][0] < 0.3


def test_a_class_of_too_few_pictures_is_left_out_of_what_compares_them(reference, blank):
    test = load_images("digits", "test")
    order = test.labels.argsort(stable=True)  # all of class 0 but five come first
    rows = order[(test.labels[order] != 0).nonzero()[:, 0]]
    rows = torch.cat([order[:5], rows, rows])[:360]
    found = numbers(blank, test.images[rows], test.labels[rows], reference)
    assert ("class-recall", "0") not in found
    assert ("agreement", "0") in found
    assert ("class-recall", "1") in found


def test_the_command_judges_by_class_and_its_record_is_found_again(folder, tmp_path, capsys):
    out = tmp_path / "numbers.json"
    options = ("--count", "80", "--calls", "2", "--device", "cpu", "--metrics", "classes")
    assert run("evaluate", folder, *options, "--guidance", "2", "--out", out) == 0
    assert "guidance 2, 2 calls, 80 images" in " ".join(capsys.readouterr().out.split())
    records = read_measurements(out)
    assert {record.sampler.settings["guidance"] for record in records} == {2.0}
    assert {record.settings.get("class") for record in records} == {None, *NAMES}
    some = [x for x in records if x.settings.get("class") in (None, "3")]
    assert {found.outcome for found in verify(some, root=None, device=CPU)} == {"equal"}
    other = replace(some[0], sampler=replace(some[0].sampler, settings={"guidance": "much"}))
    with pytest.raises(InputError, match="guidance is 'much'"):
        verify([other], root=None, device=CPU)


def test_weight_0_asks_for_no_class_and_what_knows_none_is_refused(folder, tmp_path):
    plain = ask(folder, count=40, metrics=("frechet",))
    zero = ask(folder, count=40, metrics=("frechet",), guidance=0.0)
    assert torch.equal(plain.images["raw"], zero.images["raw"])
    with pytest.raises(InputError, match="know classes"):
        ask(find_model("digits"), count=40, guidance=1.0)
    with pytest.raises(InputError, match="no class was asked for"):
        ask(folder, count=40, metrics=("classes",))
    real = load_images("digits", "train")
    unnamed = ImageSet("x", "train", real.images, None, real.record)
    for images, names in ((None, NAMES), (unnamed, NAMES), (real, NAMES[1:])):
        with pytest.raises(InputError, match="as often as real images have them"):
            proportional_labels(images, names, 10)
    samples = tmp_path / "samples"
    assert run("sample", folder, "--count", "4", "--calls", "2", "--out", samples) == 0
    assert json.loads((samples / "record.json").read_text())["count"] == 4
    options = ("--data", "digits", "--guidance", "1")
    assert run("evaluate", samples / "raw", *options) == 2
