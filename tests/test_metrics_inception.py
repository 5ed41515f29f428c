import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from features import tool as load_tool
from features import uint8

from cascore.errors import InputError
from cascore.fetching import Download
from cascore.metrics import download_inception, load_extractor, load_inception
from cascore.metrics.extractors import inception as module
from cascore.metrics.extractors.inception import prepared, resize_like_tensorflow

ROOT = Path(__file__).parents[1]
IMAGES = range(4)
PUBLISHED = "weights-inception-2015-12-05-6726825d.pth"
OTHER = "pt_inception-2015-12-05-6726825d.pth"


@pytest.fixture(scope="module")
def tool():
    return load_tool("inception_reference")


@pytest.fixture(scope="module")
def reference():
    with np.load(ROOT / "tests" / "data" / "inception_reference.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def state(tool, reference):
    """The tensors of torch-fidelity's file, by its names, with the numbers of the reference."""
    shapes = {
        name: tuple(map(int, shape.split()))
        for name, shape in zip(
            reference["names"].tolist(), reference["shapes"].tolist(), strict=True
        )
    }
    counters = {name for name in shapes if name.endswith("num_batches_tracked")}
    numbers = tool.filled({name: shapes[name] for name in shapes if name not in counters})
    return {name: torch.tensor(0) if name in counters else numbers[name] for name in shapes}


@pytest.fixture(scope="module")
def path(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / PUBLISHED
    torch.save(state, path)
    yield path
    path.unlink()  # pytest keeps its folders, and this file has 96 MB


@pytest.fixture(scope="module")
def inception(path):
    return load_inception(path)


def relative_error(ours, theirs):
    return float(np.linalg.norm(np.asarray(ours) - theirs) / np.linalg.norm(theirs))


@pytest.mark.parametrize("index", IMAGES)
def test_every_layer_is_that_of_torch_fidelity(index, inception, reference, tool):
    image = torch.from_numpy(reference[f"image_{index}"])[None]
    result = tool.layers(inception.network, inception, image)
    assert len(result) == 94 + 11  # convolutions and blocks
    expected = {
        key.partition("/")[2]: values
        for key, values in reference.items()
        if key.startswith(f"layer_{index}/")
    }
    assert result.keys() == expected.keys() - {"pixels"}
    for name, values in result.items():
        # Single activations after up to 48 convolutions in float32; 5e-6 was measured.
        assert relative_error(values, expected[name]) < 1e-4, name


@pytest.mark.parametrize("index", IMAGES)
def test_features_and_logits_are_those_of_torch_fidelity(index, inception, reference):
    features = inception(torch.from_numpy(reference[f"image_{index}"])[None])
    assert features.shape == (1, 2048)
    # 3e-7 was measured, 1e-4 is what is asked for; the images' features differ by 0.1 and more.
    assert relative_error(features[0], reference[f"features_{index}"]) < 1e-5
    unbiased = inception.unbiased_logits(features)
    assert unbiased.shape == (1, 1008)
    assert relative_error(unbiased[0], reference[f"unbiased_logits_{index}"]) < 1e-5


@pytest.mark.parametrize("index", IMAGES)
def test_resize_and_scaling_are_those_of_torch_fidelity(index, reference, tool):
    pixels = prepared(torch.from_numpy(reference[f"image_{index}"])[None])
    # The same float32 operations in the same order, on another machine: a product and a sum may be
    # rounded together there. Values reach 1; the mean may be summed in another order.
    ours, theirs = tool.sampled(pixels.expand(1, 3, -1, -1)), reference[f"layer_{index}/pixels"]
    np.testing.assert_allclose(ours[2:], theirs[2:], rtol=0, atol=5e-7)
    np.testing.assert_allclose(ours[:2], theirs[:2], rtol=1e-5)


def literal_resize(image, side):
    """TensorFlow 1's rule, pixel by pixel in float64."""
    height, width = image.shape
    out = np.empty((side, side))
    for i in range(side):
        for j in range(side):
            y, x = i * height / side, j * width / side
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            dy, dx = y - top, x - left
            upper = image[top, left] * (1 - dx) + image[top, right] * dx
            lower = image[bottom, left] * (1 - dx) + image[bottom, right] * dx
            out[i, j] = upper * (1 - dy) + lower * dy
    return out


@pytest.mark.parametrize(
    ("shape", "side"), [((5, 3), 16), ((3, 5), 16), ((40, 23), 16), ((7, 7), 7)]
)
def test_resize_by_hand(shape, side):
    image = uint8(1, 1, *shape, seed=0).float()
    kept = image.clone()
    ours = resize_like_tensorflow(image, side=side)[0, 0]
    assert torch.equal(image, kept)
    # Positions round to 24 bits, up to 40 of them: 40 × 6e-8 of a difference of 255, twice.
    np.testing.assert_allclose(ours, literal_resize(image[0, 0].numpy(), side), atol=2e-3, rtol=0)


def test_features_across_batch_sizes(inception):
    images = uint8(5, 3, 16, 16, seed=2)
    whole, again = inception(images), inception(images)
    assert torch.equal(whole, again)
    alone = torch.cat([inception(image[None]) for image in images])
    assert float(((alone - whole).norm(dim=1) / whole.norm(dim=1)).max()) < 1e-5
    assert inception(images[:0]).shape == (0, 2048)
    assert not whole.requires_grad
    grey = images[:1, :1]
    assert torch.equal(inception(grey), inception(grey.expand(-1, 3, -1, -1).contiguous()))
    for wrong in (images.float(), images[:, :2], images[0], images[:, :, :0]):
        with pytest.raises(InputError, match=r"takes torch.uint8 of shape \[N, 1 or 3, H, W\]"):
            inception(wrong)
    with pytest.raises(InputError, match=r"\(2, 64\).*\[N, 2048\]"):
        inception.unbiased_logits(torch.zeros(2, 64))


def test_loading_draws_nothing_and_names_the_weights(path):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    extractor = load_inception(path)
    assert torch.equal(torch.rand(3), expected)
    assert extractor.identity.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert extractor.identity.name == "inception with other weights"
    assert not extractor.network.training


def test_a_file_without_step_counters_is_the_same(state, tmp_path, inception):
    """pytorch-fid's file has been published without them, torch-fidelity's module has them."""
    path = tmp_path / "without.pth"
    torch.save({n: t for n, t in state.items() if "tracked" not in n}, path)
    images = uint8(1, 3, 8, 8, seed=3)
    assert torch.equal(load_inception(path)(images), inception(images))
    path.unlink()


def test_files_that_do_not_fit(state, tmp_path):
    bad = tmp_path / "bad.pth"

    def refused(content, match):
        torch.save(content, bad)
        with pytest.raises(InputError, match=match):
            load_inception(bad)
        bad.unlink()

    other = "does not hold the Inception network of the FID: "
    small = {name: tensor for name, tensor in state.items() if tensor.numel() < 10_000}
    refused(small, other)
    renamed = {name.replace("fc.", "head."): tensor for name, tensor in state.items()}
    refused(renamed, other + r".*Missing key.*fc\.weight.*Unexpected key.*head\.weight")
    thousand = state | {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    refused(thousand, other + r".*size mismatch for fc\.weight")
    for content in (state | {"fc.bias": torch.zeros(1008, dtype=torch.int64)}, [1, 2], {"a": 1}):
        refused(content, "does not hold a dictionary of floating-point tensors")


def test_files_that_cannot_be_read_and_one_that_would_run_code(tmp_path, path):
    class Malicious:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    with pytest.raises(InputError, match=r"cannot read .*nowhere\.pth: No such file"):
        load_inception(tmp_path / "nowhere.pth")
    bad = tmp_path / "bad.pth"
    torch.save({"fc.weight": Malicious()}, bad)
    for content in (bad.read_bytes(), b"", b"nonsense", path.read_bytes()[:100_000]):
        bad.write_bytes(content)
        with pytest.raises(InputError, match=r"read as a checkpoint|asks for .*pathlib\.Path"):
            load_inception(bad)
    assert not (tmp_path / "ran").exists()


def test_without_the_file_the_message_says_where_to_get_it(tmp_path):
    digest = module.INCEPTION_FILES[0].sha256
    advice = rf"{tmp_path}/inception.* 95.6 MB .*{digest}.*{PUBLISHED}.*{OTHER}"
    with pytest.raises(InputError, match=advice):
        load_extractor("inception", root=tmp_path)


@pytest.fixture
def publish(monkeypatch):
    """Gives any file the role of the published one, at a file:// address."""

    def play(file):
        size, digest = file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest()
        addresses = (f"{file.parent.as_uri()}/{name}" for name in (file.name, OTHER))
        files = tuple(Download(address, size, digest) for address in addresses)
        monkeypatch.setattr(module, "INCEPTION_FILES", files)

    return play


@pytest.fixture
def megabytes(tmp_path, publish):
    """Three megabytes and a bit, published."""
    file = tmp_path / "server" / PUBLISHED
    file.parent.mkdir()
    file.write_bytes(bytes(range(256)) * 12_289)
    publish(file)
    return file


@pytest.mark.parametrize("name", [PUBLISHED, OTHER])
def test_the_file_is_found_under_both_names(name, path, publish, tmp_path):
    publish(path)
    (tmp_path / "inception").mkdir()
    (tmp_path / "inception" / name).symlink_to(path)
    result = load_extractor("inception", root=tmp_path, image_shape=(1, 28, 28))
    assert result.identity.name == "inception"
    assert result.dimension == 2048
    assert download_inception(tmp_path) == tmp_path / "inception" / name
    with pytest.raises(InputError, match="1 or 3"):
        load_extractor("inception", root=tmp_path, image_shape=(4, 28, 28))


def test_another_file_in_its_place_is_refused(megabytes, tmp_path):
    place = tmp_path / "inception" / PUBLISHED
    place.parent.mkdir()
    place.write_bytes(b"damaged")
    with pytest.raises(InputError, match="damaged or another file"):
        load_inception(root=tmp_path)
    assert download_inception(tmp_path) == place  # puts the right one there
    assert place.read_bytes() == megabytes.read_bytes()


def test_download_counts_and_verifies(megabytes, tmp_path, monkeypatch):
    counted: list[int] = []
    result = download_inception(tmp_path / "a", progress=counted.append)
    assert result.read_bytes() == megabytes.read_bytes()
    assert sum(counted) == megabytes.stat().st_size
    wrong = tuple(file._replace(sha256="0" * 64) for file in module.INCEPTION_FILES)
    monkeypatch.setattr(module, "INCEPTION_FILES", wrong)
    with pytest.raises(InputError, match=r"gives other bytes .*thrown away.*put it into"):
        download_inception(tmp_path / "b")
    assert list((tmp_path / "b" / "inception").iterdir()) == []
