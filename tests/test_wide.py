"""Pictures drawn by several processes, killed and damaged on the way, are those of one."""

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from running import run
from test_parallel import ENVIRONMENT, launched, torchrun

from cascore.errors import InputError
from cascore.experiment.settings import Sampler
from cascore.measurement import read_measurements
from cascore.model.loading import load
from cascore.model.wide import ShareDrawn, discard_parts, draw_widely, parts_beside
from cascore.pixels import to_uint8
from cascore.training import Workers

SAMPLER = Sampler(calls=3)
DRAW = ("--calls", "3", "--count", "44", "--batch-size", "8", "--device", "cpu")


@dataclass(frozen=True)
class InTurn(Workers):
    """A process of several that run one after the other, the first one last."""

    def barrier(self):
        """Nobody is waited for."""


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
            return draw_widely(model, seeds, SAMPLER, parts, **how), before
        with pytest.raises(ShareDrawn):
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
        device = torch.device("cpu")

        def chain(self, sampler):
            return load("digits").chain(sampler)

        def draw(self, seeds, sampler, **how):
            told.append((list(seeds), how["labels"].tolist(), how["guidance"]))
            return load("digits").draw(seeds, sampler)

    how = {"labels": torch.arange(5) % 2, "guidance": 2.0, "batch_size": 3}
    draw_widely(Fake(), range(5), SAMPLER, tmp_path / "parts", **how)
    assert told == [([0, 1, 2], [0, 1, 0], 2.0), ([3, 4], [1, 0], 2.0)]


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


def test_a_killed_evaluation_is_finished_by_one_process_to_the_same_numbers(tmp_path):
    record, parts = tmp_path / "many.json", tmp_path / ".many.json.parts"
    command = ("evaluate", "digits", *DRAW, "--metrics", "frechet", "--out")
    process = subprocess.Popen(
        launched("-m", "cascore", *command, record),
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    limit = time.monotonic() + 240
    while not list(parts.rglob("part-*.safetensors")):
        assert process.poll() is None
        assert time.monotonic() < limit, "no part in four minutes"
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.2))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    with suppress(ProcessLookupError, IndexError):  # at its end already
        os.kill(int(random.choice(children)), signal.SIGKILL)
    process.wait(timeout=120)
    for path in (record, tmp_path / "one.json"):
        if not path.exists():  # else the kill came too late
            assert run(*command, path) == 0
    many, one = (read_measurements(path) for path in (record, tmp_path / "one.json"))
    assert [number.value for number in many] == [number.value for number in one]
    assert [number.images.digest for number in many] == [number.images.digest for number in one]
    left = {path.name for path in tmp_path.iterdir()} - {".many.json.parts"}
    assert left == {"many.json", "one.json"}
