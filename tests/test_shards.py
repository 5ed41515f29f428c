"""Pictures in shards: which form a batch, what is read of them, and what is refused."""

import io
import tarfile

import numpy as np
import pytest
import torch
from originals import write_tar
from PIL import Image

import cascore.data.shards
from cascore.data import load_images
from cascore.data.shards import ShardBatches, find_shards
from cascore.denoiser import UnconditionalDenoiser
from cascore.errors import InputError
from cascore.networks import UNet
from cascore.noise import KeyedNoise, Purpose
from cascore.preprocessing import FolderOptions
from cascore.training import TrainState, Workers, train

SIZES = (5, 0, 3, 7, 1, 4, 6)  # pictures of each shard
COUNT = sum(SIZES)
STARTS = np.cumsum((0, *SIZES[:-1])).tolist()
SMALL = FolderOptions(size=4)


def encoded(pixels, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def picture(number):
    """Red says the number, green the column."""
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = number, np.arange(4)
    return pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, number = tmp_path_factory.mktemp("shards"), 0
    for shard, size in enumerate(SIZES):
        members = {"readme.txt": b"no picture"}
        for _ in range(size):
            key = f"./part/{number:03d}"
            members |= {
                f"{key}.json": b"{}", f"{key}.cls": b"%d\n" % (number % 3),
                f"{key}.PNG": encoded(picture(number)), f"{key}.mask.png": b"no picture of the set",
            }  # fmt: skip
            number += 1
        write_tar(folder / f"{shard}.tar", members)
    return folder


@pytest.fixture(scope="module")
def shards(folder, tmp_path_factory):
    return find_shards(folder, root=tmp_path_factory.mktemp("root"))


def batches(shards, size=8, **settings):
    return ShardBatches(
        shards=shards, options=SMALL, batch_size=size, **({"seed": 3, "window": 2} | settings)
    )


def keyed(count, seed, step, purpose):
    drawn = KeyedNoise(seed, indices=range(count)).at(step)
    keys = drawn.integers(count, high=2**31, purpose=purpose).tolist()
    return sorted(range(count), key=lambda item: keys[item])


def literal_epoch(epoch, *, seed, window):
    """The pictures of an epoch as a stream would give them: shards in turn, and what is mixed."""
    order, whole = keyed(len(SIZES), seed, epoch, Purpose.SHARD), []
    windows = [order[first : first + window] for first in range(0, len(order), window)]
    for number, chosen in enumerate(windows):
        held = [STARTS[shard] + member for shard in chosen for member in range(SIZES[shard])]
        turn = epoch * len(windows) + number
        whole += [held[place] for place in keyed(len(held), seed, turn, Purpose.ORDER)]
    return whole


@pytest.mark.parametrize("window", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("size", [1, 8, 60])
def test_every_epoch_holds_each_picture_once_in_the_order_of_a_shuffled_stream(
    window, size, shards
):
    epochs = [literal_epoch(epoch, seed=11, window=window) for epoch in range(5)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({*map(tuple, epochs)}) == 5
    source = batches(shards, size, seed=11, window=window)
    stream = [number for epoch in epochs for number in epoch]
    for step in range(len(stream) // size) if size > 1 else (0, 7, 25, 26, 27, 129):
        expected = stream[step * size : (step + 1) * size]
        assert source.numbers(step).tolist() == expected


def test_a_batch_holds_pixels_labels_and_flips_of_its_pictures(shards):
    for step in range(5):
        source = batches(shards, flip=True, labelled=True)
        numbers, (clean, labels, _) = source.numbers(step), source.batch(step)
        side = KeyedNoise(3, indices=range(8)).at(step).integers(8, high=2, purpose=Purpose.FLIP)
        assert labels.tolist() == (numbers % 3).tolist()
        for number, image, mirrored in zip(numbers.tolist(), clean, side.tolist(), strict=True):
            pixels = torch.from_numpy(picture(number)).permute(2, 0, 1)
            shown = pixels.flip(-1) if mirrored else pixels
            # 1e-7: float32 pixels
            assert torch.allclose(image.double(), shown.double() / 255, atol=1e-7, rtol=0)
    assert batches(shards).batch(0).labels is None


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_a_batch_without_a_picture_twice(count, shards):
    whole = batches(shards, flip=True, labelled=True)
    for step in range(5):
        ranks = [Workers(rank=rank, count=count) for rank in range(count)]
        shares = [batches(shards, flip=True, labelled=True, workers=w).batch(step) for w in ranks]
        together = whole.batch(step)
        assert torch.equal(torch.cat([share.clean for share in shares]), together.clean)
        assert torch.equal(torch.cat([share.labels for share in shares]), together.labels)


def test_a_training_that_goes_on_in_the_middle_of_a_window_is_the_uninterrupted_one(
    folder, tmp_path
):
    """From nothing but the checkpoint's tensors and step, to the bit."""

    def begun():
        torch.manual_seed(0)
        network = UNet(channels=3, width=8, multipliers=(1,), attention=(False,))
        return TrainState(UnconditionalDenoiser(network), seed=5)

    def trained(state, steps):
        source = batches(find_shards(folder, root=tmp_path), 4, seed=5, flip=True)
        return [
            metrics.dsm for metrics in train(state, source, torch.tensor([1.0, 0.1]), steps=steps)
        ]

    whole, parts = begun(), begun()
    losses = trained(whole, 9)  # beyond the first epoch
    before = trained(parts, 4)
    resumed = begun()
    resumed.load_tensors(parts.tensors())
    resumed.step = 4
    assert before + trained(resumed, 9) == losses
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, resumed.tensors()[name]), name


def test_pictures_become_what_they_become_in_a_folder(tmp_path):
    """Grey, transparent, of 16 bits, turned and wide: the same pixels as of the files."""
    random = np.random.default_rng(2)
    exif = Image.Exif()
    exif[0x0112] = 6
    made = {
        "a.png": Image.fromarray(random.integers(256, size=(9, 6), dtype=np.uint8)),
        "b.png": Image.fromarray(random.integers(256, size=(5, 8, 4), dtype=np.uint8)),
        "c.png": Image.fromarray(random.integers(2**16, size=(8, 8), dtype=np.uint16)),
        "d.jpg": Image.fromarray(random.integers(256, size=(12, 8, 3), dtype=np.uint8)),
        "e.webp": Image.fromarray(random.integers(256, size=(4, 4, 3), dtype=np.uint8)),
    }
    files = tmp_path / "files" / "train"
    files.mkdir(parents=True)
    for name, image in made.items():
        image.save(files / name, exif=exif if name == "d.jpg" else Image.Exif())
    (files.parent / "test").mkdir()
    Image.fromarray(picture(0)).save(files.parent / "test" / "x.png")
    members = {name: (files / name).read_bytes() for name in made}
    write_tar(tmp_path / "shards" / "0.tar", members)
    shards = find_shards(tmp_path / "shards", root=tmp_path)
    for mode in ("rgb", "grey"):
        options = FolderOptions(size=4, mode=mode)
        source = ShardBatches(shards=shards, options=options, batch_size=5, seed=0)
        expected = load_images(f"folder:{files.parent}", "train", root=tmp_path, folder=options)
        drawn = expected.images[source.numbers(0)].float() / 255
        assert torch.equal(source.batch(0).clean, drawn)


def test_where_pictures_stand_is_found_once_until_a_shard_changes(folder, tmp_path, monkeypatch):
    first = find_shards(folder, root=tmp_path)
    with monkeypatch.context() as within:
        within.setattr(cascore.data.shards, "tar_members", None)
        again = find_shards(folder, root=tmp_path)
        assert torch.equal(first.places, again.places)
        assert torch.equal(first.counts, again.counts)
        assert again.counts.tolist() == list(SIZES)
    (stored,) = (p for p in tmp_path.glob("*.npy") if np.load(p).ndim == 2)
    damaged = bytearray(stored.read_bytes())
    damaged[-1] ^= 1
    stored.write_bytes(damaged)
    with pytest.raises(InputError, match=r"is not what was written; delete"):
        find_shards(folder, root=tmp_path)
    copy = tmp_path / "copy"
    write_tar(copy / "0.tar", {"a.png": encoded(picture(1))})
    assert find_shards(copy, root=tmp_path).count == 1
    write_tar(copy / "0.tar", {"a.png": encoded(picture(1)), "b.png": encoded(picture(2))})
    assert find_shards(copy, root=tmp_path).count == 2


def test_what_a_mac_adds_between_a_picture_and_its_label_is_passed_over(tmp_path):
    members = {}
    for number in range(3):
        for suffix, content in (("png", encoded(picture(number))), ("cls", b"%d" % number)):
            members |= {f"./._{number}.{suffix}": b"x", f"./{number}.{suffix}": content}
    write_tar(tmp_path / "shards" / "0.tar", members | {"__MACOSX/._3.png": b"x"})
    found = find_shards(tmp_path / "shards", root=tmp_path)
    assert found.places[:, 2].tolist() == [0, 1, 2]


def link():
    info = tarfile.TarInfo("a.png")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


PNG = encoded(picture(0))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"readme.txt": b""}, "no shard in .* holds an image"),
        ({"../a.png": PNG}, "leads out of the archive"),
        ({"a.png": link()}, "a link or a device"),
        ({"a.png": PNG, "a.jpg": PNG}, r"holds 2 images a\.\*"),
        ({"a.png": PNG, "a.cls": b"cat"}, r"a\.cls .* holds b'cat'; expected the number"),
        ({"a.png": PNG, "a.cls": b"-1"}, "expected the number of a class"),
        ({"a.png": PNG, "a.cls": b"9" * 21}, "expected the number of a class"),
        ({"a.png": PNG, "a.cls": b"1", "b.png": PNG}, "1 of 2 images .* have a label"),
        ({"a.png": PNG, "b.png": PNG, "a.cls": b"1", "b.cls": b"1"}, r"a\.cls and beside it no"),
        ({"a.v1.png": PNG, "b.png": PNG}, r"a\.v1\.png and beside it no image a\.jpg"),
    ],
)
def test_shards_that_cannot_be_are_refused(members, message, tmp_path):
    write_tar(tmp_path / "shards" / "0.tar", members)
    with pytest.raises(InputError, match=message):
        find_shards(tmp_path / "shards", root=tmp_path)


