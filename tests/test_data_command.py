"""`cascore data` as a user meets it: prepare, show, train, and one clear line for every mistake."""

import functools
import json
import math
import re

import numpy as np
import pytest
from originals import write_mnist
from PIL import Image
from running import run
from scipy.spatial.distance import pdist

from cascore.data import diameter, downloads, load_images
from cascore.data.diameter import image_diameter
from cascore.errors import InputError
from cascore.fetching import Download
from cascore.schedule import level_count

GENERATOR = np.random.default_rng(43)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Sixty 12 x 8 photos in photos/, and the folder above as the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(60):
        pixels = GENERATOR.integers(0, 256, (12, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path


def test_prepare_show_and_train_a_folder_of_images(photos, capsys):
    assert run("data", "prepare", "mine", "--source", "photos", "--size", 8, "--crop", "none") == 0
    captured = capsys.readouterr()
    assert captured.out == "data/mine\n"
    assert "preparing mine 60/60" in captured.err
    assert "look at it: cascore data show mine\n" in captured.err
    assert run("data", "show", "mine") == 0
    told = capsys.readouterr().out
    train = load_images("mine", "train")
    assert f"train: {train.count} images, 3 x 8 x 8, no labels" in told
    largest = pdist(train.images.flatten(1).double().numpy() / 255).max()
    assert f"sigma_1 by Technique 1: {largest:.2f}, exact" in told
    assert train.digest in told
    first = math.ceil(10 * largest) / 10
    assert f"--schedule.first {first:.1f} --schedule.levels {level_count(192, first, 0.01)}" in told
    sheet = np.asarray(Image.open(photos / "data-sheets" / "mine" / "sheet.png"))
    assert sheet.shape[2] == 3
    # The first image, each pixel drawn 8 x 8, after a line of two.
    shown = sheet[2 : 2 + 64 : 8, 2 : 2 + 64 : 8].transpose(2, 0, 1)
    assert np.array_equal(shown, train.images[0].numpy())
    tiny = ("--network.width", 8, "--train.batch-size", 8, "--train.steps", 2, "--device", "cpu")
    assert run("train", "digits", "--data.name", "mine", "--data.flip", *tiny, "--out", "run") == 0
    data = json.loads((photos / "run" / "data.json").read_text())
    assert (data["name"], data["digest"]) == ("mine", train.digest)


def test_show_gives_an_interval_where_all_pairs_are_too_many(photos, capsys, monkeypatch):
    hasty = functools.partial(image_diameter, largest_work=0.0)
    monkeypatch.setattr(diameter, "image_diameter", hasty)
    assert run("data", "show", "digits") == 0
    told = capsys.readouterr().out
    low, high = re.search(r"sigma_1 by Technique 1: from ([\d.]+) to ([\d.]+)\.", told).groups()
    assert float(low) <= 4.82
    assert float(high) >= 4.81
    assert float(low) < float(high)
    assert "all would take too long" in told


def test_download_goes_to_the_downloads_of_the_root(photos, monkeypatch, capsys):
    """The fetching itself has its own tests; here, where to and what then."""
    fetched = []

    def pretend(files, folder, *, advice, progress):
        assert "--source" in advice
        fetched.append((tuple(file.name for file in files), folder))
        folder.mkdir(parents=True)
        write_mnist(folder, train=20, test=20)
        progress(sum(file.size for file in files))

    monkeypatch.setattr("cascore.fetching.download", pretend)
    assert run("data", "prepare", "mnist", "--download", "--root", "store") == 0
    files, folder = fetched[0]
    assert len(files) == 4
    assert str(folder) == "store/downloads/mnist"
    assert load_images("mnist", "train", root="store").count == 20
    assert "cascore data show mnist --root store" in capsys.readouterr().err


def mistakes():
    """Arguments, and words that the message must hold."""
    return [
        (("prepare", "cifar-10"), "--source PATH, or fetch them with --download"),
        (("prepare", "celeba"), "--source PATH"),
        (("prepare", "cifar-10", "--source", "photos"), "no form of cifar-10"),
        (("prepare", "lsun-church", "--source", "photos"), "church_outdoor_train_lmdb/data.mdb"),
        (("prepare", "celeba", "--source", "photos"), "img_align_celeba.zip"),
        (("prepare", "celeba", "--download"), "cannot be fetched by a program"),
        (("prepare", "mnist", "--download", "--source", "photos"), "not both"),
        (("prepare", "mine", "--source", "photos", "--size", "0"), "must be at least 1, not 0"),
        (("prepare", "mine", "--source", "photos", "--filter", "best"), "--filter"),
        (("prepare", "swiss-roll"), "nothing to prepare"),
        (("prepare", "mine", "--source", "photos", "--root", "/dev/full"), "/dev/full"),
        (("show", "cifar-10"), "cascore data prepare cifar-10 --source PATH"),
        (("show", "swiss-roll"), "set of points"),
        (("show", "mnist"), "cascore data prepare mnist --download"),
        (("show", "photos"), "are folder:photos"),
        (("show", "nothing"), "there is no data set"),
        (("show", "digits", "--out", "/dev/full/x"), "/dev/full"),
        (("shows", "digits"), "show"),
    ]


def test_every_mistake_is_one_clear_message_and_exit_code_2(photos, capsys):
    for arguments, words in mistakes():
        assert run("data", *arguments) == 2, arguments
        captured = capsys.readouterr()
        told = " ".join((captured.err + captured.out).replace("│", " ").split())
        assert words in told, (arguments, told)
        assert "Traceback" not in told
    assert not list((photos / "data").glob("*")) if (photos / "data").exists() else True


def test_offline_is_one_clear_line(photos, capsys, monkeypatch):
    gone = Download("http://127.0.0.1:9/cifar.tar.gz", 10, "0" * 64)  # nobody listens
    monkeypatch.setattr(downloads, "DOWNLOADS", {"cifar-10": (gone,)})
    assert run("data", "prepare", "cifar-10", "--download") == 2
    told = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(told) == 1
    assert "cannot be fetched" in told[0]
    assert "--source" in told[0]


@pytest.mark.parametrize("file", ["train.npy", "test-labels.npy"])
def test_a_prepared_set_that_is_not_as_it_was_written_is_found(tmp_path, capsys, file):
    write_mnist(tmp_path)
    prepared = ("mnist", "--root", tmp_path / "data")
    assert run("data", "prepare", *prepared, "--source", tmp_path) == 0
    capsys.readouterr()
    assert run("data", "verify", *prepared) == 0
    whole = r"train: 12 images as prepared, digest \w{64}\ntest: 5 images"
    assert re.match(whole, capsys.readouterr().out)
    path = tmp_path / "data" / "mnist" / file
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # of an image; 0 to 9 become labels of other classes
    path.write_bytes(content)
    assert run("data", "verify", *prepared) == 2
    told = capsys.readouterr()
    assert told.out.startswith("test:" if file.startswith("train") else "train:")
    assert "are not those that were prepared" in told.err
    damaged = load_images("mnist", "train" if "train" in file else "test", root=tmp_path / "data")
    with pytest.raises(InputError, match="are not those that were prepared"):
        damaged.digest  # noqa: B018 (what train, evaluate and the like ask for)
