from collections.abc import Callable

import numpy as np
import pytest
import torch
from features import uint8
from PIL import Image
from scipy import signal
from torch import Tensor, nn

from cascore.data import load_images
from cascore.errors import InputError
from cascore.metrics import (
    FeatureExtractor,
    extractor_names,
    feature_moments,
    frechet_distance,
    load_extractor,
    module_extractor,
    random_convolution,
)
from cascore.metrics.extractors.random_network import fixed_network
from cascore.pixels import to_float, to_uint8


class Summary(nn.Module):
    """Means of the channels and of the left half, after batch normalisation."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.scale = nn.Parameter(torch.tensor([2.0], dtype=torch.bfloat16))

    def forward(self, x):
        x = self.norm(x)
        return torch.cat(
            [x.mean(dim=(2, 3)), x[..., : x.shape[3] // 2].mean(dim=(1, 2, 3))[:, None]], 1
        )


def summary(module=None, **changes):
    settings = {
        "name": "summary",
        "dimension": 4,
        "side": 12,
        "mean": (0.5, 0.4, 0.3),
        "deviation": (0.2, 0.3, 0.4),
        "batch_size": 7,
    }
    return module_extractor(module or Summary().eval(), **settings | changes)


EXTRACTORS: dict[str, tuple[Callable[[], FeatureExtractor], tuple[int, int, int]]] = {
    "digits": (lambda: load_extractor("digits"), (1, 8, 8)),
    "pixels": (lambda: load_extractor("pixels", image_shape=(3, 5, 4)), (3, 5, 4)),
    "random-convolution": (lambda: load_extractor("random-convolution"), (3, 13, 10)),
    "module": (summary, (1, 9, 16)),
}


@pytest.mark.parametrize("name", EXTRACTORS)
def test_the_contract(name):
    make, shape = EXTRACTORS[name]
    extractor, images = make(), uint8(100, *shape, seed=0)
    kept = images.clone()
    features = extractor(images)
    assert torch.equal(images, kept)
    assert features.shape == (100, extractor.dimension)
    assert (features.dtype, features.device.type) == (torch.float32, "cpu")
    assert not features.requires_grad
    assert torch.equal(features, extractor(images))  # at one batch size, the same bits
    assert extractor(images[:0]).shape == (0, extractor.dimension)
    assert make().identity == extractor.identity
    assert len(extractor.identity.digest) == 64
    for size in (1, 16):
        others = torch.cat([extractor(part) for part in images.split(size)])
        error = (others - features).norm(dim=1) / features.norm(dim=1)
        # Features are sums of at most some thousand float32 products in another order.
        assert float(error.max()) < 1e-5
    for bad in (images.float(), images[0], uint8(2, 2, *shape[1:], seed=1)):
        with pytest.raises(InputError, match=r"takes torch.uint8 of shape \[N, "):
            extractor(bad)


def test_pixels_are_the_pixels():
    images = uint8(3, 3, 4, 5, seed=2)
    extractor = load_extractor("pixels", image_shape=(3, 4, 5))
    np.testing.assert_array_equal(
        extractor(images), images.numpy().reshape(3, 60).astype(np.float32) / np.float32(255)
    )
    other = load_extractor("pixels", image_shape=(3, 5, 4))  # as many, but in other places
    assert extractor.identity != other.identity


def literal_random_convolution(image):
    """Raw features of one image [C, H, W] in [0, 1], by SciPy in float64."""
    x = 2 * np.broadcast_to(image, (3, *image.shape[1:])).astype(np.float64) - 1
    result = []
    for stage, (kernel, offset) in enumerate(fixed_network().filters):
        if stage:
            height, width = x.shape[1] // 2, x.shape[2] // 2
            x = x[:, : 2 * height, : 2 * width].reshape(len(x), height, 2, width, 2).mean((2, 4))
        edge = kernel.shape[-1] // 2
        padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge)), mode="edge")
        x = np.stack(
            [
                sum(
                    signal.correlate2d(c, k, mode="valid") for c, k in zip(padded, row, strict=True)
                )
                for row in kernel.numpy().astype(np.float64)
            ]
        )
        x = np.maximum(x + offset.numpy()[:, None, None], 0)
        top, left = x.shape[1] // 2, x.shape[2] // 2
        quarters = [
            x[:, rows, columns]
            for rows in (slice(top), slice(top, None))
            for columns in (slice(left), slice(left, None))
        ]
        result.append(np.stack([quarter.mean((1, 2)) for quarter in quarters], axis=1).ravel())
    return np.concatenate(result)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 24)])
def test_random_convolution_is_its_description(shape):
    network, images = fixed_network(), uint8(2, *shape, seed=3)
    raw = np.stack([literal_random_convolution(image.numpy() / 255) for image in images])
    expected = (raw - network.mean.numpy()) @ network.whitening.double().numpy()
    # Whitening multiplies rounding by at most 1 / √(λ_max / 100), about 4.
    np.testing.assert_allclose(random_convolution()(images), expected, rtol=0, atol=1e-4)


def test_random_convolution_never_changes():
    extractor = random_convolution()
    # It covers the weights and the description, and stands in users' records.
    assert extractor.identity.digest == (
        "08c30a32ce9d91bdb8e6062ffd1d3b629c127a0370009c127a6a3ad32fe893cc"
    )


def test_random_convolution_sees_noise_blur_and_colour():
    extractor = random_convolution()
    train, test = (load_images("digits", split).images for split in ("train", "test"))
    reference = feature_moments(extractor, train)

    def distance(pixels):
        return frechet_distance(feature_moments(extractor, to_uint8(pixels)), reference)

    real = to_float(test)
    noise = torch.randn(test.shape, generator=torch.Generator().manual_seed(4))
    noisy = [distance((real + sigma * noise).clamp(0, 1)) for sigma in (0, 0.05, 0.1, 0.2)]
    assert noisy == sorted(noisy)
    assert noisy[2] > 2 * noisy[0]
    blurred = nn.functional.avg_pool2d(real, 3, stride=1, padding=1, count_include_pad=False)
    assert distance(blurred) > 2 * noisy[0]
    red = real * torch.tensor([1, 0.6, 0.6])[:, None, None]
    assert distance(red) > 2 * noisy[0]
    assert distance(real.expand(-1, 3, -1, -1)) == pytest.approx(noisy[0], rel=1e-12)


@pytest.mark.parametrize("name", ["digits", "random-convolution"])
def test_a_device_that_is_not_there(name):
    for device in ("nowhere", "cuda:99"):
        with pytest.raises(InputError, match=f"cannot compute on the device '{device}'.*try cpu"):
            load_extractor(name, device=device)
    assert load_extractor(name, device="cpu").identity.name == name


class Spy(nn.Module):
    """Means of the channels; keeps what it was given, and the precision it was called in."""

    def __init__(self):
        super().__init__()
        self.seen: list[Tensor] = []
        self.coarse: list[bool] = []

    def forward(self, x):
        self.seen.append(x)
        self.coarse.append(torch.backends.cudnn.allow_tf32 or torch.is_autocast_enabled("cpu"))
        return x.mean(dim=(2, 3))


@pytest.mark.parametrize("stripes", [False, True])
def test_a_module_sees_prepared_images(stripes):
    images, spy = uint8(9, 3, 20, 30, seed=6), Spy().eval()
    if stripes:  # enlarged edges, where bicubic overshoots; Pillow clips after each direction
        images = (images[:, :, :1, :4] // 128 * 255).expand(-1, -1, 5, -1).contiguous()
    features = summary(spy, dimension=3)(images)
    assert [len(x) for x in spy.seen] == [7, 2]
    # Pillow's bicubic resize, which rounds to 8 bits: an error of half a step of 1 / 255, and a
    # little for its fixed-point weights.
    for image, x, row in zip(images, torch.cat(spy.seen), features, strict=True):
        resized = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((12, 12), Image.BICUBIC)
        pixels = np.asarray(resized).transpose(2, 0, 1) / 255
        mean, deviation = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.3, 0.4])
        expected = (pixels - mean[:, None, None]) / deviation[:, None, None]
        np.testing.assert_allclose(x, expected, rtol=0, atol=1 / 255 / 0.2)
        np.testing.assert_allclose(row, x.mean(dim=(1, 2)), rtol=0, atol=1e-6)


def test_a_module_without_a_side_sees_images_as_they_are():
    images = uint8(2, 1, 3, 4, seed=7)
    extractor = summary(nn.Flatten().eval(), dimension=12, side=None, mean=[0.5], deviation=[0.5])
    np.testing.assert_allclose(
        extractor(images), images.flatten(1).numpy() / 127.5 - 1, rtol=0, atol=1e-6
    )
    with pytest.raises(InputError, match=r"\[N, 1, H, W\]"):
        extractor(uint8(2, 3, 3, 4, seed=7))


def test_a_digest_covers_tensors_and_preparation():
    base = summary()
    assert summary().identity == base.identity
    changes = ({"side": 13}, {"mean": (0.5, 0.4, 0.2)}, {"deviation": (0.2, 0.3, 0.5)})
    assert all(summary(**change).identity != base.identity for change in changes)
    assert summary(batch_size=1).identity == base.identity
    other = Summary().eval()
    with torch.no_grad():
        other.norm.running_mean[1] += 1e-6
    assert summary(other).identity != base.identity
    renamed = summary(name="other")
    assert renamed.identity.digest == base.identity.digest
    assert renamed.identity != base.identity


def test_modules_that_cannot_serve():
    images = uint8(2, 3, 8, 8, seed=8)
    with pytest.raises(InputError, match=r"training mode.*\.eval\(\)"):
        summary(Summary())(images)
    with pytest.raises(InputError, match=r"returned \(2, 4\) for 2 images.*\(2, 5\)"):
        summary(dimension=5)(images)

    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(InputError, match="returned <class 'tuple'>"):
        summary(Pair().eval())(images)

    class Odd(nn.Module):
        def get_extra_state(self):
            return "a word"

    with pytest.raises(InputError, match="not a tensor"):
        summary(Odd().eval())
    for change in (
        {"mean": (0.5,)},
        {"mean": (), "deviation": ()},
        {"deviation": (0.1, 0, 0.1)},
        {"dimension": 0},
        {"side": 0},
        {"batch_size": 0},
    ):
        with pytest.raises(InputError, match="expected"):
            summary(**change)


def test_extraction_is_not_lowered_in_precision_by_the_caller():
    extractor, images, spy = random_convolution(), uint8(4, 3, 16, 16, seed=9), Spy().eval()
    expected = extractor(images)
    before = torch.backends.cudnn.allow_tf32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(extractor(images), expected)
        summary(spy, dimension=3)(images)
    assert spy.coarse == [False]
    assert torch.backends.cudnn.allow_tf32 == before


def test_features_by_name():
    assert {"digits", "mnist", "pixels", "inception"} < set(extractor_names())
    assert load_extractor("digits", image_shape=(1, 8, 8)).identity.name == "digits"
    for name, shape, message in (
        ("digits", (3, 32, 32), r"takes torch.uint8 of shape \[N, 1, 8, 8\]"),
        ("random-convolution", (1, 4, 4), "at least 8"),
        ("pixels", None, "give image_shape"),
        ("../weights/digits", None, r"known are cifar-10-jpeg, digits.*module_extractor"),
        ("Inceptoin", None, "did you mean inception"),
    ):
        with pytest.raises(InputError, match=message):
            load_extractor(name, image_shape=shape)
