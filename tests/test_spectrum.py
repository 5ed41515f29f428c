"""The variances of a training set: their numbers, and their way into a model's levels."""

import hashlib

import numpy as np
import pytest
import torch
from running import CPU, POINTS, run

from cascore.calibration import calibrated_sigmas
from cascore.data import ImageSet, load_images, load_points
from cascore.data.images import DataRecord
from cascore.data.spectrum import principal_variances
from cascore.errors import InputError
from cascore.experiment.run import training_run
from cascore.experiment.settings import Sampler
from cascore.model.loading import load

NOTHING = DataRecord(source="", split="")


def image_set(pixels):
    return ImageSet(name="a", split="train", images=pixels, labels=None, record=NOTHING)


def test_they_are_the_eigenvalues_of_the_covariance_of_pixels_and_of_points():
    """numpy's covariance of all 1,437 digits at once, and of points."""
    digits = load_images("digits", "train")
    points = load_points("swiss-roll", "train")
    for data, items in (
        (digits, digits.images.flatten(1).numpy() / 255.0),
        (points, points.points.double().numpy()[:: -(-points.count // 10_000)]),
    ):
        expected = np.linalg.eigvalsh(np.cov(items.T))[::-1]
        variances = principal_variances(data)
        assert variances.numpy() == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_what_has_none_or_too_many_is_left_to_the_power_law():
    assert principal_variances(image_set(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))) is None
    assert principal_variances(image_set(torch.zeros(3, 1, 80, 80, dtype=torch.uint8))) is None


def test_a_run_keeps_them_a_model_folder_takes_them_and_levels_follow(tmp_path):
    list(training_run(POINTS, tmp_path / "run", device=CPU))
    assert run("convert", tmp_path / "run", tmp_path / "model") == 0
    variances = principal_variances(load_points(POINTS.data.name, "train"))
    schedule, seen = POINTS.schedule, []
    for folder in (tmp_path / "run", tmp_path / "model"):
        model = load(folder)
        assert torch.equal(model.variances, variances)
        sampler = Sampler(calls=4, spacing="calibrated")
        model.draw([0], sampler, callback=lambda step, sigma, x, h: seen.append(sigma))
    expected = calibrated_sigmas(
        schedule.first, schedule.last, 4, variances=variances, kappa=2.5, blind=True
    )
    assert seen == 2 * expected.tolist()


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_a_file_that_holds_none_is_named(tmp_path, content):
    list(training_run(POINTS, tmp_path / "run", device=CPU))
    (tmp_path / "run" / "variances.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"variances\.npy"):
        load(tmp_path / "run")


def test_other_variances_than_were_written_are_refused_and_written_anew(tmp_path):
    folder = tmp_path / "run"
    list(training_run(POINTS, folder, device=CPU))
    path = folder / "variances.npy"
    whole, noted = path.read_bytes(), folder / "variances.npy.sha256"
    assert noted.read_text() == f"{hashlib.sha256(whole).hexdigest()}  variances.npy\n"
    for place in range(8 * (len(whole) - 8), 8 * len(whole), 7):  # in the two numbers
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"variances\.npy is not what was written"):
            load(folder)
    noted.unlink()  # as before 0.4
    path.write_bytes(whole)
    assert load(folder).variances is not None
    path.unlink()
    list(training_run(POINTS, folder, device=CPU))
    assert (path.read_bytes(), noted.is_file()) == (whole, True)
