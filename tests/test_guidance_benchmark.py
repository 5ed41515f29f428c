"""benchmarks/guidance.py: one classifier chooses, another judges, and a collapse is not chosen."""

import hashlib
import json

import pytest
import safetensors.torch
import torch
from running import run

from benchmarks.guidance import Judged, best, compare, reordered
from cascore.data import load_images
from cascore.errors import InputError
from cascore.evaluation.classes import proportional_labels
from cascore.experiment.settings import EvaluationSettings, Sampler
from cascore.metrics import load_classifier, read_classifier
from cascore.metrics.extractors.classifier import ConvNet
from cascore.model.loading import load
from cascore.pixels import to_uint8
from cascore.stats import Estimate


def row(guidance, agreement, recall, coverage):
    numbers = {"agreement": agreement, "class-recall": recall, "class-coverage": coverage}
    whole = {name: Estimate(value, 0.01) for name, value in numbers.items()}
    return Judged(guidance=guidance, judge="", whole=whole, classes={})


def test_the_best_agrees_most_among_those_that_keep_half_of_the_variety():
    rows = [row(0, 0.1, 0.8, 0.9), row(1, 0.6, 0.6, 0.8), row(2, 0.8, 0.31, 0.5)]
    assert best(rows) == 2
    assert best([*rows, row(3, 0.9, 0.29, 0.5)]) == 2  # less than half of the recall
    assert best([*rows, row(3, 0.9, 0.5, 0.39)]) == 2  # less than half of the coverage
    assert best([*rows, row(3, 0.9, 0.3, 0.4)]) == 3
    assert best(rows[:2]) == 1


@pytest.fixture(scope="module")
def chooser(tmp_path_factory):
    """A classifier of digits that knows nothing, as a file of `tools/train_classifier.py`."""
    torch.manual_seed(0)
    shape = {"image_shape": [1, 8, 8], "widths": [4], "dimension": 8, "classes": 10}
    path = tmp_path_factory.mktemp("chooser") / "digits.safetensors"
    path.write_bytes(safetensors.torch.save(ConvNet(**shape).state_dict()))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    card = {"name": "digits", "digest": digest, "accuracy": 0.1, **shape}
    path.with_suffix(".json").write_text(json.dumps(card))
    return read_classifier(path)


def test_a_model_of_classes_is_chosen_for_and_judged(chooser, tmp_path):
    options = ("--network.labels", "--network.width", "8", "--train.steps", "4")
    small = ("--train.batch-size", "8", "--threads", "1", "--device", "cpu")
    assert run("train", "digits", *options, *small, "--out", tmp_path / "run") == 0
    model = load(tmp_path / "run")
    settings = EvaluationSettings(path=model.folder, count=80, sampler=Sampler(calls=2))
    scan, rows = compare(model, chooser, weights=[0, 2], settings=settings)
    assert [each.guidance for each in scan] == [0, 1, 2]
    assert [each.guidance for each in rows] == sorted({0, 1, best(scan)})
    assert {each.judge for each in scan} == {chooser.identity.digest}
    judge = load_classifier("digits")
    assert {each.judge for each in rows} == {judge.identity.digest}
    metrics = ["agreement", "class-recall", "class-coverage"]
    for each in rows:
        assert list(each.whole) == metrics
        assert set(each.classes) == set("0123456789")
        assert all(set(numbers) == set(metrics) for numbers in each.classes.values())
    # The pictures that are judged are others than those that chose: their seeds come after.
    asked = proportional_labels(load_images("digits", "train"), model.classes, 80)
    drawn = model.draw(range(80, 160), settings.sampler, labels=asked)
    agreement = (judge.classify(to_uint8(drawn.denoised)) == asked).double().mean()
    plain = next(each for each in rows if each.guidance == 1)
    assert plain.whole["agreement"].mean == pytest.approx(float(agreement))
    with pytest.raises(InputError, match="would choose for itself"):
        compare(model, judge, weights=[], settings=settings)


def test_a_classifier_of_more_classes_judges_those_that_a_model_knows():
    known, asked = [*"0123456789"], ["7", "3"]
    classifier, digits = load_classifier("digits"), load_images("digits", "test")
    assert digits.labels is not None
    found = reordered(classifier, known, asked).classify(digits.images)
    plain = classifier.classify(digits.images)
    assert torch.equal(found == 0, plain == 7)
    assert torch.equal(found == 1, plain == 3)
    assert bool((found > 1).any())
    assert torch.equal(classifier.classify(digits.images), plain)  # as it was
    for names in (known[:9], [*known, "10"], [*known[:9], "nine"]):
        with pytest.raises(InputError, match="--known has"):
            reordered(classifier, names, ["9"])
