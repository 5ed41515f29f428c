"""The benchmarks of networks: what they keep."""

from benchmarks import network_calibration
from cascore import load
from cascore.schedule import geometric_sigmas


def test_fewer_samples_than_are_asked_for_are_drawn_anew(tmp_path):
    model, setting = load("digits"), network_calibration.Setting(2, 2.5, "geometric")
    sigmas = geometric_sigmas(10.0, 0.01, 2)
    counts = [
        len(network_calibration.drawn(model, setting, sigmas, count, tmp_path))
        for count in (2, 5, 3)
    ]
    assert counts == [2, 5, 3]
