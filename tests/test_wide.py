"""Pictures drawn by several processes, killed and damaged on the way, are those of one."""

import json
import math
import os
import random
import signal
import subprocess
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from evaluating import write_images
from running import CPU, run
from test_parallel import ENVIRONMENT, launched, torchrun

from cascore.data import load_images
from cascore.errors import InputError
from cascore.evaluation.reference import read_statistics
from cascore.evaluation.search import Candidate
from cascore.evaluation.tune import shared_objective
from cascore.experiment.settings import Sampler
from cascore.measurement import read_measurements
from cascore.metrics import extract_features, load_classifier
from cascore.model.loading import load
from cascore.model.wide import discard_parts, draw_widely, parts_beside, read_part, see_widely
from cascore.pixels import to_uint8
from cascore.progress import Display
from cascore.training import Workers

SAMPLER = Sampler(calls=3)
DRAW = ("--calls", "3", "--count", "44", "--batch-size", "8", "--device", "cpu")


@dataclass(frozen=True)
class InTurn(Workers):
    """A process of several that run one after the other, the first one last."""

    def barrier(self):
        """Nobody is waited for."""

    def mean(self, values):
        """Each agrees with itself."""
        return values


@pytest.fixture(scope="module")
def model():
    return load("digits")


def drawn(model, parts, *, count=3, seeds=range(5, 49), batch_size=8):
    """What the first of so many processes gets, and the parts that were there before its turn."""
    before = set()
    for rank in reversed(range(count)):
        before = set(parts.rglob("*.safetensors"))
        how = {"batch_size": batch_size, "workers": InTurn(rank, count)}
        if rank == 0:
            return draw_widely(model, seeds, SAMPLER, parts, **how).rows(slice(None)), before
        draw_widely(model, seeds, SAMPLER, parts, **how)
    raise AssertionError


def assert_drawn(model, found, seeds=range(5, 49), batch_size=8):
    samples = model.draw(seeds, SAMPLER, batch_size=batch_size)
    assert torch.equal(found.raw, to_uint8(samples.raw))
    assert torch.equal(found.denoised, to_uint8(samples.denoised))
    assert found.nfe == samples.nfe == 3


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_shares_of_several_processes_are_the_pictures_of_one(model, tmp_path, count):
    found, before = drawn(model, tmp_path / "parts", count=count)
    assert len(before) == {1: 0, 2: 3, 3: 4}[count]  # of six batches, the last of four pictures
    assert_drawn(model, found)


def test_labels_and_guidance_go_with_their_pictures(tmp_path):
    told = []

    class Fake:
        digest, shape, classes = "0", (1, 8, 8), ("a", "b")
        device, precision, compiled = torch.device("cpu"), "float32", False
        data_mean = torch.tensor(0.0)

        def chain(self, sampler):
            return load("digits").chain(sampler)

        def draw(self, seeds, sampler, **how):
            told.append((list(seeds), how["labels"].tolist(), how["guidance"]))
            return load("digits").draw(seeds, sampler)

    how = {"labels": torch.arange(5) % 2, "guidance": 2.0, "batch_size": 3}
    draw_widely(Fake(), range(5), SAMPLER, tmp_path / "parts", **how)
    assert told == [([0, 1, 2], [0, 1, 0], 2.0), ([3, 4], [1, 0], 2.0)]
    # Chains from another start are other pictures: nothing of these is kept.
    draw_widely(Fake(), range(5), SAMPLER, tmp_path / "parts", **how)
    assert len(told) == 2
    Fake.data_mean = torch.tensor([[[0.5]]])
    draw_widely(Fake(), range(5), SAMPLER, tmp_path / "parts", **how)
    assert len(told) == 4


def test_what_is_whole_is_kept_and_what_is_not_is_drawn_again(model, tmp_path):
    parts = tmp_path / "parts"
    drawn(model, parts)
    paths = sorted(parts.rglob("*.safetensors"))
    assert len(paths) == 6
    paths[0].unlink()
    content = bytearray(paths[1].read_bytes())
    content[-5] ^= 1
    paths[1].write_bytes(content)
    paths[2].write_bytes(paths[2].read_bytes()[:100])
    whole = {path: path.stat().st_mtime_ns for path in paths[3:]}
    found, _ = drawn(model, parts)
    assert {path: path.stat().st_mtime_ns for path in paths[3:]} == whole
    assert_drawn(model, found)


def test_the_end_of_the_work_is_told_once(model, tmp_path, capsys):
    draw_widely(model, range(2), SAMPLER, tmp_path / "parts", display=Display())
    assert capsys.readouterr().err == "sampling 6/6\n"