def test_damage_is_told_of_with_the_name_of_the_shard(tmp_path):
    path = write_tar(tmp_path / "shards" / "0.tar", {"a.png": PNG, "b.png": PNG[:45], "c.png": PNG})
    source = batches(find_shards(path.parent, root=tmp_path), 3)
    with pytest.raises(InputError, match=r"the image at byte 1,536 of .*0\.tar cannot be read"):
        source.batch(0)
    whole = path.read_bytes()
    for content in (whole[:1600], b"x" * 700, whole[:700]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"0\.tar"):
            find_shards(path.parent, root=tmp_path)
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**33
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(InputError, match=r"0\.tar"):  # and reads no such name
        find_shards(path.parent, root=tmp_path)


def test_what_cannot_be_asked_of_shards_is_refused(shards, tmp_path):
    with pytest.raises(InputError, match="there is no shard in"):
        find_shards(tmp_path)
    with pytest.raises(InputError, match="need a size"):
        ShardBatches(shards=shards, options=FolderOptions(), batch_size=2, seed=0)
    for option in ({"skip_broken": True}, {"labels": False}):
        options = FolderOptions(size=4, **option)
        with pytest.raises(InputError, match="are for folders"):
            ShardBatches(shards=shards, options=options, batch_size=2, seed=0)
    with pytest.raises(InputError, match="at least one shard"):
        batches(shards, window=0)
    with pytest.raises(InputError, match="at least one item and one row"):
        batches(shards, 0).batch(0)
    write_tar(tmp_path / "shards" / "0.tar", {"a.png": PNG})
    with pytest.raises(InputError, match=r"have no labels \(\.cls\)"):
        batches(find_shards(tmp_path / "shards", root=tmp_path), labelled=True)
