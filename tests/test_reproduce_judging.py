"""What all studies measure with: real images, their floor, and samples by seed."""

from dataclasses import asdict

import pytest
import torch
from running import silent

from cascore.data import load_images
from cascore.experiment.generate import generate
from cascore.metrics import frechet_distance, load_extractor, real_floor
from cascore.metrics.frechet import FeatureMoments
from cascore.model.pretrained import find_model
from cascore.pixels import to_float, to_uint8
from cascore.reproduce import judging
from cascore.reproduce.judging import Judge
from cascore.reproduce.sampler import Sampler
from cascore.reproduce.workshop import Trained

CPU = torch.device("cpu")


def images(split):
    return load_images("digits", split).images


def test_the_floor_is_that_of_all_real_images_each_of_which_is_seen_once(tmp_path, monkeypatch):
    extractor = load_extractor("digits", image_shape=(1, 8, 8), device=CPU)
    seen = []

    class Counting:
        identity = extractor.identity

        def __call__(self, pixels):
            seen.append(len(pixels))
            return extractor(pixels)

    monkeypatch.setattr(judging, "load_extractor", lambda name, **settings: Counting())
    judge = Judge("digits", ("digits",), silent(tmp_path))
    found = judge.floors(count=50)
    every = torch.cat([images("train"), images("test")])
    wanted = real_floor(
        extractor(every),
        count=50,
        reference_count=len(images("train")),
        repeats=20,
        seed=0,
        extractor=extractor.identity,
    )
    # The test asks for 1,797 features at once, the judge for 1,437 and 360: other shapes may be
    # other kernels, and their features differ by rounding (2e-9 of the floor was measured).
    measured, expected = found.pop("digits"), asdict(wanted)
    assert found == {}
    for name in ("mean", "spread"):
        assert measured.pop(name) == pytest.approx(expected.pop(name), rel=1e-6)
    assert measured == expected
    judge.distances(to_float(images("test")[:50]))
    assert seen == [len(images("train")), len(images("test")), 50]


def test_a_measurement_holds_the_distances_of_both_outcomes_of_its_seed(tmp_path):
    from cascore import load

    model = load(find_model("digits"))
    judge = Judge("digits", ("digits", "pixels"), silent(tmp_path))
    sampler = Sampler(steps=3)
    trained = Trained(model, model.digest)
    found = judge.measured(trained, judge.sample(trained, sampler, seed=2, count=40))
    samples = generate(
        model.denoiser,
        shape=model.shape,
        seeds=range(2_000_000, 2_000_040),
        sampler=sampler.now,
        schedule=model.experiment.schedule,
        device=CPU,
    )
    for outcome, drawn in (("raw", samples.raw), ("denoised", samples.denoised)):
        for name in judge.extractors:
            extractor = load_extractor(name, image_shape=(1, 8, 8), device=CPU)
            ours, real = (
                FeatureMoments.of(extractor(each), extractor=extractor.identity)
                for each in (to_uint8(drawn), images("train"))
            )
            wanted = frechet_distance(ours, real)
            assert abs(found[outcome][name]["value"] - wanted) < 1e-6 * max(1.0, wanted)
    assert (found["nfe"], found["checkpoint"]) == (3, model.digest)
    assert found["reference"] == load_images("digits", "train").digest