def test_parts_of_other_settings_are_not_taken_up(model, tmp_path):
    parts = tmp_path / ".out.parts"
    (tmp_path / f"..out.parts.{32 * 'a'}").mkdir()
    drawn(model, parts, count=1)
    (first,) = parts.iterdir()
    found, before = drawn(model, parts, count=1, seeds=range(9, 20))
    assert_drawn(model, found, seeds=range(9, 20))
    assert len(before) == 6
    assert not first.exists()
    assert list(tmp_path.iterdir()) == [parts]


def test_more_than_memory_holds_is_refused_before_a_part_is_made(model, tmp_path):
    with pytest.raises(InputError, match="memory"):
        draw_widely(model, range(10**9), SAMPLER, tmp_path / "parts")
    assert list(tmp_path.iterdir()) == []


def test_parts_stay_after_an_error_and_go_when_all_is_made(tmp_path):
    place = tmp_path / "samples"
    (tmp_path / ".samples.parts").mkdir()
    with pytest.raises(KeyboardInterrupt), parts_beside(place) as parts:
        raise KeyboardInterrupt
    assert parts.is_dir()
    with parts_beside(place):
        pass
    assert list(tmp_path.iterdir()) == []
    discard_parts(place)  # of nothing


def test_a_folder_that_is_there_leaves_no_parts_of_its_making(tmp_path):
    """A kill can come between the folder and the removal of its parts."""
    command = ("sample", "digits", *DRAW, "--out", tmp_path / "out")
    assert run(*command) == 0
    (tmp_path / ".out.parts").mkdir()
    (tmp_path / f"..out.parts.{32 * 'a'}").mkdir()  # or in the middle of the removal
    assert run(*command) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def files(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_torchrun_samples_what_one_process_samples(tmp_path):
    command = ("-m", "cascore", "sample", "digits", *DRAW, "--out")
    done = torchrun(*command, tmp_path / "many", processes=3)
    assert done.stdout.split() == [str(tmp_path / "many")]  # one of them speaks
    assert done.stderr.count("44 samples of digits") == 1
    assert run(*command[2:], tmp_path / "one") == 0
    assert files(tmp_path / "many") == files(tmp_path / "one")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many", "one"]


def killed_on_the_way(command, place, *, processes=2):
    """Kill one of so many processes, any of them, once a part of what they make is there."""
    parts = place.with_name(f".{place.name}.parts")
    process = subprocess.Popen(
        launched("-m", "cascore", *command, place, processes=processes),
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    limit = time.monotonic() + 240
    while not list(parts.rglob("*.safetensors")):
        assert process.poll() is None
        assert time.monotonic() < limit, "no part in four minutes"
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.2))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    with suppress(ProcessLookupError, IndexError):  # at its end already
        os.kill(int(random.choice(children)), signal.SIGKILL)
    process.wait(timeout=120)


def made_by_many_and_one(command, folder, suffix, *, processes=2):
    """What a command makes that was killed and finished by one process, and what one makes."""
    places = [folder / f"{name}{suffix}" for name in ("many", "one")]
    killed_on_the_way(command, places[0], processes=processes)
    for place in places:
        if not place.exists():  # else the kill came too late
            assert run(*command, place) == 0
    # A process that is killed once the result is there leaves its parts, half removed perhaps, and
    # its lock's file: hidden, and removed by the next who makes the same.
    hidden = f".{places[0].name}."
    left = {p.name for p in folder.iterdir() if not p.name.startswith((hidden, f".{hidden}"))}
    assert left == {place.name for place in places}
    return places


def test_a_killed_evaluation_is_finished_by_one_process_to_the_same_numbers(tmp_path):
    command = ("evaluate", "digits", *DRAW, "--metrics", "frechet", "--out")
    places = made_by_many_and_one(command, tmp_path, ".json", processes=3)
    many, one = map(read_measurements, places)
    assert [number.value for number in many] == [number.value for number in one]
    assert [number.images.digest for number in many] == [number.images.digest for number in one]


def test_a_killed_reference_is_finished_by_one_process_to_the_same_numbers(tmp_path):
    command = ("reference", "digits", "--device", "cpu", "--extractor", "random-convolution")
    places = made_by_many_and_one(command, tmp_path, ".npz")
    many, one = map(read_statistics, places)
    assert torch.equal(many.mean, one.mean)
    assert torch.equal(many.covariance, one.covariance)
    assert many.facts == one.facts


