"""One writer at a time: the second is told who, the dead hold nothing, nobody slips through."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import cascore
from cascore.errors import InputError
from cascore.experiment.run_start import one_training
from cascore.files import replaced_folder
from cascore.locks import new_folder, one_writer
from cascore.training import Workers

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(cascore.__file__).parents[1])}
HOLD = """
import sys, time
from pathlib import Path
from cascore.locks import one_writer
with one_writer(Path(sys.argv[1]), "sampling"):
    print("held", flush=True)
    time.sleep(600)
"""
COUNT = """
import sys
from pathlib import Path
from cascore.locks import one_writer
number = Path(sys.argv[1])
for _ in range(60):
    with one_writer(number, "counting", wait=300):
        number.write_text(str(int(number.read_text()) + 1))
"""


def started(script, path):
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)], env=ENVIRONMENT, stdout=subprocess.PIPE
    )


def test_a_second_writer_is_told_who_writes_and_the_dead_write_nothing(tmp_path):
    target = tmp_path / "runs" / "digits"
    left = tmp_path / "runs" / f".digits.{32 * 'a'}"
    with started(HOLD, target) as holder:
        assert holder.stdout.readline() == b"held\n"
        left.mkdir()
        with pytest.raises(InputError) as told, one_writer(target, "training"):
            pytest.fail("two writers")
        who = rf"being written by sampling, process {holder.pid} on \S+ since \d{{4}}-\d\d-\d\d "
        assert re.search(who, str(told.value))
        with one_writer(tmp_path / "runs" / "others", "training"):
            assert left.exists()  # of a writer who may go on
        holder.send_signal(signal.SIGKILL)
    with one_writer(target, "training"):
        assert not left.exists()
    assert list(target.parent.iterdir()) == []


def test_no_two_hold_a_lock_that_is_removed_whenever_it_is_given_back(tmp_path):
    number = tmp_path / "number"
    number.write_text("0")
    for process in [started(COUNT, number) for _ in range(4)]:
        with process:
            assert process.wait() == 0
    assert number.read_text() == "240"
    assert list(tmp_path.iterdir()) == [number]


def test_where_nothing_can_be_written_is_said_before_any_work(tmp_path):
    (tmp_path / "file").write_text("mine")
    for target in (tmp_path / "file" / "run", Path("/proc/none/run"), Path("/")):
        with (
            pytest.raises(InputError, match=rf"^{target} cannot be written: "),
            one_writer(target, "it"),
        ):
            pytest.fail("written")


def test_a_name_that_has_no_room_for_its_temporary_one_is_refused_before_any_work(tmp_path):
    with replaced_folder(tmp_path / (220 * "a")), one_writer(tmp_path / (220 * "b"), "it"):
        pass
    for length in (230, 300):
        with (
            pytest.raises(InputError, match="cannot be written: File name too long"),
            one_writer(tmp_path / (length * "a"), "it"),
        ):
            pytest.fail("begun")


def test_a_place_has_one_lock_by_whatever_links_it_is_named(tmp_path):
    (tmp_path / "runs" / "digits").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "runs" / "digits")
    (tmp_path / "there").symlink_to(tmp_path / "runs")
    named = (tmp_path / "runs" / "digits", tmp_path / "link", tmp_path / "there" / "digits")
    for held in named:
        for other in named:
            with (
                one_writer(held, "training"),
                pytest.raises(InputError, match="being written"),
                one_writer(other, "training"),
            ):
                pytest.fail("two writers")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    with pytest.raises(InputError, match="cannot be written"), one_writer(tmp_path / "round", "it"):
        pytest.fail("written")


def test_folders_that_were_made_for_nothing_are_removed_again(tmp_path):
    target = tmp_path / "a" / "b" / "run"
    with pytest.raises(InputError, match="no such set"), one_writer(target, "it"):
        raise InputError("no such set")
    assert list(tmp_path.iterdir()) == []
    with one_writer(target, "it"):
        target.mkdir()
    assert target.is_dir()


def test_a_new_folder_is_new_and_can_get_its_name_in_one_step(tmp_path, monkeypatch):
    (tmp_path / "old").mkdir()
    with new_folder(tmp_path / "old", "sampling"):
        pass  # empty
    (tmp_path / "old" / "mine").touch()
    monkeypatch.chdir(tmp_path)
    for target, message in ((Path("old"), "is there already"), (Path(), "is there already")):
        with pytest.raises(InputError, match=message), new_folder(target, "sampling"):
            pytest.fail("overwritten")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match="working directory"), new_folder(Path(), "sampling"):
        pytest.fail("the working directory was removed")


class Together(Workers):
    """A process of two, of which another could not lock, or all could."""

    def mean(self, values):
        return (values + self.refused) / 2


def test_of_several_processes_the_first_holds_the_lock_and_all_refuse_together(tmp_path):
    second, device = Together(rank=1, count=2), torch.device("cpu")
    object.__setattr__(second, "refused", 0.0)
    with one_training(tmp_path / "run", second, device=device):
        assert list(tmp_path.iterdir()) == []  # it holds nothing itself
    object.__setattr__(second, "refused", 1.0)
    refusal = pytest.raises(InputError, match="locked by the first process")
    with refusal, one_training(tmp_path / "run", second, device=device):
        pytest.fail("trained without the lock")
