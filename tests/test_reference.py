"""Reference statistics: ours with their provenance, those of others without."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from evaluating import ask, write_images
from running import run

from cascore.data import load_images
from cascore.errors import InputError
from cascore.evaluation.reference import read_statistics
from cascore.metrics import FeatureMoments, load_classifier
from cascore.preprocessing import FolderOptions


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(
        load_images("digits", "test").images[:80], tmp_path_factory.mktemp("i") / "a"
    )


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    path = tmp_path_factory.mktemp("statistics") / "digits.npz"
    assert run("reference", "digits", path, "--device", "cpu") == 0
    return path


def moments():
    eyes = load_classifier("digits")
    train = load_images("digits", "train").images
    return FeatureMoments.of(eyes(train), extractor=eyes.identity)


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_our_statistics_stand_for_the_images(ours, images):
    record = ask(images, data=str(ours)).measurements[0]
    direct = ask(images, data="digits", metrics=("frechet",)).measurements[0]
    # Moments in float64, of features that may be of other batches: rounding in float32.
    assert record.value == pytest.approx(direct.value, rel=1e-6)
    assert record.references == direct.references
    assert record.extractor == direct.extractor
    assert record.error == pytest.approx(direct.error, rel=1e-6)


def test_our_file_says_where_it_comes_from_and_others_can_read_it(ours):
    with np.load(ours, allow_pickle=False) as file:
        assert sorted(file.files) == ["count", "mu", "provenance", "sigma"]
        mu, sigma = file["mu"], file["sigma"]
        said = json.loads(str(file["provenance"]))
    expected = moments()
    # Whitened features are of size 1; those of other batches differ by rounding in float32.
    assert np.allclose(mu, expected.mean, rtol=0, atol=1e-6)
    assert np.allclose(sigma, expected.covariance, rtol=0, atol=1e-6)
    assert said["schema"] == "cascore.statistics/1"
    assert said["reference"]["digest"] == load_images("digits", "train").digest
    assert said["command"].startswith("cascore reference digits")
    found = read_statistics(ours)
    assert found.facts.count == 1437
    assert found.extractor == expected.extractor


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_files_of_others_serve_the_frechet_distance_and_are_marked(tmp_path, images, kind):
    known = moments()
    sigma = known.covariance.numpy().astype(kind)
    sigma[0, 1] += 1e-7  # as sums in another order leave it
    path = save(tmp_path / "fid.npz", mu=known.mean.numpy().astype(kind), sigma=sigma)
    with pytest.raises(InputError, match="does not say which extractor made its 64 features"):
        ask(images, data=str(path))
    answer = ask(images, data=str(path), extractor="digits")
    (record,) = answer.measurements
    direct = ask(images, data="digits", metrics=("frechet",)).measurements[0]
    tolerance = 1e-6 if kind is np.float64 else 1e-4
    assert record.value == pytest.approx(direct.value, rel=tolerance)
    (reference,) = record.references
    assert (reference.provenance, reference.count, reference.split) == ("unknown", None, None)
    assert (reference.kind, reference.name) == ("statistics", str(path))
    assert record.floor is None
    assert [notice.partition(" ")[0] for notice in answer.notices] == [
        "kernel", "precision-recall", "memorisation",
    ]  # fmt: skip


def test_another_extractor_than_that_of_the_file_is_refused(ours, images):
    with pytest.raises(InputError, match="64 dimensions, features of random-convolution have 256"):
        ask(images, data=str(ours), extractor="random-convolution")
    with pytest.raises(InputError, match="holds statistics of 'digits'"):
        ask(images, data=str(ours), extractor="pixels")  # 64 of them, too


def test_statistics_of_images_of_another_shape_or_from_other_steps_are_refused(tmp_path):
    """Where both are known: random convolutions take any shape, and would give some number."""
    folder = write_images(load_images("digits", "test").images[:20], tmp_path / "a")
    other = write_images(torch.zeros(20, 3, 8, 8, dtype=torch.uint8), tmp_path / "b")
    path, steps = tmp_path / "real.npz", ("--size", 12, "--filter", "box")
    assert run("reference", f"folder:{folder}", path, "--split", "all", *steps) == 0
    same = FolderOptions(size=12, filter="box")
    assert ask(folder, data=str(path), folder=same, metrics=("frechet",)).measurements
    for judged, options, told in (
        (folder, FolderOptions(), r"of shape \[1, 12, 12\], and those judged are \[1, 8, 8\]"),
        (other, same, r"\[1, 12, 12\], and those judged are \[3, 12, 12\]"),
        (folder, replace(same, filter="lanczos"), "filter box, and those judged with filter lan"),
    ):
        with pytest.raises(InputError, match=told):
            ask(judged, data=str(path), folder=options, metrics=("frechet",))
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    said = json.loads(str(arrays["provenance"]))
    assert said.pop("shape") == [1, 12, 12]
    assert read_statistics(path).facts.count == 20
    old = save(tmp_path / "old.npz", **arrays | {"provenance": np.array(json.dumps(said))})
    assert read_statistics(old).shape is None  # as cascore 0.3 wrote it


GOOD = {"mu": np.zeros(2), "sigma": np.eye(2)}


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"mu": np.zeros(2)}, "holds mu; expected arrays mu and sigma"),
        ({**GOOD, "mu": np.zeros(3)}, r"mu has shape \[3\] and sigma \[2, 2\]"),
        ({**GOOD, "sigma": np.eye(2)[None]}, r"sigma \[1, 2, 2\]"),
        ({**GOOD, "sigma": np.array([[1.0, 0.5], [0.4, 1.0]])}, "not symmetric"),
        ({**GOOD, "sigma": -np.eye(2)}, "negative variances"),
        ({**GOOD, "sigma": np.array([[1.0, 2.0], [2.0, 1.0]])}, "eigenvalues from -1 to 3"),
        ({**GOOD, "mu": np.array([0.0, np.nan])}, "NaN"),
        ({**GOOD, "mu": np.array([0, 1])}, "holds int64"),
        ({**GOOD, "mu": np.array([None, 1])}, "claims object"),
        ({**GOOD, "count": np.array(1)}, "of 1 images"),
        ({**GOOD, "provenance": np.array("{")}, "not JSON"),
        ({**GOOD, "provenance": np.array('{"schema": "other"}')}, "schema is 'other'"),
        (
            {**GOOD, "provenance": np.array('{"schema": "cascore.statistics/1"}')},
            "provenance.extractor is missing",
        ),
    ],
)
def test_what_is_not_a_mean_and_a_covariance_is_refused(tmp_path, arrays, told):
    with pytest.raises(InputError, match=told):
        read_statistics(save(tmp_path / "a.npz", **arrays))


def test_statistics_of_more_dimensions_than_the_images_have_are_said_to_be(tmp_path, images):
    path = save(tmp_path / "large.npz", mu=np.zeros(3072, np.float32), sigma=np.zeros((2, 2)))
    with pytest.raises(InputError, match="3,072 dimensions, more than"):
        ask(images, data=str(path), extractor="pixels")


def test_files_that_are_none_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("<!DOCTYPE html>")
    (tmp_path / "pickle.npz").write_bytes(b"\x80\x04K\x01.")
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    for name in ("text", "pickle", "absent", "array"):
        with pytest.raises(InputError, match="cannot be read as statistics"):
            read_statistics(tmp_path / f"{name}.npz")