def test_a_killed_tuning_is_finished_by_one_process_to_the_same_choice(tmp_path):
    command = ("tune", "digits", "--calls", "3", "--count", "16", "--blocks", "2")
    places = made_by_many_and_one((*command, "--device", "cpu", "--out"), tmp_path, "")
    many, one = (json.loads((place / "tuning.json").read_text()) for place in places)
    for record in (many, one):
        del record["command"], record["seconds"]
    assert many == one
    assert many["curve"]
    assert (places[0] / "sampler.json").read_bytes() == (places[1] / "sampler.json").read_bytes()


def test_torchrun_shares_a_tuning_that_one_process_tells_of(tmp_path):
    command = ("tune", "digits", "--calls", "2", "--orders", "1", "--count", "8", "--blocks", "2")
    done = torchrun("-m", "cascore", *command, "--device", "cpu", "--out", tmp_path / "out")
    assert done.stdout.split() == [str(tmp_path / "out")]
    assert done.stderr.count("tuning 8/8") == 1  # of the 16 values of the first grid
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# --- features and values --------------------------------------------------------------------------


def seen(extractor, pixels, parts, *, count, kind="real", **other):
    """The features of the first of so many processes, and the files that were there before."""
    before = set()
    for rank in reversed(range(count)):
        before = set(parts.rglob("*.safetensors"))
        facts = {"kind": kind, "count": len(pixels), "digest": "0", "device": CPU} | other
        paths = see_widely(
            extractor, lambda rows: {"x": pixels[rows]}, parts, workers=InTurn(rank, count), **facts
        )
    return torch.cat([read_part(path)["x"] for path in paths]), before


@pytest.mark.parametrize("count", [1, 2, 3])
def test_features_seen_by_several_processes_are_those_of_one(tmp_path, count):
    extractor, pixels = load_classifier("digits"), load_images("digits", "train").images
    pixels = torch.cat([pixels] * 3)[:4000]  # four parts, the last of 928
    found, before = seen(extractor, pixels, tmp_path / "parts", count=count)
    assert torch.equal(found, extract_features(extractor, pixels))
    assert len(before) == {1: 0, 2: 2, 3: 2}[count]


def test_features_of_other_images_are_not_taken_up_and_other_kinds_stay(tmp_path):
    extractor, pixels = load_classifier("digits"), load_images("digits", "test").images
    for kind in ("real", "judged"):
        seen(extractor, pixels, tmp_path / "parts", count=1, kind=kind)
    (judged,) = (tmp_path / "parts").glob("judged-*")
    found, _ = seen(extractor, 255 - pixels, tmp_path / "parts", count=1, digest="1")
    assert torch.equal(found, extract_features(extractor, 255 - pixels))
    assert len(list((tmp_path / "parts").iterdir())) == 2
    assert list(judged.iterdir())


def test_candidates_are_measured_once_by_whichever_process_they_fall_to(tmp_path):
    asked = []

    def objective(candidate, block):
        asked.append((candidate, block))
        return math.log(candidate.kappa / 3) ** 2 + block / 3 + candidate.order

    pairs = [
        (Candidate(order, kappa), b) for order in (1, 2) for kappa in (1.0, 1.1) for b in (0, 1)
    ]
    for rank in (1, 2, 0):
        workers = InTurn(rank, 3)
        kept, share = shared_objective(objective, tmp_path / "parts", "facts", workers=workers)
        share(pairs)
    assert sorted(asked) == sorted(pairs)
    assert [kept(*pair) for pair in pairs] == [objective(*pair) for pair in pairs]
    assert len(asked) == 2 * len(pairs)
    kept, _ = shared_objective(objective, tmp_path / "parts", "other facts")
    assert kept(*pairs[0]) == objective(*pairs[0])
    assert len(asked) == 2 * len(pairs) + 2


@pytest.fixture
def in_turn(monkeypatch, capsys):
    """Run a command as each of two processes, the first one last; what each has said."""

    def both(*command):
        said = []
        for rank in (1, 0):
            joined = lambda device, patience, rank=rank: nullcontext((device, InTurn(rank, 2)))  # noqa: E731
            monkeypatch.setattr("cascore.training.joined_processes", joined)
            assert run(*command, "--device", "cpu") == 0
            said.append(capsys.readouterr())
        return said

    return both


def test_of_a_folder_without_a_place_for_records_one_process_alone_tells(tmp_path, in_turn):
    images = write_images(load_images("digits", "test").images[:20], tmp_path / "images")
    other, first = in_turn("evaluate", images, "--data", "digits", "--metrics", "frechet")
    assert other == ("", "")
    assert first.out.count("Fréchet distance, 1,437 training") == 1


def test_of_a_reference_one_process_tells(tmp_path, in_turn):
    other, first = in_turn("reference", "digits", tmp_path / "a.npz")
    assert other == ("", "")
    assert first.out.count("1,437 images of digits") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
