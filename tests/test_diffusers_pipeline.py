"""Our networks in a pipeline of diffusers."""

from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch

import cascore
from cascore.denoiser import rescaled
from cascore.diffusers import CascorePipeline
from cascore.errors import InputError
from cascore.experiment.chain import chain_sigmas
from cascore.experiment.settings import Data, Experiment, Network, Sampler, Schedule
from cascore.model.loading import Model, built_denoiser
from cascore.sampling import consistent_annealed

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # diffusers'
SHAPE = (1, 8, 8)


class Drawn:
    """The numbers of one generator, the start first."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(5)

    def normal(self, shape, *, purpose, step=0, dtype=torch.float32, device="cpu"):
        return torch.randn(tuple(shape), generator=self.generator)


def model(tmp_path, *, labels=False, pixels=None):
    network = Network(width=8, multipliers=(1, 2), blocks=1, attention=(False, False))
    schedule = Schedule(first=5.0, last=0.01, levels=20)
    experiment = Experiment(
        name="small", network=replace_labels(network, labels), schedule=schedule
    )
    data = {"name": "digits", "classes": ["a", "b", "c"]}
    denoiser = built_denoiser(experiment, SHAPE, data, pixels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for parameter in denoiser.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return Model(
        denoiser=denoiser.eval(), shape=SHAPE, experiment=experiment, step=0, digest="", data=data,
        folder=tmp_path, pixel_range=pixels,
    )  # fmt: skip


def replace_labels(network, labels):
    return Network(**{**vars(network), "labels": labels})


def drawn(pipe, count=3, **given):
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(5)
    return pipe(count, generator, output_type="pt", **given).images


@pytest.mark.parametrize(
    ("name", "calls"),
    [("digits", 12), ("digits-aware", 5), ("digits-aware", 12), ("digits-aware", 29),
     ("cifar-10", 6)],
)  # fmt: skip
def test_it_draws_what_our_sampler_draws(name, calls):
    """One that is blind; one that knows its 28 levels alone; one that saw every sigma."""
    shipped = cascore.load(name)
    pipe = CascorePipeline.from_model(shipped)
    found, noise = drawn(pipe, num_inference_steps=calls), Drawn()
    schedule, chain = shipped.experiment.schedule, shipped.chain(Sampler(calls=calls))
    x = shipped.data_mean + schedule.first * noise.normal((3, *shipped.shape), purpose=None)
    sigmas = chain_sigmas(chain, schedule)
    ours = consistent_annealed(
        shipped.denoiser, x, sigmas, kappa=chain.kappa, order=chain.order, noise=noise
    )
    assert torch.allclose(found, ours.denoised.clamp(0, 1), atol=1e-5)
    assert found.std() > 0.1  # pictures, and no grey


@pytest.mark.parametrize("pixels", [None, (-1.0, 1.0)])
def test_it_is_saved_and_loaded_by_their_loader(tmp_path, pixels):
    """`from_pretrained` is that of `diffusers.DiffusionPipeline`."""
    pipe = CascorePipeline.from_model(model(tmp_path, pixels=pixels))
    pipe.save_pretrained(tmp_path / "saved")
    files = {file.name for file in (tmp_path / "saved" / "unet").iterdir()}
    assert files == {"config.json", "diffusion_pytorch_model.safetensors"}
    loaded = CascorePipeline.from_pretrained(tmp_path / "saved")
    assert isinstance(loaded, diffusers.DiffusionPipeline)
    assert torch.equal(drawn(loaded), drawn(pipe))
    assert (pixels is None) == (not isinstance(loaded.unet.denoiser, type(rescaled(len, 0, 1))))


def test_its_defaults_are_saved_with_it(tmp_path):
    pipe = CascorePipeline.from_model(cascore.load("digits-aware"))
    pipe.save_pretrained(tmp_path / "saved")
    loaded = CascorePipeline.from_pretrained(tmp_path / "saved")
    assert torch.equal(drawn(loaded, num_inference_steps=5), drawn(pipe, num_inference_steps=5))


def test_no_path_of_the_machine_that_trained_is_saved(tmp_path):
    plain = model(tmp_path)
    data = Data(name="folder:/home/someone/photos", root="/home/someone/data")
    private = replace(
        plain,
        experiment=replace(plain.experiment, data=data),
        data={"name": data.name, "record": {"source": data.name, "remarks": [data.root]}},
    )
    CascorePipeline.from_model(private).save_pretrained(tmp_path / "saved")
    files = [path for path in (tmp_path / "saved").rglob("*.json") if path.is_file()]
    assert len(files) == 3
    for path in files:
        assert "/home" not in path.read_text(), path
    assert "folder:photos" in (tmp_path / "saved" / "unet" / "config.json").read_text()


def test_a_class_is_asked_for(tmp_path):
    pipe = CascorePipeline.from_model(model(tmp_path, labels=True))
    one, other, none = (
        drawn(pipe, class_labels=label)
        for label in (torch.zeros(3).long(), torch.ones(3).long(), None)
    )
    assert not torch.equal(one, other)
    assert not torch.equal(one, none)


def test_classes_follow_the_network_to_its_device(tmp_path):
    class Elsewhere:
        """Labels that are none before they are moved."""

        def to(self, device):
            return torch.ones(3, dtype=torch.int64, device=device)

    pipe = CascorePipeline.from_model(model(tmp_path, labels=True))
    found = drawn(pipe, class_labels=Elsewhere())
    assert torch.equal(found, drawn(pipe, class_labels=torch.ones(3).long()))


def test_pictures_come_in_their_forms(tmp_path):
    pipe = CascorePipeline.from_model(cascore.load("digits"))
    tensors = drawn(pipe)
    generator = torch.Generator().manual_seed(5)
    arrays = pipe(3, generator, output_type="np").images
    assert np.array_equal(arrays, tensors.permute(0, 2, 3, 1).numpy())
    ((picture, *_),) = pipe(1, return_dict=False)
    assert (picture.size, picture.mode) == ((8, 8), "L")


def test_points_are_refused(tmp_path):
    points = replace(model(tmp_path), shape=(2,))
    with pytest.raises(InputError, match="is of points"):
        CascorePipeline.from_model(points)
