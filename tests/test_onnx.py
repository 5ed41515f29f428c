"""Denoisers as ONNX graphs, run by onnxruntime: the denoiser, and our sampler in numpy."""

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from running import run
from test_examples import example

import cascore
from cascore.ecosystem.onnx import export_onnx
from cascore.errors import InputError, MissingExtraError

SIGMA = (5.0, 0.01)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """The shipped model that sees sigma, whose network has attention, by the command."""
    path = tmp_path_factory.mktemp("onnx") / "digits.onnx"
    assert run("export", "digits-aware", path) == 0
    return path


def test_the_graph_is_the_denoiser_for_any_number_of_samples(graph):
    onnx.checker.check_model(graph)
    session, model = onnxruntime.InferenceSession(str(graph)), cascore.load("digits-aware")
    for count in (1, 2, 5):
        generator = torch.Generator().manual_seed(count)
        sigma = 10 ** (3 * torch.rand(count, generator=generator) - 2)
        x = torch.randn(count, *model.shape, generator=generator) * (1 + sigma.reshape(-1, 1, 1, 1))
        (found,) = session.run(None, {"x": x.numpy(), "sigma": sigma.numpy()})
        with torch.no_grad():
            expected = model.denoiser(x, sigma).numpy()
        assert found == pytest.approx(expected, abs=1e-4)  # float32, of numbers up to 10
    facts = session.get_modelmeta().custom_metadata_map
    assert (facts["shape"], facts["weights"]) == ("1 8 8", model.digest)
    assert float(facts["sigma_first"]) == model.sigmas[0]
    assert float(facts["sigma_last"]) == model.sigmas[-1]
    assert float(facts["data_mean"]) == model.data_mean == 0.0


class Replayed:
    """The normal numbers that the example draws, the start first."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)

    def normal(self, shape, *, purpose, step=0, dtype=torch.float32, device="cpu"):
        return torch.from_numpy(self.random.standard_normal(tuple(shape))).to(dtype)


def test_the_example_in_numpy_is_our_sampler(graph):
    pictures = example("onnx_sampling").main(graph, count=4, calls=12, seed=3)
    model, noise = cascore.load("digits-aware"), Replayed(3)
    sigmas = cascore.geometric_sigmas(model.sigmas[0], model.sigmas[-1], 12)
    x = float(sigmas[0]) * noise.normal((4, *model.shape), purpose=None)
    ours = cascore.consistent_annealed(model.denoiser, x, sigmas, noise=noise).denoised
    expected = (ours.clamp(0, 1) * 255).round().numpy()
    assert np.abs(pictures - expected).max() <= 1  # of 255: rounding
    assert pictures.std() > 50  # digits, and no grey
    assert graph.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_the_example_starts_at_the_mean_of_the_data(tmp_path):
    """A model of photographs, whose form knows the mean of each colour."""
    assert run("export", "cifar-10", tmp_path / "photographs.onnx") == 0
    pictures = example("onnx_sampling").main(tmp_path / "photographs.onnx", count=2, calls=6)
    model, noise = cascore.load("cifar-10"), Replayed(0)
    sigmas = cascore.geometric_sigmas(model.sigmas[0], model.sigmas[-1], 6)
    x = float(sigmas[0]) * noise.normal((2, *model.shape), purpose=None)
    x = x + torch.tensor(model.data["spectrum"]["mean"]).reshape(3, 1, 1)
    ours = cascore.consistent_annealed(model.denoiser, x, sigmas, kappa=2.5, noise=noise).denoised
    expected = (ours.clamp(0, 1) * 255).round().numpy()
    assert np.abs(pictures - expected).max() <= 1  # of 255: rounding


class Wrong(torch.nn.Module):
    """Gives another number each time, so that no graph is like it."""

    def __init__(self):
        super().__init__()
        self.calls = 0.0

    def forward(self, x, sigma):
        self.calls += 1.0
        return x * self.calls


def test_a_graph_that_differs_is_not_written(tmp_path):
    with pytest.raises(InputError, match="differs from the network by"):
        export_onnx(Wrong(), tmp_path / "a.onnx", shape=(2,), ends=SIGMA)
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_form_is_told(tmp_path):
    class Masked(torch.nn.Module):
        def forward(self, x, sigma):
            attend = torch.nn.functional.scaled_dot_product_attention
            return attend(x, x, x, is_causal=True) * sigma.reshape(-1, 1, 1)

    with pytest.raises(InputError, match="no form in ONNX"):
        export_onnx(Masked(), tmp_path / "a.onnx", shape=(4, 4), ends=SIGMA)
    assert run("export", "digits", tmp_path) == 2  # a folder


def test_without_the_packages_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"needs onnxruntime.*cascore\[onnx\]"):
        export_onnx(torch.nn.Identity(), tmp_path / "a.onnx", shape=(2,), ends=SIGMA)
